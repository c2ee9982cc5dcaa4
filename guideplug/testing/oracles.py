"""Closed-form denoisers, the oracles of other checks.

Data N(m, s^2 I) have the denoiser D(x; sigma) = (s^2 x + sigma^2 m) / (s^2 + sigma^2); the probability-flow equation
takes x at sigma to m + (x - m) s / sqrt(s^2 + sigma^2) at 0. Here m may depend on the condition: a label, an embedding,
or a masked sequence, each with its null. Perturbed, they are those of N(m, (1.5 s)^2 I).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from guideplug.denoise import Condition, Leaf, Perturbation, Space, parts_of, per_row

__all__ = ["CONDITIONS", "Conditioning", "GaussianDenoiser", "example_condition"]

Conditioning: TypeAlias = Literal["none", "labels", "embedding", "masked"]
CONDITIONS: tuple[Conditioning, ...] = ("none", "labels", "embedding", "masked")

NUM_LABELS, NUM_FEATURES, LENGTH = 3, 4, 5


@final
class GaussianDenoiser(Leaf):
    """The denoiser of N(m(condition), s^2 I) over points of ``dimension`` coordinates, or over images.

    Args:
        mean: a number that makes different denoisers different.
        std: s, the standard deviation of the data.
        dimension: number of coordinates of x (B, dimension).
        conditioning: the kind of condition that m depends on beside ``mean``.
        shape: instead of a dimension, the shape of a sample, such as (1, 8, 8).
    """

    def __init__(
        self,
        mean: float = 0.0,
        std: float = 0.5,
        *,
        dimension: int = 2,
        conditioning: Conditioning = "none",
        shape: tuple[int, ...] | None = None,
    ) -> None:
        shape = (dimension,) if shape is None else shape
        super().__init__(Space(shape, sigma_data=std))
        self.mean, self.std, self.conditioning = mean, std, conditioning
        directions = torch.linspace(-1.0, 1.0, NUM_FEATURES * math.prod(shape)).cos().reshape(NUM_FEATURES, -1)
        self.register_buffer("directions", directions, persistent=False)

    directions: Tensor

    def mean_of(self, condition: Condition, x: Tensor) -> Tensor:
        """The mean m (B, *), of x's shape, under a condition."""
        offset = torch.full_like(x, self.mean)
        if condition is None or self.conditioning == "none":
            return offset
        parts = parts_of(condition)
        if "text" in parts:
            tokens = parts["text"].to(x.dtype) * parts["text_mask"][..., None].to(x.dtype)
            features = tokens.sum(1)
        elif self.conditioning == "labels":
            labels = parts[""]
            features = (labels[:, None] == torch.arange(NUM_FEATURES, device=x.device)).to(x.dtype)
            features = features * (labels < NUM_LABELS)[:, None].to(x.dtype)
        else:
            features = parts[""].to(x.dtype)
        return offset + (features @ self.directions.to(x.dtype)).reshape(-1, *x.shape[1:])

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean sample, (B, *)."""
        variance = per_row(sigma**2, x)
        denoised: Tensor = (self.std**2 * x + variance * self.mean_of(condition, x)) / (self.std**2 + variance)
        return denoised

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        if self.conditioning == "labels":
            return torch.full((batch,), NUM_LABELS, device=device)
        if self.conditioning == "embedding":
            return torch.zeros(batch, NUM_FEATURES, device=device)
        if self.conditioning == "masked":
            return {
                "text": torch.zeros(batch, 1, NUM_FEATURES, device=device),
                "text_mask": torch.zeros(batch, 1, dtype=torch.bool, device=device),
            }
        return super().null_condition(batch, device)

    @property
    def has_null(self) -> bool:
        return self.conditioning != "none"

    def perturbations(self) -> Mapping[str, Perturbation]:
        """Every kind that the project's guiders use; each gives the denoiser of wider data."""
        return dict.fromkeys(("skip-layer", "identity-attention", "blurred-queries", "dropout"), self._wider)

    @contextmanager
    def _wider(self, **options: object) -> Iterator[None]:
        std, self.std = self.std, 1.5 * self.std
        try:
            yield
        finally:
            self.std = std

    def end_point(self, x: Tensor, sigma: float, condition: Condition = None) -> Tensor:
        """The solution at 0 of the probability-flow equation from x (B, *) at ``sigma``."""
        if condition is None and self.has_null:
            condition = self.null_condition(len(x), x.device)
        mean = self.mean_of(condition, x)
        end: Tensor = mean + (x - mean) * self.std / (self.std**2 + sigma**2) ** 0.5
        return end


def example_condition(conditioning: Conditioning, batch: int, generator: torch.Generator) -> Condition:
    """A condition for ``batch`` samples, of the kind that `GaussianDenoiser` takes."""
    if conditioning == "labels":
        return torch.randint(NUM_LABELS, (batch,), generator=generator)
    if conditioning == "embedding":
        return torch.randn(batch, NUM_FEATURES, generator=generator)
    if conditioning == "masked":
        lengths = torch.randint(1, LENGTH + 1, (batch, 1), generator=generator)
        return {
            "text": torch.randn(batch, LENGTH, NUM_FEATURES, generator=generator),
            "text_mask": torch.arange(LENGTH)[None] < lengths,
        }
    return None
