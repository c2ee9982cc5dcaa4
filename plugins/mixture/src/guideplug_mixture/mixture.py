"""The task of a labelled mixture of Gaussians in the plane.

The set-up is ours. Class k of C has its middle on the unit circle at the angle 2 pi k / C, and ``per_class`` components
around that; where exactly, how long, how narrow, how turned and of what weight they are is decided by a seed alone:

    mean = middle + 0.45 (a, b),   standard deviations spread * (0.7 + 0.6 u, 0.25 + 0.3 v),   weight 0.6 + 0.8 w

with a, b standard normal, u, v, w uniform on (0, 1), and a uniform direction of the longer axis. The weights of a class
are scaled to its share. Density, score and denoised points are exact, given a class or not
(`guideplug_mixture.density`).

Cost: the default network trains in about 10 s on one core.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import final

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug import (
    Arm,
    Condition,
    Examples,
    Leaf,
    Metric,
    Recipe,
    Sampler,
    SampleStreams,
    Space,
    Start,
    Task,
    TrainingStreams,
    option,
    positive,
    up_to,
)
from guideplug_mixture.data import Fixed, Fresh, draw_points
from guideplug_mixture.density import Gaussians
from guideplug_mixture.exact import ExactGaussians
from guideplug_mixture.figure import draw_figure
from guideplug_mixture.mixture_metrics import METRICS
from guideplug_mixture.training import default_recipe

__all__ = ["Mixture"]

AROUND = 0.45
"""Standard deviation of the components' means around the middle of their class."""


@cache
def _density(shares: tuple[float, ...], per_class: int, layout_seed: int, spread: float) -> Gaussians:
    classes = len(shares)
    # One stream a component, so that the components per class stay where they are when there are more of them.
    numbers = [label * 10_000 + part for label in range(classes) for part in range(per_class)]
    streams = SampleStreams(layout_seed, numbers)
    groups = torch.arange(classes).repeat_interleave(per_class)
    turn = 2 * math.pi * groups.double() / classes
    middle = torch.stack([turn.cos(), turn.sin()], dim=1)
    means = middle + AROUND * streams.normal((2,), "layout mean").double()
    draws = streams.uniform((4,), "layout shape")
    stds = spread * torch.stack([0.7 + 0.6 * draws[:, 0], 0.25 + 0.3 * draws[:, 1]], dim=1)
    angle = math.pi * draws[:, 2]
    axes = torch.stack(
        [torch.stack([angle.cos(), angle.sin()], dim=1), torch.stack([-angle.sin(), angle.cos()], dim=1)], dim=2
    )  # (K, 2, 2), an axis a column
    weights = (0.6 + 0.8 * draws[:, 3]).reshape(classes, per_class)
    weights = weights / weights.sum(1, keepdim=True) * torch.tensor(shares, dtype=torch.float64)[:, None]
    return Gaussians(weights.reshape(-1), means, (axes * stds[:, None, :] ** 2) @ axes.mT, groups)


@cache
def _fixed(task: "Mixture", count: int) -> Fixed:
    return Fixed(task.density, count, task.data_seed)


