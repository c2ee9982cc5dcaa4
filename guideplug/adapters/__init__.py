"""Networks trained elsewhere as denoisers: predictions, noise schedules and conditions."""

from guideplug.adapters.discrete import DiscreteSchedule
from guideplug.adapters.latents import Autoencoder
from guideplug.adapters.schedule import CosineSchedule, FlowSchedule, NoiseSchedule, VESchedule, VPSchedule
from guideplug.adapters.wrap import Adapted, wrap

__all__ = [
    "Adapted",
    "Autoencoder",
    "CosineSchedule",
    "DiscreteSchedule",
    "FlowSchedule",
    "NoiseSchedule",
    "VESchedule",
    "VPSchedule",
    "wrap",
]
