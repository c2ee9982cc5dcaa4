"""A small denoiser of rows: a residual MLP in EDM's preconditioning.

D(x; s, c) = c_skip(s) x + c_out(s) F(c_in(s) x; ln(s) / 4, c), with d = sigma_data and

    c_skip = d^2 / (s^2 + d^2),   c_out = s d / sqrt(s^2 + d^2),   c_in = 1 / sqrt(s^2 + d^2)

Source: Karras, Aittala, Aila and Laine 2022, "Elucidating the design space of diffusion-based generative models",
arXiv:2206.00364, table 1. Each block of F adds W2 silu(W1 h + E e) to its input h; e is an embedding of the noise level
and of the class. The last layer starts at zero, so that an untrained network is the best linear denoiser.

Cost: one evaluation is one pass, 2 width^2 multiply-adds a block and row.
"""

from typing import final

import torch
from torch import Tensor, nn

from guideplug import Condition, Leaf, Space
from guideplug_points.table import Table

__all__ = ["LabelledPointsDenoiser", "PointsDenoiser"]

NUM_FREQUENCIES = 16


class Block(nn.Module):
    """A residual layer, shifted by the embedding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into, self.shift, self.out = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Hidden features and embedding (B, width) in, hidden features (B, width) out."""
        changed: Tensor = self.out(nn.functional.silu(self.into(hidden) + self.shift(embedding)))
        return hidden + changed


class PointsDenoiser(Leaf):
    """The learned denoiser of a table's rows; it remembers the table's scale, which `decode` undoes.

    Args:
        space: of the rows at the networks' scale.
        table: the rows.
        width: features of a layer.
        blocks: residual layers.
    """

    frequencies: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, space: Space, table: Table, width: int, blocks: int) -> None:
        super().__init__(space)
        (dimension,) = space.shape
        # ln(s) / 4 runs over about [-1.6, 1.1]; periods from 12.6 down to 0.4 resolve it without aliasing.
        self.register_buffer("frequencies", torch.logspace(-1, 4, NUM_FREQUENCIES, base=2.0), persistent=False)
        self.register_buffer("mean", torch.from_numpy(table.mean).float())
        self.register_buffer("scale", torch.from_numpy(table.std / space.sigma_data).float())
        self.level = nn.Sequential(nn.Linear(2 * NUM_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(dimension, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.leave = nn.Linear(width, dimension)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean rows (B, D); a condition is not looked at."""
        return self._preconditioned(x, sigma, None)

    def decode(self, x: Tensor) -> Tensor:
        """Rows (B, D) in the units of the file."""
        return x * self.scale + self.mean

    def _preconditioned(self, x: Tensor, sigma: Tensor, classes: Tensor | None) -> Tensor:
        data, level = self.space.sigma_data, sigma[:, None]
        total = (level**2 + data**2).sqrt()
        angles = level.log() / 4 * self.frequencies
        embedding: Tensor = self.level(torch.cat([angles.cos(), angles.sin()], dim=1))
        embedding = nn.functional.silu(embedding if classes is None else embedding + classes)
        hidden: Tensor = self.enter(x / total)
        for block in self.blocks:
            hidden = block(hidden, embedding)
        output: Tensor = self.leave(nn.functional.silu(hidden))
        return (data / total) ** 2 * x + (level * data / total) * output


@final
class LabelledPointsDenoiser(PointsDenoiser):
    """The same given a class: 0 to the number of classes - 1, or that number for none."""

    def __init__(self, space: Space, table: Table, width: int, blocks: int) -> None:
        super().__init__(space, table, width, blocks)
        self.null_label = len(table.classes)
        self.num_labels = self.null_label
        self.classes = nn.Embedding(self.null_label + 1, width)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean rows (B, D) of classes (B,)."""
        return self._preconditioned(x, sigma, self.classes(condition))

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), self.null_label, device=device)
