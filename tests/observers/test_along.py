"""Observers along a training, where there are many trainings."""

from pathlib import Path

import pytest

from guideplug import Observer, RunInfo
from guideplug.errors import ConfigError
from guideplug.observers import Measure, Preview


@pytest.mark.parametrize("kind", ["compare", "study"])
@pytest.mark.parametrize("observer", [Preview(every="8it"), Measure(every="8it")], ids=lambda one: one.name)
def test_those_of_many_trainings_are_refused(tmp_path: Path, observer: Observer, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"the training of one run, and a {kind} makes many"):
        observer.open(RunInfo(tmp_path, kind))
