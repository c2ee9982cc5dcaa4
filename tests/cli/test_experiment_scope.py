"""The executor of a command's options."""

import pytest

from guideplug import Registry
from guideplug.cli.experiment_scope import executor_of
from guideplug.errors import UsageError
from guideplug.executors import Processes, Serial

REGISTRY = Registry.installed()


@pytest.mark.parametrize(("jobs", "executor"), [(None, Serial()), (1, Serial()), (2, Processes(2)), (4, Processes(4))])
def test_jobs_are_short_for_an_executor(jobs: int | None, executor: object) -> None:
    assert executor_of({"jobs": jobs, "executor": None}, REGISTRY) == executor


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_the_refusal_of_both_names_what_jobs_are_short_for(jobs: int) -> None:
    with pytest.raises(UsageError) as refusal:
        executor_of({"jobs": jobs, "executor": "serial"}, REGISTRY)
    _, _, long = str(refusal.value).rpartition("it stands for --executor ")
    text = long.partition(";")[0].strip("'")
    alone = executor_of({"jobs": jobs, "executor": None}, REGISTRY)
    assert executor_of({"jobs": None, "executor": text}, REGISTRY) == alone
