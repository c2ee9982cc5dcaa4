"""Networks that were trained elsewhere, as denoisers: their predictions, their noise schedules, their conditions."""

from guideplug.adapters.discrete import DiscreteSchedule
from guideplug.adapters.schedule import CosineSchedule, FlowSchedule, NoiseSchedule, VESchedule, VPSchedule
from guideplug.adapters.wrap import Adapted, wrap

__all__ = [
    "Adapted",
    "CosineSchedule",
    "DiscreteSchedule",
    "FlowSchedule",
    "NoiseSchedule",
    "VESchedule",
    "VPSchedule",
    "wrap",
]
