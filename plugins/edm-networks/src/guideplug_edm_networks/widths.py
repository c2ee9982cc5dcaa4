"""What options of both networks may be: multiples of the channels, and the taps of the resampling filter."""

import math
from typing import Any

import attrs

from guideplug import between

__all__ = ["MULTIPLE", "filter_taps"]

MULTIPLE = between(0.5, 64.0)
"""Multiples of the channels; those of published networks are 1 to 4."""
MOST_TAPS, LARGEST_TAP, LEAST_SUM = 64, 1000, 0.001
"""Taps of a filter, their size, and the size of their sum, which divides them; squares of all fit single precision."""


def filter_taps(instance: Any, attribute: "attrs.Attribute[Any]", value: tuple[float, ...]) -> None:
    """Refuse taps that are odd in number, too large, or of a sum that does not normalise them."""
    even = len(value) % 2 == 0 and 2 <= len(value) <= MOST_TAPS
    if not (even and all(abs(tap) <= LARGEST_TAP for tap in value) and abs(math.fsum(value)) >= LEAST_SUM):
        raise ValueError(
            f"{attribute.alias} is {list(value)!r}: it must be an even number of taps, 2 to {MOST_TAPS}, each at most "
            f"{LARGEST_TAP:,} in size, with a sum of at least {LEAST_SUM} in size, such as [1, 1] or [1, 3, 3, 1]"
        )
