"""Layers that preserve the magnitude of activations (Karras et al. 2024, arXiv:2312.02696, appendix B).

If the inputs of a layer have unit variance, its outputs have it too: weights are of unit norm per output feature,
sums and concatenations are rescaled, and the nonlinearity is divided by its gain. Equations are the paper's.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Fourier", "MagnitudeConv", "cat", "mean_square_one", "normalised", "silu", "weighted_sum"]

EPSILON = 1e-4
SILU_GAIN = 0.596


def mean_square_one(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The tensor divided by the root mean square over ``dims``, computed in float32 at least.

    Args:
        x: (*).
        dims: the axes that share a magnitude.
    """
    norm = torch.linalg.vector_norm(x, dim=dims, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    size = math.prod(x.shape[dim] for dim in dims)
    scaled: Tensor = x / (norm / math.sqrt(size) + EPSILON).to(x.dtype)
    return scaled


def normalised(weight: Tensor) -> Tensor:
    """A weight (out, *) with a mean square of one per output feature; equation 66 times the root of the fan-in."""
    return mean_square_one(weight, tuple(range(1, weight.ndim)))


def silu(x: Tensor) -> Tensor:
    """SiLU divided by its gain for normal inputs; equation 81."""
    return functional.silu(x) / SILU_GAIN


def weighted_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """(1 - t) a + t b, rescaled to the magnitude of independent a and b; equation 88."""
    return a.lerp(b, t) / math.hypot(1 - t, t)


def cat(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The channels of a (B, A, *) and b (B, C, *), with contributions 1 - t and t to what follows; equation 103."""
    scale = math.sqrt((a.shape[1] + b.shape[1]) / ((1 - t) ** 2 + t**2))
    return torch.cat([a * (scale * (1 - t) / math.sqrt(a.shape[1])), b * (scale * t / math.sqrt(b.shape[1]))], dim=1)


class MagnitudeConv(nn.Module):
    """A convolution, or a linear layer, whose weight is of unit norm per output feature; equation 47.

    Args:
        inputs, outputs: channels.
        kernel: the side of the kernel; 0 for a linear layer.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *[kernel] * (2 if kernel else 0)))

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """From x (B, inputs, *) in, (B, outputs, *) out, of the type of x; ``gain`` multiplies the output."""
        wide = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        weight = (normalised(wide) * (gain / math.sqrt(wide[0].numel()))).to(x.dtype)
        if weight.ndim == 2:
            return x @ weight.t()
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2)

    @torch.no_grad()
    def normalise(self) -> None:
        """Set the weight to a mean square of one per output feature: forced weight normalisation, section 2.3."""
        self.weight.copy_(normalised(self.weight))


class Fourier(nn.Module):
    """Random features of unit variance of a number, ``sqrt(2) cos(2 pi (f x + phase))``; equation 75.

    Args:
        channels: the number of features.
    """

    freqs: Tensor
    phases: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(channels))
        self.register_buffer("phases", 2 * math.pi * torch.rand(channels))

    def forward(self, x: Tensor) -> Tensor:
        """From x (B,) in, (B, channels) out, computed in float32 at least."""
        wide = torch.promote_types(x.dtype, torch.float32)
        return math.sqrt(2) * (x.to(wide)[:, None] * self.freqs.to(wide) + self.phases.to(wide)).cos()
