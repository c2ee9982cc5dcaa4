"""Trainings limited by time in experiments of many runs: refused wherever their recipe stands."""

import pytest
from attrs import frozen

from guideplug import ConfigError, Registry, Report, Study, Trial, option
from guideplug.errors import RecipeError
from guideplug.experiments.comparison import GridRequest, prepare_grid
from guideplug.experiments.studies import planned
from guideplug.run.resolve import Request
from guideplug.study import Findings

REGISTRY = Registry.installed()
RUN = {"task": "tree", "denoiser": "tree-mlp(hidden=4)", "duration": "8it", "batch": 16, "samples": 4, "device": "cpu"}
LATER = r"give iterations or examples, as in 4096it"
PLACES = {
    "a guide": ("weak: duration 2s", "train(duration=2s)"),
    "inside a guide": ("weak: a train recipe inside it has duration 2s", "degraded(of=train(duration=2s), noise=0.1)"),
    "two inside a guide": (
        "weak: a train recipe inside it has duration 2s",
        "degraded(of=snapshot(of=train(duration=2s), at=2it), noise=0.1)",
    ),
    "what a guide's data are drawn from": (
        "weak: a train recipe inside it has duration 2s",
        "fine-tune(of=main, on=synthetic(of=train(duration=2s), count=8), duration=2it)",
    ),
}


ONE = r"study 'one' of the local file \S*test_lengths.py"


@frozen
class One(Study):
    """A trial."""

    name = "one"
    run: dict[str, object] = option(factory=dict, help="its run")

    def trials(self) -> list[Trial]:
        return [Trial({"number": 3}, {**RUN, **self.run})]

    def report(self, found: Findings) -> Report:
        return Report({})


@pytest.mark.parametrize(("words", "weak"), PLACES.values(), ids=PLACES)
def test_a_study_refuses_a_time(words: str, weak: str) -> None:
    with pytest.raises(ConfigError, match=rf"{ONE}, number 3: {words}: .*{LATER}"):
        planned(One({"guider": "autoguidance", "models": {"weak": weak}}), REGISTRY, {})


def test_a_study_refuses_a_time_of_its_main_training() -> None:
    with pytest.raises(ConfigError, match=rf"{ONE}, number 3: main: duration 1s: .*{LATER}"):
        planned(One({"duration": "1s"}), REGISTRY, {})


@pytest.mark.parametrize("duration", ["8it", "128ex"])
def test_other_lengths_are_planned(duration: str) -> None:
    assert len(planned(One({"duration": duration}), REGISTRY, {}).networks) == 1


@pytest.mark.parametrize(("words", "weak"), PLACES.values(), ids=PLACES)
def test_a_comparison_refuses_a_time_beside_its_main_trainings(words: str, weak: str) -> None:
    request = GridRequest(Request(values=RUN, models={"weak": weak}), guiders=("none", "autoguidance"))
    with pytest.raises(RecipeError, match=rf"{words}: .*{LATER}"):
        prepare_grid(request, REGISTRY)
