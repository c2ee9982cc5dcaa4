"""What a run leaves: the content of its ``metrics.json``, and where its pictures are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from guideplug.run.failure import Failure, failure_of
from guideplug.run.verdict import Verdict, recorded
from guideplug.task import Metric

__all__ = ["Outcome"]


@attrs.frozen
class Outcome:
    """The results of a run: the content of ``metrics.json``, and the inputs of the summary."""

    folder: Path
    metrics: Mapping[str, Any]
    table: Sequence[Metric]
    figure: Path
    animation: Path | None = None

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """How guided samples differ from unguided ones, for each metric that has an interval."""
        return recorded(self.table, self.metrics)

    @property
    def failures(self) -> Sequence[Failure]:
        """The parts of the run that failed, and that resuming it does again."""
        return [failure_of(record) for record in self.metrics.get("failures", ())]
