"""Which metrics a study tells, and how differences are written."""

from collections.abc import Sequence

from guideplug import Difference, Findings

__all__ = ["ARROWS", "BETTER", "TOLD", "metrics_told", "told"]

ARROWS = {"higher": "↑", "lower": "↓", "truth": "≈"}
BETTER = {"higher": "higher is better", "lower": "lower is better", "truth": "nearer to truth is better"}
TOLD = (
    "inside outline", "mean log density", "branch KL", "sliced W2",  # of the tree
    "Fréchet distance", "precision", "recall", "coverage",  # of digits, and partly of points
)  # fmt: skip
"""Fidelity, coverage, and both in one number, by the names that tasks give them."""


def metrics_told(found: Findings, wanted: Sequence[str]) -> list[str]:
    """The wanted metrics that were measured, in the order wanted; if there are none of them, all that were measured."""
    there = [name for name in found.better if found.values(name)]
    return [name for name in wanted if name in there] or there


def told(gap: Difference, better: str) -> str:
    """A difference of distances, as one of values where more is better."""
    low, high, mean = gap.low, gap.high, gap.mean
    if better == "higher":
        low, high, mean = -high, -low, -mean
    return f"{mean:+.3g} [{low:+.3g}, {high:+.3g}]"
