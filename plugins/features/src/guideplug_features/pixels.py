"""Pixels as networks that were trained on ImageNet take them."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["standardised"]

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def standardised(images: Tensor, size: int, mode: Literal["bilinear", "bicubic"]) -> Tensor:
    """Images uint8 (B, 3, H, W), resized with antialiasing, in [0, 1], less ImageNet's mean, by its deviation."""
    x = images.float()
    if tuple(x.shape[-2:]) != (size, size):
        x = F.interpolate(x, size=(size, size), mode=mode, antialias=True)
    mean, deviation = (torch.tensor(row, device=x.device)[:, None, None] for row in (MEAN, DEVIATION))
    return (x / 255 - mean) / deviation