@final
@frozen
class Mixture(Task):
    """A labelled mixture of Gaussians in the plane, with exact densities and denoisers."""

    name = "mixture"
    classes: int = option(4, help="number of classes", validator=up_to(1_000))
    per_class: int = option(3, help="components per class", validator=up_to(1_000))
    layout_seed: int = option(0, help="seed of the components' places and shapes")
    spread: float = option(0.25, help="about the longer standard deviation of a component", validator=positive)
    labels: bool = option(True, help="whether the class is a condition")
    shares: tuple[float, ...] | None = option(
        None, help="share of each class in the data, in order; none for equal ones"
    )
    count: int | None = option(
        None,
        help="samples that training data consist of; none for data drawn anew without end",
        unit="samples",
        validator=up_to(100_000_000),
    )
    data_seed: int = option(0, help="seed of those samples")

    def __attrs_post_init__(self) -> None:
        if self.shares is None:
            return
        if len(self.shares) != self.classes:
            raise ValueError(f"shares are {len(self.shares)} numbers for {self.classes} classes: give one for each")
        if not all(share > 0 for share in self.shares) or not math.isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise ValueError(f"shares are {list(self.shares)}: give positive numbers that sum to 1")

    @property
    def space(self) -> Space:
        spread = float(self.density.covariance().trace() / 2) ** 0.5
        return Space(shape=(2,), sigma_data=spread, sigma_min=0.002, sigma_max=20.0)

    @property
    def class_shares(self) -> tuple[float, ...]:
        """The share of each class in the data."""
        return self.shares or (1 / self.classes,) * self.classes

    @property
    def density(self) -> Gaussians:
        """The density of the data; its groups are the classes."""
        return _density(self.class_shares, self.per_class, self.layout_seed, self.spread)

    @property
    def num_labels(self) -> int | None:
        """How many classes are conditions; None where none is."""
        return self.classes if self.labels else None

    def group_of(self, x: Tensor) -> Tensor:
        """The most probable class, int64 (B,), of clean points x (B, 2), by their exact densities."""
        density = self.density
        parts = density.responsibilities(x.double())
        totals = torch.zeros(len(x), self.classes, dtype=parts.dtype).index_add_(1, density.groups, parts)
        return totals.argmax(1)

    def exact(self) -> Leaf:
        """The exact denoiser, conditional where the classes are conditions."""
        return ExactGaussians(self.space, self.density, self.num_labels)

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        data = Fresh(self.density) if self.count is None else _fixed(self, self.count)
        examples, group = data.draw(sigma, streams)
        return evolve(examples, condition=group if self.labels else None, group=group)

    def start(self, streams: SampleStreams, sigma: float) -> Start:
        noise = (sigma**2 + self.space.sigma_data**2) ** 0.5 * streams.normal((2,), "start noise")
        if not self.labels:
            return Start(noise)
        edges = torch.tensor(self.class_shares, dtype=torch.float64).cumsum(0)
        labels = torch.searchsorted(edges, evolve(streams, device="cpu").uniform((), "start label"), right=True)
        return Start(noise, labels.clamp_(max=self.classes - 1).to(streams.device))

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        return default_recipe(self, role, main)

    def sampler(self) -> str:
        return "heun(num_steps=32)"

    def samples(self) -> int:
        return 4096

    def size(self) -> int | None:
        return self.count

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        if self.count is None:
            return super().items(ids)
        data = _fixed(self, self.count)
        return data.points[ids], data.groups[ids] if self.labels else None

    def groups(self) -> Sequence[str]:
        return [f"class {label}" for label in range(self.classes)]

    def group(self, examples: Examples) -> Tensor | None:
        if examples.group is None and examples.ids is not None and self.count is not None:
            return _fixed(self, self.count).groups[examples.ids.cpu()]
        return examples.group

    def fingerprint(self) -> str:
        """The SHA-256 of the finite set's bytes, or of the components' means and covariances."""
        if self.count is not None:
            return _fixed(self, self.count).data.fingerprint()
        parts = (self.density.weights, self.density.means, self.density.covariances)
        return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        streams = SampleStreams(seed, range(count))
        clean, labels = draw_points(self.density, streams, "truth")
        exact = self.exact()
        start = self.start(streams, sampler.sigmas(exact)[0])
        ends = sampler.sample(exact, start.x, start.condition, streams)
        return [
            Arm("truth", clean, labels if self.labels else None),
            Arm("exact", ends, start.condition, start.x, exact),
        ]

    def metrics(self) -> Sequence[Metric]:
        return METRICS

    def primary(self) -> Sequence[str]:
        return "inside", "component-kl", "mmd"

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        draw_figure(self.density, arms, path)
