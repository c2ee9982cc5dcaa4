"""Guidance of a network by another view of itself: no second network, and no training."""

from guideplug import Guider, hook
from guideplug_contrast.attention import PerturbedAttention, SmoothedEnergy
from guideplug_contrast.layer import SkipLayer
from guideplug_contrast.level import SelfGuidance
from guideplug_contrast.window import SlidingWindow

__all__ = ["PerturbedAttention", "SelfGuidance", "SkipLayer", "SlidingWindow", "SmoothedEnergy"]


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [SelfGuidance, SlidingWindow, PerturbedAttention, SmoothedEnergy, SkipLayer]
