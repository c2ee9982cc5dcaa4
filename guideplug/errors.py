"""Errors that a user can fix: one tree of classes with exit codes, messages of one line. Bugs keep their tracebacks."""

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "ConditionError",
    "ConfigError",
    "ContractError",
    "DamagedFile",
    "DenoiserError",
    "DivergenceError",
    "ExpressionError",
    "GuideplugError",
    "Interrupted",
    "PluginError",
    "RecipeError",
    "RunError",
    "SelectionError",
    "StoreError",
    "TrustError",
    "UnknownName",
    "UsageError",
    "WorkerLost",
    "brief",
    "lacks_memory",
    "nearest",
    "visible",
]


class GuideplugError(Exception):
    """An error that a user can fix; the message is one line: what, the value, where, what to do."""

    exit_code = 1


class UsageError(GuideplugError):
    """The command line or the configuration is wrong; nothing was run."""

    exit_code = 2


class ExpressionError(UsageError):
    """A constructor expression does not follow the grammar (docs/grammar.md)."""


class ConfigError(UsageError):
    """A configuration has an unknown key, a value of the wrong type, or an invalid value."""


class UnknownName(UsageError):
    """No plugin offers a strategy of this name."""


class PluginError(UsageError):
    """A requested plugin is broken, or two plugins offer one name."""


class RecipeError(UsageError):
    """A recipe cannot be followed: it refers to itself, to an unknown role, or to a missing file."""


class TrustError(UsageError):
    """A file names code that its user has neither named nor trusted (docs/security.md)."""


class CheckpointError(GuideplugError):
    """A checkpoint cannot be read, or belongs to another configuration."""


class DamagedFile(GuideplugError):
    """A file differs from its checksum: it was changed or damaged after it was written."""


class StoreError(GuideplugError):
    """The store of trained networks cannot be read or written, or holds a damaged entry."""


class WriteError(GuideplugError):
    """A file cannot be written, such as on a full disk; files written before are complete."""


class RunError(GuideplugError):
    """A run failed; its folder is kept."""


class ContractError(GuideplugError):
    """A plugin answered what its kind may not answer, or raised; the message names strategy, origin and contract."""


class WorkerLost(RunError):
    """A worker process ended before its job; the message names the job."""


class DivergenceError(RunError):
    """Training or sampling met a value that is not finite; the message names step, sigma and role."""


class DenoiserError(GuideplugError):
    """A denoiser breaks its contract: a wrong shape, dtype or sigma range, or a model that is missing."""


class ConditionError(GuideplugError):
    """A condition does not fit the denoiser or the batch."""


class SelectionError(GuideplugError):
    """A selector returned indices, weights or probabilities that cannot be used."""


class Interrupted(BaseException):
    """The run was asked to stop; carries the signal's exit code. Not an error, so not an `Exception`."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def lacks_memory(error: BaseException) -> bool:
    """Whether an allocation was refused, by Python, numpy, torch or a device, or one that no machine could count."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(
            text in str(error) for text in ("t allocate memory", "out of memory", "Storage size calculation overflowed")
        )
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the known name nearest to `name`, or `""`; case, `-` and `_` do not count."""
    alike = {other.replace("_", "-").lower(): other for other in sorted(known, reverse=True)}
    close = difflib.get_close_matches(name.replace("_", "-").lower(), alike, n=1)
    return f" (did you mean {alike[close[0]]!r}?)" if close else ""


def visible(text: str) -> str:
    """`text` on one line, with everything escaped that cannot be printed: no name may steer a terminal.

    Escaped are control characters, ANSI sequences with them, marks that change the direction of reading, what is
    invisible otherwise, and the bytes of names that are not UTF-8.
    """
    if text.isprintable():
        return text
    spaced = text.replace("\n", " ").replace("\t", " ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in spaced)


def brief(text: str) -> str:
    """`text` as `visible` shows it, without the middle of one of more than 30 characters."""
    return visible(text if len(text) <= 30 else f"{text[:13]}...{text[-13:]}")
