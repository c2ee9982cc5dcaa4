"""Numbers of the command line: plain digits, finite, within bounds that the refusal of others names."""

import re
from typing import Any

import click

from guideplug.errors import UsageError, brief

__all__ = ["SEED", "Number", "Whole"]

MOST = 2**63 - 1
"""The largest whole number of 64 bits."""

_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
LONGEST = 400
"""Most characters of a number; no float has as many digits."""


class _Bounded(click.ParamType):  # type: ignore[type-arg]
    """A number between two bounds; others are answered with the option, the value, what is allowed, and an example.

    Args:
        least, most: the bounds, both allowed.
        quantity: what is given, such as "an age in days".
        example: a value.
    """

    kind = "number"

    def __init__(self, least: float, quantity: str, example: float, most: float) -> None:
        self.least, self.quantity, self.example, self.most = least, quantity, example, most

    def read(self, text: str) -> float | None:
        """The number of a text; None if it is none."""
        raise NotImplementedError

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            UsageError: it is none, or outside the bounds.
        """
        text = str(value).strip()
        number = self.read(text)
        if number is not None and self.least <= number <= self.most:
            return number
        if number is None:
            wrong = f"no {self.kind}"
        else:
            wrong = f"below {self.least:,}" if number < self.least else f"above {self.most:,}"
        option = max(param.opts, key=len) if param is not None else "an option"
        shown = brief(str(value)) or repr(value)
        raise UsageError(f"{option} {shown} is {wrong}: give {self.quantity}, as in {option} {self.example}")


class Whole(_Bounded):
    """A whole number."""

    name = "whole number"
    kind = "whole number"

    def __init__(self, least: int, quantity: str, example: int, most: int = MOST) -> None:
        super().__init__(least, quantity, example, most)

    def read(self, text: str) -> int | None:
        """The whole number of a text."""
        if not _WHOLE.fullmatch(text):
            return None
        return int(text[:LONGEST])  # of a longer one the first digits alone are above every bound


class Number(_Bounded):
    """A finite number."""

    name = "number"

    def __init__(self, least: float, quantity: str, example: float, most: float) -> None:
        super().__init__(least, quantity, example, most)

    def read(self, text: str) -> float | None:
        """The number of a text; of a very large one infinity, which is above every bound."""
        return float(text) if _DECIMAL.fullmatch(text) else None


SEED = Whole(0, "a whole number from which draws follow", 0)
