"""Curves in characters: a braille cell is 2 dots wide and 4 high."""

import itertools
import math
from collections.abc import Sequence

__all__ = ["curve", "scale"]

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a cell, by row and column."""
FEW_DECADES = 1.0
"""From how many decades on positive values are drawn on a logarithmic scale."""


def scale(values: Sequence[float]) -> tuple[float, float, bool]:
    """The least and the greatest value, and whether they lie so far apart that a logarithmic scale shows more."""
    low, high = min(values), max(values)
    return low, high, low > 0 and math.log10(high / low) > FEW_DECADES


def curve(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """A curve through points (x, y), x ascending, in so many cells; the mean where several share a column of dots.

    The lowest value is on the last row, the highest on the first, and columns between points are joined.
    """
    blank = [" " * width] * height
    if not points:
        return blank
    low, high, logarithmic = scale([y for _, y in points])

    def row(y: float) -> int:
        if high == low:
            return 2 * height
        share = math.log(y / low) / math.log(high / low) if logarithmic else (y - low) / (high - low)
        return round((1 - min(max(share, 0.0), 1.0)) * (4 * height - 1))

    first, last = points[0][0], points[-1][0]
    columns: dict[int, list[float]] = {}
    for x, y in points:
        column = 0 if last == first else round((x - first) / (last - first) * (2 * width - 1))
        columns.setdefault(column, []).append(y)
    rows = {column: row(sum(values) / len(values)) for column, values in columns.items()}
    cells = [[0] * width for _ in range(height)]
    heights: dict[int, int] = {}
    for left, right in itertools.pairwise([*sorted(rows), max(rows) + 1]):
        slope = (rows.get(right, rows[left]) - rows[left]) / (right - left)
        heights |= {x: round(rows[left] + slope * (x - left)) for x in range(left, right)}
    for x, y in heights.items():
        after = heights.get(x + 1, y)
        for dot in range(y, after, 1 if after > y else -1) or (y,):
            cells[dot // 4][x // 2] |= DOTS[dot % 4][x % 2]
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in line) for line in cells]
