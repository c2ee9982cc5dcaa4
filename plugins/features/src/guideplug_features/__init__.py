"""Features of images: networks from files that the user has, and functions of the user's own."""

from guideplug import Features, hook
from guideplug_features.dinov2 import DINOv2
from guideplug_features.inception import Inception
from guideplug_features.own import OwnFeatures
from guideplug_features.vision import TorchvisionFeatures

__all__ = ["DINOv2", "Inception", "OwnFeatures", "TorchvisionFeatures"]


@hook
def guideplug_features() -> list[type[Features]]:
    return [Inception, DINOv2, TorchvisionFeatures, OwnFeatures]
