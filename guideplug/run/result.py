"""The result of a run called from Python: metrics, files, and a summary in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from guideplug.config import short
from guideplug.files.display import display_path
from guideplug.run.failure import Failure
from guideplug.run.outcome import Outcome
from guideplug.run.resolve import RunConfig
from guideplug.run.summary import guidance_sentence, selection_sentence, table_rows

__all__ = ["RunResult"]


@attrs.frozen(repr=False)
class RunResult:
    """A finished run; shown as its table, what guidance did and what selection did.

    Args:
        outcome: the run's results.
        config: the resolved configuration, with time limits replaced by the iterations reached.
    """

    outcome: Outcome
    config: RunConfig

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What ``metrics.json`` holds: ``metrics["arms"]["guided"]["inside outline"]``, say."""
        return self.outcome.metrics

    @property
    def folder(self) -> Path:
        """The run's folder: configuration, samples, networks, figures."""
        return self.outcome.folder

    @property
    def failures(self) -> Sequence[Failure]:
        """The parts that failed, such as a metric or the figure; empty for a finished run."""
        return self.outcome.failures

    @property
    def figure(self) -> Path:
        """The figure with the samples of all arms; not there if it failed."""
        return self.outcome.figure

    def __repr__(self) -> str:
        outcome = self.outcome
        header, rows = table_rows(outcome.metrics["arms"], outcome.table, outcome.verdicts, outcome.failures)
        return "\n".join(
            [
                f"{short(self.config.task)}, {outcome.metrics['samples']:,} samples, in {display_path(self.folder)}",
                *_aligned([header, *rows]),
                guidance_sentence(self.config, outcome),
                selection_sentence(self.config, outcome),
                *map(str, outcome.failures),
            ]
        )


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows of cells in aligned columns, words left and numbers right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
