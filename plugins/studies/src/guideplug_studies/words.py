"""Which metrics a study tells, and how differences and numbers are written."""

from collections.abc import Sequence

from guideplug import Difference, Findings

__all__ = ["ARROWS", "BETTER", "TOLD", "WIDENED", "exact", "metrics_told", "told"]

ARROWS = {"higher": "↑", "lower": "↓", "truth": "≈"}
BETTER = {"higher": "higher is better", "lower": "lower is better", "truth": "nearer to truth is better"}
TOLD = (
    "inside outline", "mean log density", "branch KL", "sliced W2",  # of the tree
    "Fréchet distance", "precision", "recall", "coverage",  # of digits, and partly of points
)  # fmt: skip
"""Fidelity, coverage, and both in one number, by the names that tasks give them."""

WIDENED = "widened since held-out values depend on each other"
"""Of intervals by `guideplug.held_out_interval`."""


def metrics_told(found: Findings, wanted: Sequence[str]) -> list[str]:
    """The wanted metrics that have values, in the order wanted.

    Of `TOLD`, names that the findings do not have are left out, and where none is left, all that were measured are
    told; so they are where nothing is wanted.

    Raises:
        ValueError: other names that the findings do not have.
    """
    there = [name for name in found.better if found.values(name)]
    chosen = [name for name in wanted if name in there]
    if not wanted or tuple(wanted) == TOLD:
        return chosen or there
    unknown = [name for name in wanted if name not in found.better]
    if unknown:
        raise ValueError(f"metrics has {', '.join(map(repr, unknown))}: there are {', '.join(found.better)}")
    return chosen


def told(gap: Difference | None, better: str, digits: int = 3) -> str:
    """A difference of distances, as one of values where more is better; a dash for none."""
    if gap is None:
        return "-"
    low, high, mean = gap.low, gap.high, gap.mean
    if better == "higher":
        low, high, mean = -high, -low, -mean
    return f"{mean:+.{digits}g} [{low:+.{digits}g}, {high:+.{digits}g}]"


def exact(number: float) -> str:
    """A number for expressions, with all its digits: 0.1234567, and 2 for 2.0."""
    return repr(number).removesuffix(".0")
