"""The duration of a training: iterations, examples back-propagated, or seconds."""

import math
from typing import Final, Literal

import attrs

from guideplug.config.grammar import parse
from guideplug.config.tree import Quantity, Value, format_value
from guideplug.errors import ConfigError, ExpressionError, brief

__all__ = ["Duration"]

_SCALES = {"k": 1e3, "M": 1e6}
MOST: Final = {"it": 1e12, "ex": 1e15, "s": 1e9}
"""The longest durations: what no training reaches is a slip."""
LEAST_SECONDS: Final = 1e-9
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@attrs.frozen
class Duration:
    """A duration of training.

    Args:
        amount: positive and at most `MOST` of the unit; a whole number for iterations and examples.
        unit: "it" (optimiser steps), "ex" (examples back-propagated) or "s" (seconds of training).
    """

    amount: float
    unit: Literal["it", "ex", "s"]

    def __attrs_post_init__(self) -> None:
        if not 0 < self.amount < math.inf:
            raise ValueError(f"a duration of {self.amount:g}{self.unit}: it must be positive")
        if self.amount > MOST[self.unit]:
            raise ValueError(
                f"a duration of {self.amount:g}{self.unit}: it must be at most {MOST[self.unit]:g}{self.unit}"
            )
        if self.unit == "s" and self.amount < LEAST_SECONDS:
            raise ValueError(f"a duration of {self.amount:g}s: it must be at least {LEAST_SECONDS:g}s")
        if self.unit != "s" and self.amount != int(self.amount):
            raise ValueError(f"a duration of {self.amount:g}{self.unit}: iterations and examples are whole numbers")

    @classmethod
    def of(cls, value: object) -> "Duration":
        """The duration of a text such as ``512it``, ``3.3Mex``, ``90s``, ``10m`` or ``2h``.

        Raises:
            ConfigError: the value is not a duration.
        """
        if isinstance(value, Duration):
            return value
        if isinstance(value, str):
            try:
                value = parse(value)
            except ExpressionError as error:
                raise ConfigError(f"{brief(repr(value))} is no duration: {error}") from None
        if isinstance(value, Quantity):
            unit, amount = value.unit, float(value.number)
            for prefix, scale in _SCALES.items():
                if unit in (f"{prefix}it", f"{prefix}ex"):
                    unit, amount = unit[1:], round(amount * scale, 6)
            if unit in _SECONDS:
                unit, amount = "s", amount * _SECONDS[unit]
            if unit in ("it", "ex", "s"):
                return cls(amount, unit)  # type: ignore[arg-type]
        shown = format_value(value) if isinstance(value, Value) else value
        raise ConfigError(
            f"{brief(str(shown))} is no duration: write iterations 512it, examples 3.3Mex, or time 90s, 10m, 2h"
        )

    def part(self, share: float) -> "Duration":
        """A share of the duration; iterations and examples are rounded up."""
        amount = self.amount * share
        if self.unit == "s":
            return Duration(amount, "s")
        # rounded first, so that .55 of 100 does not become 56 by a rounding error
        return Duration(float(max(math.ceil(round(amount, 6)), 1)), self.unit)

    def __str__(self) -> str:
        return f"{self.amount:.15g}{self.unit}"

    @property
    def quantity(self) -> Quantity:
        """The duration as a value of the grammar."""
        amount = int(self.amount) if self.amount == int(self.amount) else self.amount
        return Quantity(amount, self.unit)
