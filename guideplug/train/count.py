"""Counts of a training in optimiser steps or in examples, and how far one has come in either.

A whole number counts steps. Examples, written as a duration such as ``70Mex``, are those back-propagated, as in a
duration; with batch b, N examples are N / b steps. A selector back-propagates b of B: there a step is b examples, or B
where `TrainOptions.stretched` counts it as B / b steps.
"""

from typing import Any

import attrs
from attrs import frozen

from guideplug.config import Duration

__all__ = ["Count", "Reached", "count_of", "no_fewer_than"]

Count = int | Duration
"""Optimiser steps, or a duration in examples."""


@frozen
class Reached:
    """Optimiser steps and examples that a training has done, each stretched where its options say so."""

    steps: int
    examples: float

    def share(self, count: Count) -> float:
        """It as a share of a count; above 1 beyond it."""
        return self.examples / count.amount if isinstance(count, Duration) else self.steps / count


def count_of(value: Any) -> Any:
    """The count of an option's value: iterations as their number.

    Raises:
        ConfigError: a text that is no duration.
    """
    duration = Duration.of(value) if isinstance(value, str) else value
    return int(duration.amount) if isinstance(duration, Duration) and duration.unit == "it" else duration


def no_fewer_than(least: int) -> Any:
    """Refuse fewer steps than ``least``, and seconds."""

    def check(instance: object, attribute: "attrs.Attribute[Any]", value: Count) -> None:
        if isinstance(value, Duration):
            if value.unit == "s":
                raise ValueError(
                    f"{attribute.alias} is {value}, a time: give steps, as in 512, or examples, as in 70Mex"
                )
        elif value < least:
            raise ValueError(f"{attribute.alias} is {value}: it must be at least {least}")

    return check
