"""Format of numbers in comparisons: small numbers and short times keep two significant digits."""

import statistics
from collections.abc import Sequence

__all__ = ["cell", "number", "seconds"]


def number(value: float | None) -> str:
    """Four decimals; below a thousandth two significant digits, from 10 on one decimal."""
    if value is None:
        return "-"
    size = abs(value)
    if 0 < size < 1e-3 or size >= 1e6:
        return f"{value:.1e}"
    return f"{value:.4f}" if size < 10 else f"{value:.1f}"


def seconds(value: float) -> str:
    """A time with its unit: two significant digits below a second, else one decimal."""
    return f"{float(f'{value:.2g}'):g} s" if abs(value) < 1 else f"{value:.1f} s"


def cell(values: Sequence[float], count: int = 1, none: str = "-") -> str:
    """Mean ± population standard deviation; one value alone; with the number of values if fewer than ``count``.

    Without a value it is ``none``.
    """
    if not values:
        return none
    spread = f" ± {number(statistics.pstdev(values))}" if len(values) > 1 else ""
    fewer = f" (n {len(values)})" if len(values) < count else ""
    return f"{number(statistics.fmean(values))}{spread}{fewer}"
