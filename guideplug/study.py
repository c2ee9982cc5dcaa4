"""Studies: scripted experiments, as grids of runs with a report.

A study lists its trials, each a run's configuration with values of the study's axes, and reports on their results.
`guideplug.experiments.studies` resolves every trial, finds or trains its networks, samples, measures and stores. A
study therefore needs no loop, can be resumed, and trains shared networks once.
"""

import abc
import csv
import io
import math
import statistics
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeAlias

from attrs import field, frozen
from torch import nn

from guideplug.config import Strategy, decides_nothing
from guideplug.task import Arm, Task

__all__ = ["Findings", "Measured", "Report", "Study", "Table", "Trial", "where"]

Axis: TypeAlias = str | int | float | bool
Value: TypeAlias = str | float | int | list[float] | None


@frozen
class Trial:
    """One run of a study.

    Args:
        axes: its values of the axes, by name, such as ``{"guider": "cfg", "weight": 2.0, "seed": 0}``. The
            combination is unique to the trial; all trials have the same names.
        run: the configuration of the run, with the keys of a run's TOML: ``task``, ``guider``, ``seed``, ``samples``,
            ``models``... Omitted keys are the task's.
        sets: single options, as in ``--set``: ``{"models.weak.seed": "1"}``.
        keep: whether the study's folder stores its samples, for figures.
    """

    axes: Mapping[str, Axis]
    run: Mapping[str, object]
    sets: Mapping[str, str] = field(factory=dict)
    keep: bool = False

    def __str__(self) -> str:
        return where(self.axes)


def where(axes: Mapping[str, Axis]) -> str:
    """The values of the axes as text."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in axes.items()
    )


@frozen
class Measured:
    """The results of a trial.

    Args:
        axes: the trial's values of the axes.
        task: the task of the run.
        metrics: values by name; None for a metric without a value, and for all if sampling diverged.
        truth: the metrics of true samples.
        evaluations: network outputs per sample.
        samples: the measured samples, if the trial stores them; else it raises `ValueError`.
        references: the task's reference arms, true samples first.
        obtain: the module of a role, from the store.
        failed: the divergence of sampling, if any.
        failures: why metrics could not be measured, by name: of the samples, or of true ones.
    """

    axes: Mapping[str, Axis]
    task: Task
    metrics: Mapping[str, float | None]
    truth: Mapping[str, float | None]
    evaluations: float
    samples: Callable[[], Arm]
    references: Callable[[], Sequence[Arm]]
    obtain: Callable[[str], nn.Module]
    failed: str = ""
    failures: Mapping[str, str] = field(factory=dict)


@frozen
class Findings:
    """The results of all trials of a study, in their order.

    Args:
        rows: one per trial.
        better: the better direction per metric: "higher", "lower", or "truth".
    """

    rows: Sequence[Measured]
    better: Mapping[str, str]

    def where(self, **axes: Axis) -> "Findings":
        """The rows with some values of axes."""
        kept = [row for row in self.rows if all(row.axes.get(name) == value for name, value in axes.items())]
        return Findings(kept, self.better)

    def axis(self, name: str) -> list[Axis]:
        """The values of an axis, each once, in the order of the rows."""
        return list(dict.fromkeys(row.axes[name] for row in self.rows if name in row.axes))

    def values(self, metric: str) -> list[float]:
        """The values of a metric, without rows that lack one."""
        return [value for row in self.rows if (value := row.metrics.get(metric)) is not None]

    def by(self, axis: str, metric: str) -> dict[Hashable, float]:
        """A metric by an axis with distinct values per row, such as the seed."""
        values: dict[Hashable, float] = {}
        for row in self.rows:
            value = row.metrics.get(metric)
            if row.axes[axis] in values:
                raise ValueError(f"several rows have {axis} {row.axes[axis]!r}: choose some by the other axes first")
            if value is not None:
                values[row.axes[axis]] = value
        return values

    def truth(self, metric: str) -> float | None:
        """A metric of the first row's true samples; None without a value."""
        return self.rows[0].truth.get(metric) if self.rows else None

    def distance(self, metric: str, value: float) -> float:
        """The badness of a value: smaller is better for every metric."""
        if self.better[metric] == "truth":
            truth = self.truth(metric)
            if truth is None:
                raise ValueError(f"metric {metric!r} is to be near that of true samples, which have none")
            return abs(value - truth)
        return -value if self.better[metric] == "higher" else value


def _finite(value: Value) -> Value:
    """The value, with None for numbers that are not finite."""
    if isinstance(value, list):
        return [one for one in value if math.isfinite(one)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cleaned(rows: Sequence[Sequence[Value]]) -> list[list[Value]]:
    return [[_finite(value) for value in row] for row in rows]


@frozen
class Table:
    """A table: columns, and rows of texts, numbers, lists of numbers (a value per seed), or None.

    Numbers that are not finite become None.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]] = field(converter=_cleaned)

    def __attrs_post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells for {len(self.columns)} columns: {list(row)}")

    def csv(self) -> str:
        """The table as CSV, with unrounded numbers; a column of lists becomes mean, population deviation and count."""
        several = [any(isinstance(row[place], list) for row in self.rows) for place in range(len(self.columns))]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        heads = zip(self.columns, several, strict=True)
        writer.writerow([name for head, many in heads for name in (_heads(head) if many else (head,))])
        for row in self.rows:
            writer.writerow(
                [
                    part
                    for value, many in zip(row, several, strict=True)
                    for part in (_parts(value) if many else (value,))
                ]
            )
        return text.getvalue()


def _heads(name: str) -> Iterator[str]:
    yield from (name, f"{name} std", f"{name} n")


def _parts(value: Value) -> tuple[Value, Value, Value]:
    if not isinstance(value, list):
        return value, None, None
    if not value:
        return None, None, 0
    return statistics.fmean(value), statistics.pstdev(value), len(value)


@frozen
class Report:
    """The report of a study on its findings.

    Args:
        tables: tables by name; each is written as CSV, all as Markdown.
        sentences: the conclusions, and what cannot be concluded.
        figures: functions that draw a PNG to a path, by name.
    """

    tables: Mapping[str, Table]
    sentences: Sequence[str] = ()
    figures: Mapping[str, Callable[[Path], None]] = field(factory=dict)


@decides_nothing
class Study(Strategy):
    """A scripted experiment. Final frozen attrs classes; the fields are its options."""

    kind: ClassVar[str] = "study"

    @abc.abstractmethod
    def trials(self) -> Sequence[Trial]:
        """The trials, in an order in which later ones reuse networks of earlier ones.

        Raises:
            ValueError: the options describe no valid experiment.
        """

    @abc.abstractmethod
    def report(self, found: Findings) -> Report:
        """Tables, sentences and figures, from one row per trial."""
