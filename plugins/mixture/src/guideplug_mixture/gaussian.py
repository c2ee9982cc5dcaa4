"""The task of one Gaussian, N(0, [[2, 1], [1, 2]]), known to training by a finite number of samples.

Distribution and number of samples are those of the self-consuming (MAD) loop in Alemohammad et al. 2024,
"Self-improving diffusion models with synthetic data", arXiv:2408.16333; network and training are ours. Samples start
from a Gaussian of the variance that noisy data have on average over directions: sampling knows no more of the data.

Cost: the default network trains in about 10 s on one core.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import final

import torch
from attrs import frozen
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
    Source,
    Space,
    Start,
    Task,
    TrainingStreams,
    option,
    up_to,
)
from guideplug_mixture.data import Fixed, Fresh, draw_points
from guideplug_mixture.density import Gaussians
from guideplug_mixture.exact import ExactGaussians
from guideplug_mixture.figure import draw_figure
from guideplug_mixture.gaussian_metrics import METRICS
from guideplug_mixture.training import default_recipe

__all__ = ["COVARIANCE", "Gaussian"]

COVARIANCE = ((2.0, 1.0), (1.0, 2.0))
SPACE = Space(shape=(2,), sigma_data=2**0.5, sigma_min=0.002, sigma_max=20.0)


@cache
def _density() -> Gaussians:
    return Gaussians(torch.ones(1), torch.zeros(1, 2), torch.tensor([COVARIANCE]))


@cache
def _fixed(count: int, seed: int) -> Fixed:
    return Fixed(_density(), count, seed)


@final
@frozen
class Gaussian(Task):
    """One Gaussian in the plane, from a finite set of its samples."""

    name = "gaussian"
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    count: int | None = option(
        1000,
        help="samples that training data consist of; none for data drawn anew without end",
        unit="samples",
        validator=up_to(100_000_000),
    )
    data_seed: int = option(0, help="seed of those samples")

    @property
    def space(self) -> Space:
        return SPACE

    @property
    def density(self) -> Gaussians:
        """The density of the data."""
        return _density()

    @property
    def num_labels(self) -> int | None:
        """None: there are no conditions."""
        return None

    def exact(self) -> Leaf:
        """The exact denoiser of the Gaussian, not of the finite set."""
        return ExactGaussians(SPACE, _density())

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        data = Fresh(_density()) if self.count is None else _fixed(self.count, self.data_seed)
        examples, _ = data.draw(sigma, streams)
        return examples

    def start(self, streams: SampleStreams, sigma: float) -> Start:
        return Start((sigma**2 + SPACE.sigma_data**2) ** 0.5 * streams.normal((2,), "start noise"))

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        return default_recipe(self, role, main)

    def sampler(self) -> str:
        return "heun(num_steps=32)"

    def samples(self) -> int:
        return 2048

    def size(self) -> int | None:
        return self.count

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        if self.count is None:
            return super().items(ids)
        return _fixed(self.count, self.data_seed).points[ids], None

    def fingerprint(self) -> str:
        """The SHA-256 of the finite set's bytes, or of the covariance."""
        points = _density().covariance() if self.count is None else _fixed(self.count, self.data_seed).points
        return hashlib.sha256(points.numpy().tobytes()).hexdigest()

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        streams = SampleStreams(seed, range(count))
        clean, _ = draw_points(_density(), streams, "truth")
        exact = self.exact()
        start = self.start(streams, sampler.sigmas(exact)[0])
        ends = sampler.sample(exact, start.x, None, streams)
        return [Arm("truth", clean), Arm("exact", ends, None, start.x, exact)]

    def metrics(self) -> Sequence[Metric]:
        return METRICS

    def primary(self) -> Sequence[str]:
        return "mean-error", "log-det", "gaussian-w2"

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        draw_figure(_density(), arms, path)
