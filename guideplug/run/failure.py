"""Parts of finished work that failed, such as a metric or a figure: kept as data beside the parts that did not.

A part that raises costs itself alone. Samples and other results are kept, the failure is listed where the part's result
would be, the command ends with `INCOMPLETE`, and ``--resume`` does again only what failed. A full disk and a stop
request are no failures of a part: they end the work.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import attrs

from guideplug.errors import ContractError, WriteError

__all__ = ["INCOMPLETE", "Failure", "Failures", "collected", "failure_of"]

INCOMPLETE = 3
"""The exit code of work that is done but for the failures that it lists."""
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Error numbers of refused writes, which are the disk's failures."""
Part: TypeAlias = Literal["metric", "interval", "figure", "animation", "slider", "words", "report", "page"]


@attrs.frozen
class Failure:
    """One failed part.

    Args:
        part: what kind of part.
        name: its name, such as that of the metric.
        reason: the error, on one line.
        arm: the samples that were measured; empty for other parts.
    """

    part: Part
    name: str
    reason: str
    arm: str = ""

    def __str__(self) -> str:
        of = f" of {self.arm}" if self.arm else ""
        return f"{self.part} {self.name!r}{of} failed ({self.reason})"

    def record(self) -> dict[str, str]:
        """The failure as in ``metrics.json``."""
        return {"part": self.part, "name": self.name, **({"arm": self.arm} if self.arm else {}), "reason": self.reason}


@attrs.define
class Failures:
    """The failures of one piece of work, in the order in which they happened."""

    listed: list[Failure] = attrs.field(factory=list)

    def add(self, part: Part, name: str, reason: str, arm: str = "") -> None:
        """List a part that failed."""
        self.listed.append(Failure(part, name, reason, arm))

    def records(self) -> dict[str, list[dict[str, str]]]:
        """The failures under their key, as in ``metrics.json``; empty without any."""
        return {"failures": [failure.record() for failure in self.listed]} if self.listed else {}


@contextmanager
def collected(to: Failures | None, part: Part, name: str, arm: str = "") -> Iterator[None]:
    """List what the block raises, an exit included, as the failure of a part; without a list it is raised.

    Raises:
        WriteError: the disk refuses a write.
        OSError: the same, as the system says it.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if to is None or isinstance(error, WriteError) or (isinstance(error, OSError) and error.errno in DISK):
            raise
        to.add(part, name, _reason(error), arm)


def failure_of(record: Mapping[str, Any]) -> Failure:
    """The failure of an entry of ``metrics.json``."""
    return Failure(record["part"], record["name"], record["reason"], record.get("arm", ""))


def _reason(error: BaseException) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, ContractError):  # it names the plugin and what it did
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
