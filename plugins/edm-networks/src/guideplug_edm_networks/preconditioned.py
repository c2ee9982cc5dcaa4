"""EDM's preconditioning of a raw network, and how classes reach it.

    D(x; sigma, c) = s^2 / t^2 x + sigma s / t F(x / t; ln(sigma) / 4, c)      with t^2 = sigma^2 + s^2

(Karras et al. 2022, arXiv:2206.00364, table 1). s is the standard deviation of the data.

A condition is a label (B,), of which ``label_dim`` means none, or weights of the classes (B, label_dim): one-hot, zeros
for none. A network without classes drops conditions.
"""

import abc
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from guideplug import Condition, DenoiserError, Leaf, Space

__all__ = ["Precision", "Preconditioned", "image_side"]

Precision: TypeAlias = Literal["fp32", "fp16", "bf16"]
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Preconditioned(Leaf):
    """A raw network in EDM's preconditioning.

    Args:
        space: the space of images.
        label_dim: the number of classes; 0 without.
        precision: the type of the raw network's arithmetic on accelerators; on the CPU it is float32.
    """

    any_type = True

    def __init__(self, space: Space, label_dim: int, precision: Precision) -> None:
        super().__init__(space)
        self.label_dim, self.precision = label_dim, TYPES[precision]
        self.num_labels = label_dim or None

    @abc.abstractmethod
    def raw(self, x: Tensor, noise: Tensor, classes: Tensor | None) -> Tensor:
        """The output F (B, C, H, W) from scaled images, ln(sigma) / 4 (B,), and weights of classes (B, label_dim)."""

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The denoised images (B, C, H, W); only the raw network computes in reduced precision."""
        wide = torch.promote_types(x.dtype, torch.float32)
        level = sigma.to(wide)[:, None, None, None]
        data = self.space.sigma_data
        total = (level**2 + data**2).sqrt()
        dtype = wide if x.device.type == "cpu" or self.precision == torch.float32 else self.precision
        output = self.raw((x / total).to(dtype), sigma.to(wide).log() / 4, self.classes(condition, len(x), x.device))
        denoised = (data / total) ** 2 * x + level * data / total * output.to(wide)
        return denoised.to(x.dtype)

    def classes(self, condition: Condition, batch: int, device: torch.device) -> Tensor | None:
        """Weights of the classes (batch, label_dim); None for a network without classes.

        Raises:
            DenoiserError: the condition is neither labels nor weights of the classes.
        """
        if not self.label_dim:
            return None
        if condition is None:
            return torch.zeros(batch, self.label_dim, device=device)
        if isinstance(condition, Tensor) and condition.is_floating_point() and condition.shape[1:] == (self.label_dim,):
            return condition
        if not isinstance(condition, Tensor) or condition.is_floating_point() or condition.ndim != 1:
            form = tuple(condition.shape) if isinstance(condition, Tensor) else type(condition).__name__
            raise DenoiserError(
                f"the condition is {form}: give labels (B,) from 0 to {self.label_dim - 1}, or {self.label_dim} for "
                f"none, or weights of the classes (B, {self.label_dim})"
            )
        return one_hot(condition, self.label_dim + 1)[:, :-1].to(torch.float32)

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        """The label that means none; any condition of a network without classes."""
        return torch.full((batch,), self.label_dim, device=device)

    def extra_repr(self) -> str:
        """The space and the precision."""
        return f"{self.space}, {str(self.precision)[6:]}"


def image_side(space: Space, levels: int, network: str) -> int:
    """The side of square images that are halved ``levels`` - 1 times.

    Raises:
        ValueError: the space is of other samples, or the side cannot be halved so often.
    """
    if len(space.shape) != 3 or space.shape[1] != space.shape[2]:
        raise ValueError(f"{network} denoises square images (C, S, S), and the samples have shape {space.shape}")
    side = space.shape[1]
    if side % 2 ** (levels - 1):
        raise ValueError(
            f"{network} halves images {levels - 1} times, which a side of {side} does not allow: "
            "give channel_mult fewer levels"
        )
    return side
