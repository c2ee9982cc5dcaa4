"""Every installed study, with its defaults."""

from typing import Any

import pytest
from tiers import few

from guideplug import Registry, Study
from guideplug.testing import check_study

STUDIES = Registry.installed().classes(Study)  # type: ignore[type-abstract]


SHORT = [study for study in STUDIES if study.name not in ("weights", "learned", "degradations", "mad")]


@pytest.mark.parametrize("study", few(STUDIES, *SHORT), ids=lambda study: study.name)
def test_it_is_a_study(study: Any) -> None:
    check_study(study())


def test_there_are_some() -> None:
    assert {"figure1", "weights"} <= {study.name for study in STUDIES}
