"""The result of a check of a network: errors by level, a verdict, alternatives, and one sentence."""

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
        gaussian: the error of the best Gaussian denoiser of each number alone.
        ratio: ``error`` over ``gaussian``.
    """

    sigma: float
    error: float
    gaussian: float
    ratio: float


@final
@frozen
class Alternative:
    """An alternative wrapping of the network, and its error.

    Args:
        what: a description that continues "Wrapped as denoised;".
        ratio: the geometric mean of ``ratios``.
        ratios: the error per level over the Gaussian denoiser's.
        code: the corrected code.
        changes: the number of changes.
    """

    what: str
    ratio: float
    ratios: tuple[float, ...]
    code: str
    changes: int = 1


@final
@frozen
class Check:
    """The result of a check of a denoiser.

    Args:
        verdict: "right", "suspicious" or "wrong".
        diagnosis: one sentence, with the corrected code if known.
        ratio: the geometric mean of the levels' ratios; None without data.
        levels: the errors by noise level, rising; empty without data.
        alternatives: alternative wrappings, lowest error first.
        code: the corrected code; empty if no better wrapping is known.
        notes: further observations, a line each.
        examples: the number of clean samples used; 0 without data.
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
