"""The error of a denoiser on clean samples, relative to the best denoiser of each number alone.

Clean samples y are noised to x = y + sigma n, and D(x; sigma) is compared with y. The unit is the error of the Gaussian
denoiser of mean m and variance s^2 of each pixel, coordinate or channel by itself,

    D_g(x; sigma) = (s^2 x + sigma^2 m) / (s^2 + sigma^2)

which needs no training: a correctly wrapped trained network is below 1, because it also uses the dependence between
numbers. Mean and variance for an example are those of all other examples.

Source: the best linear denoiser of independent numbers, Wiener 1949; EDM's c_skip is that of one variance for all
(Karras, Aittala, Aila and Laine 2022, arXiv:2206.00364, appendix B.6).
Cost: an output of the network per example and level.
"""

import math
from collections.abc import Callable
from typing import TypeAlias, final

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug.denoise import Condition, Space, on_device, select_rows
from guideplug.errors import DenoiserError
from guideplug.rng import TrainingStreams

__all__ = ["FEWEST", "Answer", "Trial", "geometric_mean", "trial"]

LEVELS = (0.1, 0.3, 1.0, 3.0)
"""Noise levels in standard deviations of the data: from nearly clean to nearly pure noise."""
FEWEST = 16
"""The smallest number of examples for means and variances."""
ROUNDING = 1e-12
"""The smallest error above rounding, in squares of the data's deviation."""
MOST_MOMENTS = 2048
"""The largest number of examples for means and variances."""

Answer: TypeAlias = Callable[[Tensor, Tensor, Condition], Tensor]
"""Denoised samples (B, *) from x (B, *), sigma (B,) and a condition."""


def geometric_mean(ratios: list[float]) -> float:
    """The geometric mean; infinite if a ratio is not finite."""
    if not all(math.isfinite(ratio) for ratio in ratios):
        return math.inf
    return math.exp(sum(math.log(max(ratio, 1e-12)) for ratio in ratios) / len(ratios))


@final
@frozen(eq=False)
class Trial:
    """Noisy examples with known clean samples, and the errors of the Gaussian denoiser.

    Args:
        clean: (N, *), float32.
        condition: the condition of the examples.
        sigmas: the noise levels, in data units, rising.
        noise: unit noise per level and example, (levels, N, *).
        gaussian: the Gaussian denoiser's mean squared error by level and example, (levels, N), float64.
        sd: the standard deviation of the data, all numbers together.
    """

    clean: Tensor
    condition: Condition
    sigmas: tuple[float, ...]
    noise: Tensor
    gaussian: Tensor
    sd: float

    def __len__(self) -> int:
        return len(self.clean)

    def of(self, count: int) -> "Trial":
        """The trial of the first ``count`` examples."""
        rows = slice(count)
        return evolve(
            self,
            clean=self.clean[rows],
            condition=select_rows(self.condition, rows),
            noise=self.noise[:, rows],
            gaussian=self.gaussian[:, rows],
        )

    def answers(self, answer: Answer, condition: Condition = None) -> list[Tensor]:
        """The denoised samples per level, (N, *), without a graph; by default under the examples' condition."""
        condition = self.condition if condition is None else condition
        with torch.no_grad():
            return [
                answer(
                    self.clean + sigma * noise,
                    torch.full((len(self),), sigma, dtype=self.clean.dtype, device=self.clean.device),
                    condition,
                )
                for sigma, noise in zip(self.sigmas, self.noise, strict=True)
            ]

    def errors(self, denoised: list[Tensor]) -> Tensor:
        """The mean squared error per level and example, (levels, N), float64, on the CPU."""
        return torch.stack([(one.double() - self.clean.double()).square().flatten(1).mean(1).cpu() for one in denoised])

    def ratios(self, errors: Tensor) -> list[float]:
        """The error per level relative to the Gaussian denoiser's."""
        return [float(ratio) for ratio in errors.mean(1) / self.gaussian.mean(1)]


def trial(examples: Tensor, condition: Condition, space: Space, *, seed: int, most: int, device: torch.device) -> Trial:
    """The trial of at most ``most`` of the examples (N, *), chosen and noised by ``seed`` alone.

    Levels outside the denoiser's range are moved to the nearest end.

    Raises:
        DenoiserError: there are fewer than 16 examples, one is not finite, or all are equal.
    """
    if len(examples) < FEWEST:
        raise DenoiserError(
            f"examples has {len(examples)} samples: give {FEWEST} or more, for their spread is measured"
        )
    order = torch.randperm(len(examples), generator=TrainingStreams(seed, 0).generator("check examples"))
    rows = order[: max(most, MOST_MOMENTS)]
    clean = examples[rows.to(examples.device)].detach().cpu().to(torch.float64)
    finite = clean.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        first = int(rows[(~finite).nonzero()[0]])
        raise DenoiserError(
            f"examples has {int((~finite).sum())} samples that are not finite, as number {first}: leave them out"
        )
    sd = float(clean.std())
    if sd == 0.0:
        raise DenoiserError("examples are all the same number: give real, clean samples")
    rows = rows[:most]
    means, variances = _of_the_others(clean)
    means, variances, clean = means[:most], variances[:most], clean[:most]
    # Several levels outside the range may coincide.
    sigmas = tuple(sorted({min(max(level * sd, space.sigma_min), space.sigma_max) for level in LEVELS}))
    noises, errors = [], []
    for number, sigma in enumerate(sigmas):
        generator = TrainingStreams(seed, number).generator("check noise")
        noise = torch.randn(clean.shape, generator=generator)
        x = clean + sigma * noise
        denoised = (variances * x + sigma**2 * means) / (variances + sigma**2)
        noises.append(noise)
        errors.append((denoised - clean).square().flatten(1).mean(1))
    gaussian = torch.stack(errors)
    if not bool((gaussian.mean(1) > ROUNDING * sd**2).all()):
        raise DenoiserError("examples do not differ from each other: give real, clean samples")
    return Trial(
        clean.float().to(device),
        on_device(select_rows(condition, rows), device),
        sigmas,
        torch.stack(noises).to(device),
        gaussian,
        sd,
    )


def _of_the_others(clean: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance of each number over the other N - 1 examples, (N, *), per example."""
    count = len(clean)
    centre = clean.mean(0)
    away = clean - centre  # centred: sums of squares cancel least
    total, squares = away.sum(0), away.square().sum(0)
    means = (total - away) / (count - 1)
    variances = (squares - away.square()) / (count - 1) - means.square()
    return centre + means, variances.clamp(min=0.0) * (count - 1) / (count - 2)
