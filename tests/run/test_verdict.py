"""What is said of guidance, on numbers made up for the purpose."""

from typing import Any

import pytest
from attrs import frozen

from guideplug.run.verdict import number, verdict


@frozen
class Measure:
    name: str
    aspect: str = "fidelity"
    better: str = "higher"


PRECISION, ACCURACY = Measure("precision"), Measure("accuracy")
RECALL, FRECHET = Measure("recall", "coverage"), Measure("Fréchet", "both", "lower")
LOG = Measure("log density")
NUMBER = Measure("spread", "coverage", "truth")


def said(*changes: tuple[Any, float | None, float | None], samples: int = 10_000, truth: float | None = None) -> str:
    arms = {
        "truth": {metric.name: truth for metric, _, _ in changes},
        "unguided": {metric.name: before for metric, before, _ in changes},
        "guided": {metric.name: after for metric, _, after in changes},
    }
    return verdict([metric for metric, _, _ in changes], arms, samples)


def test_the_metric_that_moved_most_is_named() -> None:
    assert (
        said((PRECISION, 0.8, 0.84), (ACCURACY, 0.5, 0.7))
        == "raised fidelity (accuracy 0.5000 -> 0.7000; 2 of 2 metrics)"
    )
    assert (
        said((PRECISION, 0.8, 0.6), (ACCURACY, 0.5, 0.5))
        == "lowered fidelity (precision 0.8000 -> 0.6000; 1 of 2 metrics)"
    )


def test_metrics_that_disagree_are_both_named() -> None:
    found = said((PRECISION, 0.8, 0.9), (ACCURACY, 0.5, 0.52), (LOG, -4.8, -5.3))
    assert found == "moved fidelity both ways (precision 0.8000 -> 0.9000, but log density -4.8000 -> -5.3000)"


def test_metrics_of_everything_at_once_have_their_say() -> None:
    found = said((PRECISION, 0.8, 0.9), (RECALL, 0.6, 0.8), (FRECHET, 63.95, 119.92))
    assert found.endswith("and took the whole further from the truth (Fréchet 63.95 -> 119.92; 1 of 1 metrics)")
    assert "raised fidelity" in found
    assert "raised coverage" in found


@pytest.mark.parametrize(("samples", "moved"), [(200, False), (10_000, True)])
def test_shares_of_few_samples_move_by_chance(samples: int, moved: bool) -> None:
    """One half over the root of 200 is .035."""
    assert said((ACCURACY, 0.105, 0.13), samples=samples).startswith("raised" if moved else "left fidelity as it was")


def test_a_distance_moves_by_the_noise_that_true_samples_show() -> None:
    assert said((FRECHET, 0.40, 0.45), truth=0.36).startswith("left the whole as it was")
    assert said((FRECHET, 0.40, 0.55), truth=0.36).startswith("took the whole further")


def test_what_is_missing_or_has_no_better_way_is_not_spoken_of() -> None:
    assert said((NUMBER, 1.0, 2.0), (PRECISION, None, 0.5)) == "was not measured"


def test_numbers_are_short() -> None:
    assert [number(value) for value in (None, 0.12345, 12.345, 1234567.0)] == ["-", "0.1235", "12.35", "1.23e+06"]


def test_a_number_around_0_is_not_the_one_to_name() -> None:
    energy = Measure("energy", "both", "lower")
    assert "Fréchet 0.5000 -> 0.6000; 2 of 2" in said((energy, -0.0002, 0.0003), (FRECHET, 0.5, 0.6))
