"""Whole numbers of the command line."""

from typing import Any

import click

from guideplug.errors import UsageError

__all__ = ["Whole"]


class Whole(click.ParamType):  # type: ignore[type-arg]
    """A whole number; one that is too small, or none, is answered with the option, what it is, and an example."""

    name = "whole number"

    def __init__(self, least: int, quantity: str, example: int) -> None:
        self.least, self.what, self.example = least, quantity, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number.

        Raises:
            UsageError: it is none, or too small.
        """
        try:
            number = int(value)
        except ValueError:
            number = None
        if number is None or number < self.least:
            option = param.opts[0] if param is not None else "an option"
            text = str(value) or repr(value)
            wrong = "no whole number" if number is None else f"below {self.least}"
            raise UsageError(
                f"{option} {text} is {wrong}: give the number of {self.what}, as in {option} {self.example}"
            )
        return number
