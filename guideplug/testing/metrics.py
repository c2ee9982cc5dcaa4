"""The laws of a metric: a number of the samples alone, with the declared direction."""

import math
from functools import cached_property
from typing import get_args, get_type_hints

import torch
from attrs import evolve

from guideplug.denoise import select_rows
from guideplug.sample import Sampler
from guideplug.task import Arm, Context, Metric, Task
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import no_global_draws
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.tasks import TRUE, TaskCase
from guideplug.testing.toys import Straight

__all__ = ["METRIC", "Measuring", "check_metric"]

TRULY = "true samples"


class Measuring:
    """A metric under test, and a task whose samples it measures."""

    def __init__(self, metric: Metric, task: Task, sampler: Sampler | None = None) -> None:
        self.metric, self.task, self.sampler = metric, task, sampler or Straight()
        self._tasked = TaskCase(task, sampler=self.sampler)

    @cached_property
    def true(self) -> Arm:
        """True samples beside the reference arms."""
        return next(arm for arm in self.task.truth(TRUE, self.sampler, 1) if arm.name == "truth")

    @property
    def arms(self) -> dict[str, Arm]:
        """Copies: true samples; one of them repeated; and some far from all."""
        true = self.true
        return {
            TRULY: evolve(true, samples=true.samples.clone()),
            "one sample over and over": evolve(
                true, name="one", samples=true.samples[:1].repeat(len(true.samples), *[1] * (true.samples.ndim - 1))
            ),
            "samples with noise of 3 standard deviations": evolve(
                true, name="far", samples=true.samples + 3 * true.samples.std() * self._noise
            ),
        }

    @cached_property
    def _noise(self) -> torch.Tensor:
        return torch.randn(self.true.samples.shape, generator=torch.Generator().manual_seed(0))

    def context(self) -> Context:
        """A fresh shared context of metrics."""
        references = {arm.name: evolve(arm, samples=arm.samples.clone()) for arm in self._tasked.truth}
        return Context(self.task, references, self.sampler, 0)

    @cached_property
    def values(self) -> dict[str, float | None]:
        """The value per arm, measured in turn as in a run."""
        context = self.context()
        return {name: self.metric.measure(arm, context) for name, arm in self.arms.items()}


METRIC: Laws[Measuring] = Laws()


def check_metric(metric: Metric, task: Task) -> None:
    """The laws of a metric, on samples of a task: a number of the samples alone, with the declared direction.

    Args:
        metric: the metric.
        task: one that it applies to.
    """
    STRATEGY.check(metric)
    METRIC.check(Measuring(metric, task))


@METRIC.add("it says which way is better, of which aspect, and by which formula", "set better, aspect and formula")
def _says(measuring: Measuring) -> None:
    cls = type(measuring.metric)
    for name in ("better", "aspect"):
        known = get_args(get_args(get_type_hints(Metric)[name])[0])
        value = getattr(cls, name, None)
        must(value in known, f"{name} is {value!r}: it is one of {', '.join(known)}")
    must(bool(getattr(cls, "formula", "")), "formula is empty")


@METRIC.add("it applies to a task or not, and says so", "return True or False from applies", premise=True)
def _applies(measuring: Measuring) -> None:
    must(measuring.metric.applies(measuring.task) is True, f"it does not apply to {measuring.task.name}")


@METRIC.add("the value is a number, or None where there is none", "return float(...), not a tensor", premise=True)
def _number(measuring: Measuring) -> None:
    for name, value in measuring.values.items():
        must(value is None or type(value) is float, f"of {name} it is a {type(value).__name__}")


@METRIC.add("the value of true samples is finite", "guard what may be 0 below a fraction or in a logarithm")
def _finite(measuring: Measuring) -> None:
    value = measuring.values[TRULY]
    must(value is None or math.isfinite(value), f"it is {value}")


@METRIC.add("the same samples have the same value", "draw, where it must, from a generator seeded by context.seed")
def _repeats(measuring: Measuring) -> None:
    context = measuring.context()
    for name, arm in measuring.arms.items():
        first, second = measuring.values[name], measuring.metric.measure(arm, context)
        must(first == second or (first != first and second != second), f"of {name} it is {first}, and then {second}")


@METRIC.add(
    "its resampler gives what it measures of repeated samples",
    "let resampler(...)(weights)[r] be measure(...) of an arm in which sample i stands weights[r, i] times",
)
def _resamples(measuring: Measuring) -> None:
    """Check with equal weights, and with weights of draws with replacement; without starts, which repeats change."""
    arm = evolve(measuring.arms[TRULY], name="as they are", start=None)
    count = len(arm.samples)
    drawn = torch.randint(count, (3, count), generator=torch.Generator().manual_seed(1))
    for rows in (torch.arange(count), *drawn.sort(dim=1).values):
        repeated = evolve(arm, name="repeated", samples=arm.samples[rows], condition=select_rows(arm.condition, rows))
        of_weights = measuring.metric.resampler(arm, measuring.context())
        value = measuring.metric.measure(repeated, measuring.context())
        if of_weights is None or value is None:
            return
        weights = torch.bincount(rows, minlength=count).double()[None]
        resampled = of_weights(weights)
        must(tuple(resampled.shape) == (1,), f"it gives shape {tuple(resampled.shape)}, not (1,), of one resample")
        must(
            math.isclose(float(resampled), value, rel_tol=1e-4, abs_tol=1e-6),
            f"it gives {float(resampled):.6g}, and the repeated samples measure {value:.6g}",
        )


@METRIC.add("no draw from a global generator", "draw from a generator that is seeded by context.seed")
def _draws_from_its_own(measuring: Measuring) -> None:
    with no_global_draws():
        measuring.metric.measure(measuring.arms[TRULY], measuring.context())


@METRIC.add("samples are not changed", "compute out of place: samples - mean, not samples.sub_(mean); no sort in place")
def _samples_stay(measuring: Measuring) -> None:
    arm, context, before = measuring.arms[TRULY], measuring.context(), measuring.context().references
    measuring.metric.measure(arm, context)
    must(torch.equal(arm.samples, measuring.true.samples))
    for name, reference in context.references.items():
        must(torch.equal(before[name].samples, reference.samples), f"those of the reference {name!r} were")


@METRIC.add(
    "what is better is better",
    "say better = 'lower' for a distance or an error, 'higher' for a share that is right",
    where=lambda measuring: measuring.metric.better in ("higher", "lower"),
)
def _direction(measuring: Measuring) -> None:
    """Noise loses fidelity, and a repeated sample loses coverage: neither may be better than true samples."""
    worse = {
        "fidelity": "samples with noise of 3 standard deviations",
        "both": "samples with noise of 3 standard deviations",
        "coverage": "one sample over and over",
    }.get(measuring.metric.aspect)
    if worse is None:
        return
    true, other = measuring.values[TRULY], measuring.values[worse]
    if true is None or other is None or not math.isfinite(other):
        return
    sign = 1 if measuring.metric.better == "higher" else -1
    must(sign * true >= sign * other, f"true samples have {true:g}, {worse} {other:g}: {measuring.metric.better}")
