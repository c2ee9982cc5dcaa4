"""The weight network omega(c, sigma, toward) >= 0.

    omega = ReLU(W_3 SiLU(W_2 SiLU(W_1 [e(sigma), e(toward)] + E[c])))

e embeds a level's log-SNR, 2 log(sigma_data / sigma), scaled to [-1, 1] between the highest and lowest level: itself
and four sines and cosines. E embeds the class, with a row for none. A level below sigma_min, the 0 at the end of a
sampler's grid among them, is seen as sigma_min, one above sigma_max as sigma_max.

At the start omega is about .1, nearly off, so that it stays small where the loss says little. Where the ReLU is 0, a
tenth of the gradient passes it: a weight that the first iterations take to 0 everywhere would else stay there. The
values are the ReLU's. Both are our choice.

A zero of the ReLU is on the device and depends on the class, so a sampler cannot know of it: where omega is 0 the guide
is called all the same, and its answer is not used.

Source: A. Galashov et al. 2025, "Learn to guide your diffusion model", arXiv:2510.00815; sizes are our choice.
Cost: none in network calls; a matrix product of at most B rows a layer.
"""

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from guideplug import Condition, Level, Space, Weight, WeightInput
from guideplug_learned.errors import LearnedError

__all__ = ["WeightNetwork", "num_classes"]

FREQUENCIES = 4
FEATURES = 2 * (1 + 2 * FREQUENCIES)
LEAK = 0.1
START = 0.1


@final
class WeightNetwork(Weight):
    """A guidance weight that is not negative, of a label or no condition and two levels.

    Args:
        levels: sigma_min, sigma_max, sigma_data, in data units.
        classes: labels from 0; others, and no condition, are one class more. 0 where labels do not matter.
        width: of the hidden layers.
        generator: decides the initial weights; torch's global one is not used.
    """

    levels: Tensor

    def __init__(
        self, levels: tuple[float, float, float], classes: int, width: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self._low, self._high, _ = levels
        self.classes, self.width = classes, width
        generator = torch.Generator().manual_seed(0) if generator is None else generator

        def normal(rows: int, columns: int, scale: float) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(rows, columns, generator=generator))

        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float64))
        self.first = normal(width, FEATURES, FEATURES**-0.5)
        self.embedding = normal(classes + 1, width, 1.0)
        self.second = normal(width, width, (2 / width) ** 0.5)
        self.second_bias = nn.Parameter(torch.zeros(width))
        self.last = normal(1, width, 0.1 * width**-0.5)
        self.last_bias = nn.Parameter(torch.full((1,), START))

    @classmethod
    def of(cls, space: Space, classes: int, width: int, generator: torch.Generator) -> "WeightNetwork":
        """An untrained network for a space."""
        return cls((space.sigma_min, space.sigma_max, space.sigma_data), classes, width, generator)

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor], origin: str) -> "WeightNetwork":
        """A network of the shape that a file's tensors have.

        Raises:
            LearnedError: they are not those of a weight network.
        """
        rows, levels = tensors.get("embedding"), tensors.get("levels")
        if rows is None or rows.ndim != 2 or levels is None or levels.shape != (3,):
            raise LearnedError(f"{origin} holds no weight network: give a file that a run wrote for a learned guider")
        low, high, data = levels.tolist()
        return cls((low, high, data), len(rows) - 1, rows.shape[1])

    def forward(self, at: WeightInput) -> Tensor:
        """The weight, (B,) or (1,).

        Raises:
            LearnedError: there is no next level, or the condition is no label.
        """
        if at.toward is None:
            raise LearnedError(
                "a learned weight depends on the level that a step goes towards, and there is none: sample with a "
                "sampler, or pass toward=..."
            )
        labels = self._labels(at.condition)
        here, there = self._embedded(at.sigma), self._embedded(at.toward)
        rows = max(len(here), len(there))
        features = torch.cat([here.expand(rows, -1), there.expand(rows, -1)], 1)
        if len(features) == 1 and len(labels) > self.classes + 1:
            of_each: Tensor = self._weights(features, torch.arange(self.classes + 1, device=self.levels.device))
            return of_each[labels]
        return self._weights(features, labels)

    def _weights(self, features: Tensor, labels: Tensor) -> Tensor:
        hidden = nn.functional.silu(features @ self.first.T + self.embedding[labels])
        hidden = nn.functional.silu(hidden @ self.second.T + self.second_bias)
        score = (hidden @ self.last.T + self.last_bias)[:, 0]
        return torch.relu(score) + LEAK * torch.where(score < 0, score - score.detach(), 0.0)

    def _embedded(self, level: Level) -> Tensor:
        """A level's features, (B, F) or (1, F)."""
        low, high = math.log(self._low), math.log(self._high)
        if isinstance(level, Tensor):
            logs = level.to(self.first).clamp(self._low, self._high).log().reshape(-1, 1)
        else:
            inside = min(max(level, self._low), self._high)
            logs = torch.full((1, 1), math.log(inside), dtype=self.first.dtype, device=self.first.device)
        place = 1 - 2 * (logs - low) / (high - low)  # -1 at the highest level, 1 at the lowest
        angles = torch.cat([place * (0.5 * math.pi * (k + 1)) for k in range(FREQUENCIES)], 1)
        return torch.cat([place, angles.sin(), angles.cos()], 1)

    def _labels(self, condition: Condition) -> Tensor:
        """The rows of the class embedding, (B,) or (1,)."""
        if condition is None:
            return torch.full((1,), self.classes, device=self.levels.device)
        check_label(condition)
        assert isinstance(condition, Tensor)
        known = (condition >= 0) & (condition < self.classes)
        return torch.where(known, condition, self.classes).long()

    def extra_repr(self) -> str:
        """As printed in a formula."""
        return "omega(c, sigma, toward)"


def check_label(condition: Condition) -> None:
    """Refuse a condition that is neither None nor one label per sample.

    Raises:
        LearnedError: what it is instead.
    """
    if condition is None:
        return
    if not isinstance(condition, Tensor):
        what = f"a dict of {', '.join(condition)}" if isinstance(condition, Mapping) else "a list"
    elif condition.ndim == 1 and not (condition.is_floating_point() or condition.is_complex()):
        return
    else:
        shape = f"(B{''.join(f', {n}' for n in condition.shape[1:])})"
        what = f"{str(condition.dtype).removeprefix('torch.')} of shape {shape}"
    raise LearnedError(
        f"a learned weight takes labels, one whole number per sample, or no condition; this one is {what}"
    )


def num_classes(condition: Condition) -> int:
    """How many classes the labels of many samples have; 0 where there is no condition."""
    check_label(condition)
    return 0 if condition is None else int(condition.max()) + 1  # type: ignore[union-attr]
