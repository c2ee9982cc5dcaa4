"""Handwritten digits: a task of real images, its denoiser, its metrics and its figure."""

from guideplug import Network, Task, hook
from guideplug_digits.task import Digits, DigitsConvolutional, DigitsTransformer

__all__ = ["Digits", "DigitsConvolutional", "DigitsTransformer"]


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [Digits]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [DigitsTransformer, DigitsConvolutional]
