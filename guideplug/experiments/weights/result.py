"""The results of a sweep over weights: metrics, differences to unguided samples and costs at each weight."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from guideplug.run.failure import Failure
from guideplug.run.summary import ARROWS
from guideplug.run.verdict import Verdict, number
from guideplug.task import Metric

__all__ = ["MeasuredArm", "WeightSweep"]

GAINS = {1: "+", -1: "-", 0: ""}
"""Marks of metrics that are told apart from unguided ones: better, worse."""


@attrs.frozen
class MeasuredArm:
    """Samples as they were measured.

    Args:
        name: "truth", "unguided", or option and weight.
        weight: the weight; None for others.
        metrics: values by name; None without a value.
        verdicts: how they differ from unguided samples, by metric.
        evaluations: calls and outputs by role; what another weight had evaluated at the same point is not counted.
        seconds: of drawing.
        diverged: the message of samples that diverged, which have no metrics.
    """

    name: str
    metrics: Mapping[str, float | None]
    weight: float | None = None
    verdicts: Sequence[Verdict] = ()
    evaluations: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    seconds: float = 0.0
    diverged: str = ""


@attrs.frozen(repr=False)
class WeightSweep:
    """One network guided at several weights from the same noise.

    Args:
        task, expression, option: what was swept, in words.
        samples, seed: of each arm.
        table: the metrics.
        primary: the names of the task's primary ones.
        truth, unguided: what weights are compared with.
        arms: one for each weight, in the order of the range.
        warnings: about the networks.
        failures: the metrics and figures that failed.
        record: further facts for ``weights.json``: command, versions, networks, seconds.
    """

    task: str
    expression: str
    option: str
    samples: int
    seed: int
    table: Sequence[Metric]
    primary: Sequence[str]
    truth: MeasuredArm
    unguided: MeasuredArm
    arms: Sequence[MeasuredArm]
    warnings: Sequence[str] = ()
    failures: Sequence[Failure] = ()
    record: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def weights(self) -> list[float]:
        """The weights whose samples are finite."""
        return [arm.weight for arm in self.arms if arm.weight is not None and not arm.diverged]

    def curve(self, metric: str) -> list[tuple[float, float]]:
        """The points (weight, value) of a metric, where it has a value."""
        points = ((arm.weight, arm.metrics.get(metric)) for arm in self.arms)
        return [(weight, value) for weight, value in points if weight is not None and value is not None]

    def primary_of(self, aspect: str) -> Metric | None:
        """The primary metric of an aspect."""
        return next((metric for metric in self.table if metric.name in self.primary and metric.aspect == aspect), None)

    def rows(self, names: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
        """The header and the rows of the table: true samples, unguided ones, then a row per weight.

        Args:
            names: of the metrics; by default of all that have a value.
        """
        known = [metric for metric in self.table if self.unguided.metrics.get(metric.name) is not None]
        metrics = [metric for metric in known if metric.name in names] or known
        stars = {metric.name: " *" if metric.name in self.primary else "" for metric in metrics}
        header = [self.option, *(f"{metric.name} {ARROWS[metric.better]}{stars[metric.name]}" for metric in metrics)]
        rows = []
        for arm in (self.truth, self.unguided, *self.arms):
            gains = {verdict.metric: GAINS[verdict.gain] for verdict in arm.verdicts}
            values = [f"{number(arm.metrics.get(one.name))} {gains.get(one.name, '')}".rstrip() for one in metrics]
            name = arm.name if arm.weight is None else f"{arm.weight:g}"
            rows.append([name, *values, _outputs(arm, self.samples)])
        return [*header, "outputs per sample"], rows

    def sentences(self) -> list[str]:
        """What the table says: the best weight of each primary metric, what diverged, and what it cost."""
        lines = []
        if best := [text for metric in self.table if (text := self._best(metric))]:
            lines.append(
                f"Best {self.option} on these samples: {'; '.join(best)}. A weight that was chosen on them is measured "
                "by other samples: give another --seed."
            )
        if diverged := [f"{arm.weight:g}" for arm in self.arms if arm.diverged]:
            lines.append(f"Samples diverged at {self.option} {', '.join(diverged)}.")
        return lines

    def _best(self, metric: Metric) -> str:
        points = self.curve(metric.name)
        if metric.name not in self.primary or not points:
            return ""
        near, target = metric.better == "truth", self.truth.metrics.get(metric.name) or 0.0
        sign = -1.0 if metric.better == "higher" else 1.0
        weight, value = min(points, key=lambda point: abs(point[1] - target) if near else sign * point[1])
        verdict = next((one for arm in self.arms if arm.weight == weight for one in arm.verdicts
                        if one.metric == metric.name), None)  # fmt: skip
        suffixes = {1: "", -1: ", worse than unguided", 0: ", not told apart from unguided"}
        return f"{metric.name} {weight:g} ({number(value)}{suffixes[verdict.gain] if verdict else ''})"

    def __repr__(self) -> str:
        header, rows = self.rows()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]
        ]
        return "\n".join([f"{self.task}, {self.expression}, {self.samples:,} samples", *lines, *self.sentences()])


def _outputs(arm: MeasuredArm, samples: int) -> str:
    """Network outputs per sample, of all roles."""
    outputs = sum(count["outputs"] for count in arm.evaluations.values())
    return f"{outputs / samples:g}" if arm.evaluations else "-"
