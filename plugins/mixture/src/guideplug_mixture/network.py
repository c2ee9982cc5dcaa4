"""A small denoiser of points in the plane: a residual MLP in EDM's preconditioning, with a class or without.

D(x; s, c) = c_skip(s) x + c_out(s) F(c_in(s) x; ln(s) / 4, c), with d = sigma_data and

    c_skip = d^2 / (s^2 + d^2),   c_out = s d / sqrt(s^2 + d^2),   c_in = 1 / sqrt(s^2 + d^2)

Source: Karras, Aittala, Aila and Laine 2022, "Elucidating the design space of diffusion-based generative models",
arXiv:2206.00364, table 1. Each layer of F adds W silu(h + e) to its input h; e is an embedding of the noise level and
of the class. The last layer starts at zero, where D is the best linear denoiser of points of standard deviation d.

Cost: one evaluation is one pass, width^2 multiply-adds a layer and point.
"""

from typing import final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug import Condition, Domain, Leaf, Network, Source, Space, option, up_to

__all__ = ["MixtureMLP"]

NUM_FREQUENCIES = 8


class PointDenoiser(Leaf):
    """The learned denoiser of points without a class.

    Args:
        space: of the points.
        width: features of a layer.
        layers: residual layers.
    """

    frequencies: Tensor

    def __init__(self, space: Space, width: int, layers: int) -> None:
        super().__init__(space)
        # ln(s) / 4 runs over about [-1.6, 1]; periods from 12.6 down to 0.4 resolve it without aliasing.
        self.register_buffer("frequencies", torch.logspace(-1, 4, NUM_FREQUENCIES, base=2.0), persistent=False)
        self.level = nn.Sequential(nn.Linear(2 * NUM_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(2, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.leave = nn.Linear(width, 2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean points (B, 2); a condition is not looked at."""
        return self._preconditioned(x, sigma, None)

    def _preconditioned(self, x: Tensor, sigma: Tensor, classes: Tensor | None) -> Tensor:
        data, level = self.space.sigma_data, sigma[:, None]
        total = (level**2 + data**2).sqrt()
        angles = level.log() / 4 * self.frequencies
        embedding: Tensor = self.level(torch.cat([angles.cos(), angles.sin()], dim=1))
        embedding = embedding if classes is None else embedding + classes
        hidden: Tensor = self.enter(x / total)
        for layer in self.layers:
            hidden = hidden + layer(nn.functional.silu(hidden + embedding))
        output: Tensor = self.leave(nn.functional.silu(hidden))
        return (data / total) ** 2 * x + (level * data / total) * output


@final
class LabelledPointDenoiser(PointDenoiser):
    """The same given a class: 0 to the number of classes - 1, or that number for none."""

    def __init__(self, space: Space, width: int, layers: int, classes: int) -> None:
        super().__init__(space, width, layers)
        self.null_label = classes
        self.num_labels = classes
        self.classes = nn.Embedding(classes + 1, width)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean points (B, 2) of classes (B,)."""
        return self._preconditioned(x, sigma, self.classes(condition))

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), self.null_label, device=device)


@final
@frozen
class MixtureMLP(Network):
    """A small residual MLP for points in the plane, in EDM preconditioning."""

    name = "mixture-mlp"
    source = Source(
        "T. Karras, M. Aittala, T. Aila, S. Laine",
        2022,
        "Elucidating the Design Space of Diffusion-Based Generative Models",
        "https://arxiv.org/abs/2206.00364",
        "table 1",
    )
    width: int = option(64, help="features of a layer", validator=up_to(65_536))
    layers: int = option(3, help="residual layers", validator=up_to(1_000))

    def build(self, domain: Domain) -> Leaf:
        if domain.space.shape != (2,):
            raise ValueError(f"{self.name} is for points in the plane, (2,), not for samples of {domain.space.shape}")
        labels = domain.num_labels
        if labels is None:
            return PointDenoiser(domain.space, self.width, self.layers)
        return LabelledPointDenoiser(domain.space, self.width, self.layers, labels)
