"""Which networks a study's trials stand on, and that each is trained once, with all that is wanted of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import pytest
from attrs import frozen

from guideplug import ConfigError, Findings, Registry, Report, Snapshot, Study, Table, Train, Trial, option
from guideplug.experiments.studies import planned, run_study
from guideplug.store import Store
from guideplug_tree import Tree

REGISTRY = Registry.installed()
SMALL = {"denoiser": "tree-mlp(hidden=4)", "duration": "8it", "batch": 16, "samples": 4, "device": "cpu", "threads": 1}


@final
@frozen
class Weak(Study):
    """Autoguidance by several weak networks."""

    name = "weak-ones"
    weak: tuple[str, ...] = ()
    main: str | None = None

    def trials(self) -> Sequence[Trial]:
        models = {"base": "train"} if self.main is None else {"base": "train", "main": self.main}
        return [
            Trial({"weak": weak}, {"task": "tree", "guider": "autoguidance", "models": {**models, "weak": weak}})
            for weak in self.weak
        ]

    def report(self, found: Findings) -> Report:
        return Report({"weak": Table([], [])})


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch of every step that is trained on the tree."""
    found: list[int] = []
    draw = Tree.draw

    def counted(self: Tree, sigma: Any, streams: Any) -> Any:
        if len(sigma) > 2:  # a preflight's are two
            found.append(len(sigma))
        return draw(self, sigma, streams)

    monkeypatch.setattr(Tree, "draw", counted)
    return found


def carried_out(study: Study, tmp_path: Path) -> Findings:
    (tmp_path / "study/trials").mkdir(parents=True, exist_ok=True)
    return run_study(planned(study, REGISTRY, SMALL), REGISTRY, tmp_path / "study", Store(tmp_path / "store"))


def test_all_snapshots_of_a_training_are_kept_in_one_pass(tmp_path: Path, steps: list[int]) -> None:
    weak = tuple(f"snapshot(of=base, at={step}it)" for step in (2, 8, 4))
    study = Weak(weak)
    assert sum(isinstance(network.recipe, Snapshot) for network in planned(study, REGISTRY, SMALL).networks) == 3
    steps.clear()
    found = carried_out(study, tmp_path)
    assert len(found.rows) == 3
    assert len(steps) == 8


@pytest.mark.slow
def test_more_snapshots_wanted_later_cost_one_more_pass(tmp_path: Path, steps: list[int]) -> None:
    carried_out(Weak(("snapshot(of=base, at=4it)",)), tmp_path / "first")
    steps.clear()
    (tmp_path / "second").mkdir()
    (tmp_path / "first/store").rename(tmp_path / "second/store")
    carried_out(
        Weak(("snapshot(of=base, at=3it)", "snapshot(of=base, at=4it)", "snapshot(of=base, at=6it)")),
        tmp_path / "second",
    )
    assert len(steps) == 6  # up to the last of them


def test_what_a_network_without_work_of_its_own_stands_on_is_a_network_of_the_study(
    tmp_path: Path, steps: list[int]
) -> None:
    study = Weak(("degraded(of=base, noise=0.2)", "degraded(of=base, noise=0.3)"), main="degraded(of=base, noise=0.1)")
    (network,) = planned(study, REGISTRY, SMALL).networks
    assert isinstance(network.recipe, Train)
    steps.clear()
    carried_out(study, tmp_path)
    assert len(steps) == 8


@final
@frozen
class Listed(Study):
    """Trials as they are given."""

    name = "listed"
    runs: tuple[dict[str, object], ...] = option((), help="configurations")

    def trials(self) -> list[Trial]:
        return [Trial({"number": number}, run) for number, run in enumerate(self.runs)]

    def report(self, found: Findings) -> Report:
        return Report({})


def test_networks_that_only_a_later_trial_has_are_tried_too() -> None:
    """Of one guider and one task, with another network in the same role."""
    run = {"task": "tree", "denoiser": "tree-mlp(hidden=8)", "guider": "extrapolation"}
    fits = {**run, "models": {"synthetic": "train(denoiser=tree-mlp(hidden=8))"}}
    other = {**run, "models": {"synthetic": "train(denoiser=tree-mlp(hidden=4))"}}
    with pytest.raises(ConfigError, match=r"number 1: .*not of one architecture"):
        planned(Listed((fits, other)), REGISTRY, {"device": "cpu"})


def test_trials_share_threads() -> None:
    with pytest.raises(ConfigError, match=r"different threads, \[1, 2\]"):
        planned(Listed(({"task": "tree", "threads": 1}, {"task": "tree", "threads": 2})), REGISTRY, {"device": "cpu"})


def test_models_are_a_mapping() -> None:
    with pytest.raises(ConfigError, match="models is 'weak'"):
        planned(Listed(({"task": "tree", "models": "weak"},)), REGISTRY, {"device": "cpu"})
