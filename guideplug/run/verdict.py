"""The effects of guidance, judged by intervals: on fidelity, coverage, both at once, nearness to training data.

A task names its primary metrics beforehand (`Task.primary`), at most one per aspect. Guided and unguided samples
start from the same noise, so their difference is resampled in pairs (`guideplug.metrics.paired_bootstrap`). A verdict
is given where the 95 % interval of the difference leaves out 0. Other metrics have intervals where they can be
resampled; they are shown and do not vote. A metric that should be as of true samples is judged by its distance to
theirs.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from attrs import frozen
from torch import Tensor

from guideplug.metrics import paired_bootstrap
from guideplug.metrics.statistics import Difference
from guideplug.run.failure import Failures, collected
from guideplug.run.metric_answers import resampler_of
from guideplug.task import Arm, Context, Metric, Resampler

__all__ = ["Verdict", "guidance", "number", "recorded", "signed", "verdicts"]

Values: TypeAlias = Mapping[str, float | None]

WORDS = {
    "fidelity": ("fidelity raised", "fidelity lowered", "fidelity not told apart"),
    "coverage": ("coverage raised", "coverage lowered", "coverage not told apart"),
    "both": ("the whole nearer to the truth", "the whole further from the truth", "the whole not told apart"),
    "memorisation": (
        "the distance to training data nearer to that of true samples",
        "the distance to training data further from that of true samples",
        "the distance to training data not told apart",
    ),
}
"""Words per aspect: better, worse, undecided. Accuracy is left out: guidance is not meant to change it."""
GAINS = {"better": 1, "worse": -1, "not told apart": 0}


@frozen
class Verdict:
    """How a metric differs between two arms.

    Args:
        metric, aspect: of the task.
        before, after: its values.
        difference: after less before, with its 95 % interval over samples; of a metric that should be near to the
            truth, of the distances to it.
        gain: 1 for better, -1 for worse, 0 where the interval holds 0.
        primary: whether the task named it for its aspect.
    """

    metric: str
    aspect: str
    before: float
    after: float
    difference: Difference
    gain: int
    primary: bool

    def __str__(self) -> str:
        return f"{self.metric} {number(self.before)} -> {number(self.after)}, {signed(self.difference)}"

    def record(self) -> dict[str, Any]:
        """The verdict as in ``metrics.json``."""
        return {
            "difference": self.difference.mean,
            "low": self.difference.low,
            "high": self.difference.high,
            "verdict": next(word for word, gain in GAINS.items() if gain == self.gain),
            "primary": self.primary,
        }


def number(value: float | None) -> str:
    """A value as the table prints it."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1e5 else f"{value:.2e}"


def signed(difference: Difference) -> str:
    """A difference and its interval as the table prints them."""
    half = (difference.high - difference.low) / 2
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 9) if half > 0 else 4  # two digits of the half width
    bounds = (round(value, decimals) + 0.0 for value in (difference.mean, difference.low, difference.high))
    mean, low, high = (f"{value:+.{decimals}f}" for value in bounds)
    return f"{mean} [{low}, {high}]"


def verdicts(
    metrics: Sequence[Metric],
    primary: Sequence[str],
    before: Arm,
    after: Arm,
    values: Mapping[str, Values],
    context: Context,
    failures: Failures | None = None,
) -> list[Verdict]:
    """How each metric that can be resampled differs between two arms of as many samples.

    Args:
        metrics: of the task.
        primary: the names of its primary ones.
        before, after: the arms; sample i of one and of the other are a pair.
        values: by arm and metric, those of "truth" among them.
        context: shared context of the metrics.
        failures: lists the metrics that cannot be resampled since they raise; without it they raise here.
    """
    if len(before.samples) != len(after.samples) or len(before.samples) < 2:  # no pairs
        return []
    judged: list[tuple[Metric, Resampler, Resampler, float | None]] = []
    for metric in metrics:
        target = values.get("truth", {}).get(metric.name) if metric.better == "truth" else None
        needed = [values[arm.name].get(metric.name) for arm in (before, after)]
        if None in needed or (metric.better == "truth" and target is None):
            continue
        with collected(failures, "interval", metric.name):
            first, last = (resampler_of(metric, arm, context) for arm in (before, after))
            if first is not None and last is not None:
                judged.append((metric, first, last, target))
    if not judged:
        return []
    failed: set[str] = set()

    def difference(metric: Metric, first: Resampler, last: Resampler, target: float | None, weights: Tensor) -> Tensor:
        if metric.name not in failed:
            with collected(failures, "interval", metric.name):
                values = _distance(last(weights), target) - _distance(first(weights), target)
                return values.double().reshape(len(weights))
        failed.add(metric.name)
        return weights.new_full((len(weights),), math.nan)

    def differences(weights: Tensor) -> Tensor:
        return torch.stack([difference(*row, weights) for row in judged])

    intervals = paired_bootstrap(differences, len(before.samples), seed=context.seed)
    return [
        Verdict(
            metric=metric.name,
            aspect=metric.aspect,
            before=values[before.name][metric.name] or 0.0,
            after=values[after.name][metric.name] or 0.0,
            difference=difference,
            gain=_gain(difference, metric.better),
            primary=metric.name in primary,
        )
        for (metric, *_), difference in zip(judged, intervals, strict=True)
        if difference is not None
    ]


def recorded(metrics: Sequence[Metric], content: Mapping[str, Any]) -> list[Verdict]:
    """The verdicts that the content of a ``metrics.json`` holds; none where it is of an earlier version."""
    arms, records = content.get("arms", {}), content.get("differences", {})
    return [
        Verdict(
            metric=metric.name,
            aspect=metric.aspect,
            before=arms["unguided"][metric.name],
            after=arms["guided"][metric.name],
            difference=Difference(record["difference"], record["low"], record["high"], content["samples"]),
            gain=GAINS[record["verdict"]],
            primary=record["primary"],
        )
        for metric in metrics
        if (record := records.get(metric.name)) is not None
    ]


def _distance(values: Tensor, target: float | None) -> Tensor:
    return values if target is None else (values - target).abs()


def _gain(difference: Difference, better: str) -> int:
    if not difference.clear:
        return 0
    return 1 if (difference.mean > 0) == (better == "higher") else -1


def guidance(judged: Sequence[Verdict]) -> str:
    """The effect of guidance per aspect, by its primary metric."""
    parts = []
    for aspect, (better, worse, neither) in WORDS.items():
        words = {1: better, -1: worse, 0: neither}
        for verdict in judged:
            if verdict.primary and verdict.aspect == aspect:
                parts.append(f"{words[verdict.gain]} ({verdict})")
    return "; ".join(parts)
