"""Shapes of guidance: what is done with the difference between what is guided and what it is guided away from.

Each goes around a guider. Those that look at what is guided away from need one with an option ``weight``, the others
take any.
"""

from guideplug import Guider, hook
from guideplug_shapes.apg import APG
from guideplug_shapes.cfg_zero import CFGZero
from guideplug_shapes.feedback import Feedback
from guideplug_shapes.frequency import Frequency
from guideplug_shapes.magnitude import MagnitudeAware
from guideplug_shapes.momentum import Momentum
from guideplug_shapes.rescale import Rescale
from guideplug_shapes.tangential import Tangential
from guideplug_shapes.threshold import DynamicThreshold

__all__ = [
    "APG",
    "CFGZero",
    "DynamicThreshold",
    "Feedback",
    "Frequency",
    "MagnitudeAware",
    "Momentum",
    "Rescale",
    "Tangential",
]


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [APG, CFGZero, DynamicThreshold, Feedback, Frequency, MagnitudeAware, Momentum, Rescale, Tangential]
