"""Verdicts on equal distributions are rare: the small version of `null.py`, with fixed seeds and a binomial bound.

CI runs it by its name; `pytest` alone does not collect it, for it takes some minutes.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from scipy.stats import binom

TRIALS = 40
COUNTS = {"tree": 1024, "digits": 449, "points": 600, "images": 500}
WORST = 0.10
"""The rate of one-way verdicts that is allowed; 5 % is nominal."""


@pytest.fixture(scope="module")
def null() -> ModuleType:
    spec = importlib.util.spec_from_file_location("null", Path(__file__).with_name("null.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("task", COUNTS)
@pytest.mark.parametrize("scenario", ["independent", "shared"])
def test_equal_distributions_are_told_apart_as_rarely_as_allowed(task: str, scenario: str, null: ModuleType) -> None:
    records = list(null.trials(task, scenario, range(TRIALS), COUNTS[task]))
    most = binom.ppf(0.999, TRIALS, WORST)
    for name in BED_PRIMARY[task]:
        clear = sum(record["gains"].get(name, 0) != 0 for record in records)
        assert clear <= most, f"{name}: {clear} of {TRIALS}"
        assert all(name in record["gains"] for record in records), f"{name} has no interval"


@pytest.mark.parametrize(
    ("scenario", "metric", "gain"), [("fidelity", "inside outline", -1), ("coverage", "branch KL", -1)]
)
def test_true_differences_are_seen(scenario: str, metric: str, gain: int, null: ModuleType) -> None:
    records = list(null.trials("tree", scenario, range(8), 2048))
    assert sum(record["gains"][metric] == gain for record in records) >= 4  # 80 % of 200 in docs/metrics.md


BED_PRIMARY = {
    "tree": ["inside outline", "branch KL", "energy MMD"],
    "digits": ["precision", "coverage", "Fréchet distance", "nearest training image"],
    "points": ["precision", "coverage", "energy distance", "nearest training row"],
    "images": ["precision", "coverage", "Fréchet distance", "nearest training image"],
}
