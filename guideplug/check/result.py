"""What a check of a network finds: errors by level, a verdict, what else the network may be, and one sentence."""

from typing import Any, Literal, TypeAlias, final

import attrs
from attrs import frozen

__all__ = ["Alternative", "Check", "Level", "Verdict"]

Verdict: TypeAlias = Literal["right", "suspicious", "wrong"]


@final
@frozen
class Level:
    """One noise level.

    Args:
        sigma: in data units.
        error: the denoiser's mean squared error on examples.
        gaussian: that of the best Gaussian denoiser of each number alone.
        ratio: the first over the second.
    """

    sigma: float
    error: float
    gaussian: float
    ratio: float


@final
@frozen
class Alternative:
    """Something else that the network may be, and the error that it would have then.

    Args:
        what: in words, to go on from "Wrapped as denoised;".
        ratio: the geometric mean of ``ratios``.
        ratios: the error of each level over the Gaussian denoiser's.
        code: what to write instead.
        changes: how many things it changes.
    """

    what: str
    ratio: float
    ratios: tuple[float, ...]
    code: str
    changes: int = 1


@final
@frozen
class Check:
    """Whether a denoiser is what it is said to be.

    Args:
        verdict: "right", "suspicious" or "wrong".
        diagnosis: one sentence; what to write instead, where that is known.
        ratio: the geometric mean of the levels' ratios; None without data.
        levels: the errors by noise level, rising; empty without data.
        alternatives: what else it may be, lowest error first.
        code: what to write instead; empty where nothing better is known.
        notes: what else was seen, a line each.
        examples: how many clean samples were used; 0 without data.
        sd: the standard deviation of the data as measured; None without data.
    """

    verdict: Verdict
    diagnosis: str
    ratio: float | None = None
    levels: tuple[Level, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    code: str = ""
    notes: tuple[str, ...] = ()
    examples: int = 0
    sd: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return attrs.asdict(self)
