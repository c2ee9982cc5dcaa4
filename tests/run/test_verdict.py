"""What is judged of guidance: on samples made up for the purpose, and in words."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
import torch
from attrs import frozen
from torch import Tensor

from guideplug.metrics.statistics import Difference
from guideplug.run.verdict import Verdict, guidance, number, recorded, signed, verdicts
from guideplug.task import Arm, Context, Metric, PerSample, Resampler

COUNT = 400


@frozen
class First(PerSample):
    """The first coordinate."""

    name = "first"
    better, aspect, formula = "higher", "fidelity", "mean of x_1"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        return arm.samples[:, 0]


@frozen
class Second(First):
    """The second coordinate, which is to be as of true samples."""

    name = "second"
    better, aspect = "truth", "coverage"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        return arm.samples[:, 1]


@frozen
class Silent(First):
    """No value."""

    name = "silent"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        return None


@frozen
class Whole(Metric):
    """Not resampled."""

    name = "whole"
    better, aspect, formula = "lower", "both", "largest coordinate"

    def measure(self, arm: Arm, context: Context) -> float | None:
        return float(arm.samples.max())


@frozen
class Torn(Whole):
    """Not finite in some resamples."""

    name = "torn"

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        return lambda weights: torch.where(weights[:, 0] == 0, torch.nan, weights[:, 1])


METRICS = [First(), Second(), Silent(), Whole(), Torn()]


def noise(seed: int) -> Tensor:
    return torch.randn(COUNT, 2, generator=torch.Generator().manual_seed(seed))


def judged(before: Tensor, after: Tensor, truth: float = 0.0) -> dict[str, Verdict]:
    arms = [Arm("unguided", before), Arm("guided", after)]
    context = cast(Context, Context(cast(Any, None), {}, cast(Any, None)))
    values: dict[str, Mapping[str, float | None]] = {
        arm.name: {metric.name: metric.measure(arm, context) for metric in METRICS} for arm in arms
    }
    values["truth"] = {"second": truth}
    return {one.metric: one for one in verdicts(METRICS, ["first", "second"], *arms, values, context)}


def test_a_clear_difference_is_judged_the_right_way() -> None:
    start = noise(0)
    up = judged(start, start + torch.tensor([0.5, 0.0]) + 0.1 * noise(1))
    assert up["first"].gain == 1
    assert up["first"].difference.mean == pytest.approx(0.5, abs=0.02)
    assert judged(start, start - 0.5 + 0.1 * noise(1))["first"].gain == -1
    assert up["first"].primary
    assert set(up) == {"first", "second"}  # the others have no value, no resampler, or no finite interval


def test_a_metric_to_be_near_the_truth_is_judged_by_its_distance() -> None:
    start = noise(0)
    shift = torch.tensor([0.0, 1.0])
    assert judged(start, start + shift, truth=float((start + shift)[:, 1].mean()))["second"].gain == 1
    assert judged(start, start + shift, truth=float(start[:, 1].mean()))["second"].gain == -1
    assert "second" not in judged(start, start, truth=cast(float, None))


def test_equal_samples_are_not_told_apart() -> None:
    same = judged(noise(0), noise(0))
    assert all(one.gain == 0 and one.difference.mean == 0 for one in same.values())


def test_the_interval_is_that_of_the_pairs() -> None:
    """As wide as the paired t interval, and much narrower than that of independent samples."""
    start, more = noise(0), 0.1 * noise(1)
    interval = judged(start, start + more)["first"].difference
    paired = 1.96 * float(more[:, 0].std()) / COUNT**0.5
    assert (interval.high - interval.low) / 2 == pytest.approx(paired, rel=0.15)
    apart = judged(start, noise(2))["first"].difference
    assert (apart.high - apart.low) / 2 == pytest.approx(1.96 * (2 / COUNT) ** 0.5, rel=0.2)


def test_what_is_recorded_is_read_back() -> None:
    start = noise(0)
    before = judged(start, start + 0.5)
    content = {
        "arms": {arm: {one.metric: value for one, value in values} for arm, values in (
            ("unguided", [(one, one.before) for one in before.values()]),
            ("guided", [(one, one.after) for one in before.values()]),
        )},
        "differences": {name: one.record() for name, one in before.items()},
        "samples": COUNT,
    }  # fmt: skip
    assert recorded(METRICS, content) == list(before.values())
    assert recorded(METRICS, {"arms": {}}) == []


def test_arms_of_unequal_size_are_not_pairs() -> None:
    assert judged(noise(0), noise(1)[:-1]) == {}


def verdict(gain: int, aspect: str = "fidelity", *, primary: bool = True, name: str = "inside") -> Verdict:
    return Verdict(name, aspect, 0.9, 0.8, Difference(-0.1, -0.12, -0.08, 10), gain, primary)


def test_words_rest_on_primary_metrics_alone() -> None:
    many = [verdict(1, primary=False, name=f"other {number}") for number in range(5)]
    what = guidance([*many, verdict(-1), verdict(0, "coverage", name="branches"), verdict(-1, "accuracy")])
    assert what == (
        "fidelity lowered (inside 0.9000 -> 0.8000, -0.100 [-0.120, -0.080]); "
        "coverage not told apart (branches 0.9000 -> 0.8000, -0.100 [-0.120, -0.080])"
    )
    assert guidance(many) == ""
    assert guidance([verdict(1, "memorisation")]).startswith("the distance to training data nearer")


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        ((0.0461, 0.0401, 0.0521), "+0.0461 [+0.0401, +0.0521]"),
        ((0.00003, -0.00001, 0.00007), "+0.000030 [-0.000010, +0.000070]"),
        ((-0.67, -0.84, -0.49), "-0.67 [-0.84, -0.49]"),
        ((120.0, -1300.0, 1500.0), "+120 [-1300, +1500]"),
        ((0.0, 0.0, 0.0), "+0.0000 [+0.0000, +0.0000]"),
        ((-1e-9, -1e-3, 1e-3), "+0.0000 [-0.0010, +0.0010]"),
    ],
)
def test_differences_have_two_digits_of_their_uncertainty(difference: tuple[float, float, float], text: str) -> None:
    assert signed(Difference(*difference, 10)) == text


@pytest.mark.parametrize(
    ("value", "printed"), [(None, "-"), (0.12345, "0.1235"), (12.345, "12.35"), (1.5e6, "1.50e+06")]
)
def test_numbers_as_the_table_prints_them(value: float | None, printed: str) -> None:
    assert number(value) == printed
