"""Every installed study, with its defaults."""

from typing import Any

import pytest

from guideplug import Registry, Study
from guideplug.testing import check_study

STUDIES = Registry.installed().classes(Study)  # type: ignore[type-abstract]


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_it_is_a_study(study: Any) -> None:
    check_study(study())


def test_there_are_some() -> None:
    assert {"figure1", "weights"} <= {study.name for study in STUDIES}
