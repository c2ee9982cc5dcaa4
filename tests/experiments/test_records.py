"""Records of other code are refused while an experiment runs, and nothing of them is kept."""

from pathlib import Path

import pytest
import torch

from guideplug import Registry
from guideplug.errors import RunError
from guideplug.experiments.comparison import GridRequest, compare, resolve_grid
from guideplug.experiments.networks import Networks
from guideplug.experiments.records import check_code
from guideplug.experiments.worker import ExperimentWorker
from guideplug.observe import Observers
from guideplug.run.measure import Bench
from guideplug.run.resolve import Request
from guideplug.store import Store

REGISTRY = Registry.installed()
SMALL = {"task": "tree", "denoiser": "tree-mlp(hidden=4)", "duration": "2it", "batch": 16, "samples": 4}
OTHER = "was done with other code than this command began with"


def test_the_same_code_is_accepted() -> None:
    check_code("cell", "a", "a")
    with pytest.raises(RunError, match=f"cell {OTHER}.*--resume"):
        check_code("cell", "a", "b")


@pytest.mark.parametrize("name", ["identity", "code_of_cell"])
def test_what_a_worker_of_other_code_returns_is_not_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: dict[str, object] = {**SMALL, "device": "cpu", "threads": 1}
    grid = resolve_grid(GridRequest(Request(values=values), snapshots=1), REGISTRY)
    monkeypatch.setattr(f"guideplug.experiments.comparison.worker.{name}", lambda *of: "of an edited plugin")
    with pytest.raises(RunError, match=OTHER):
        compare(grid, REGISTRY, tmp_path, Store(tmp_path / "store"))
    assert not list((tmp_path / "cells").iterdir())


def test_a_network_that_the_code_of_a_worker_does_not_give_is_refused(tmp_path: Path) -> None:
    worker = ExperimentWorker(Networks(), Store(tmp_path), torch.device("cpu"), Bench(REGISTRY), Observers())
    with pytest.raises(RunError, match=f"network abcdef12 {OTHER}"):
        worker.make("abcdef1234")
