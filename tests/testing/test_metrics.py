"""Metrics that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

import random
from typing import Any, final

import pytest
import torch
from attrs import frozen
from defects import broken

from guideplug import (
    Arm,
    Context,
    Metric,
)
from guideplug.testing.metrics import METRIC, Measuring
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.toys import Normal

torch.set_num_threads(1)


class _Measures(Metric):
    better, aspect = "lower", "fidelity"
    formula = "mean of |x|^2"

    def measure(self, arm: Arm, context: Context) -> float | None:
        return float(arm.samples.square().mean())


@final
@frozen
class Measures(_Measures):
    """Right."""

    name = "measures"


def metric(defect: str, **changes: Any) -> Metric:
    """A metric with some of its class's attributes changed."""
    return frozen(type(defect, (_Measures,), {"name": defect, "__doc__": "Wrong.", **changes}))()  # type: ignore[no-any-return]


def _sorted(self: Metric, arm: Arm, context: Context) -> float:
    values = arm.samples[:, 0]
    values.copy_(values.sort().values)
    return float(values[0] ** 2)


def _changes_references(self: Metric, arm: Arm, context: Context) -> float:
    context.references["truth"].samples.sub_(1.0)
    return 0.0


METRICS = [
    (metric("way", better="upwards"), "it says which way is better, of which aspect, and by which formula"),
    (metric("silent", formula=""), "it says which way is better, of which aspect, and by which formula"),
    (metric("tensor", measure=lambda self, arm, context: arm.samples.mean()),
     "the value is a number, or None where there is none"),
    (metric("nan", measure=lambda self, arm, context: float("nan")), "the value of true samples is finite"),
    (metric("draws", measure=lambda self, arm, context: float(torch.rand(()))), "the same samples have the same value"),
    (metric("global", measure=lambda self, arm, context: 0 * random.random()), "no draw from a global generator"),
    (metric("sorts", measure=_sorted), "samples are not changed"),
    (metric("references", measure=_changes_references), "samples are not changed"),
    (metric("reversed", better="higher"), "what is better is better"),
    (metric("unweighted", resampler=lambda self, arm, context: lambda weights: weights.mean(1)),
     "its resampler gives what it measures of repeated samples"),
    (metric("flat", resampler=lambda self, arm, context: lambda weights: weights.sum()),
     "its resampler gives what it measures of repeated samples"),
]  # fmt: skip


def test_the_right_metric_keeps_all_laws() -> None:
    assert broken(STRATEGY, Measures()) == {}
    assert broken(METRIC, Measuring(Measures(), Normal())) == {}


@pytest.mark.parametrize(("wrong", "law"), METRICS, ids=lambda value: value.name if isinstance(value, Metric) else "")
def test_a_metrics_defect(wrong: Metric, law: str) -> None:
    assert law in broken(METRIC, Measuring(wrong, Normal()))
