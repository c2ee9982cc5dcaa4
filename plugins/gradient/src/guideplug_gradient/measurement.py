"""Log-likelihoods of a measurement y = A x0 + n, n ~ N(0, sigma_y^2 I), given the predicted clean sample D(x).

    log p(y | x) = -1/2 (y - A D)^T (sigma_y^2 I + r^2 A A^T)^-1 (y - A D) + constant

r^2 is the variance that x0 still has, given x. PiGDM takes that of Gaussian data N(m, s^2 I), for which the whole is
exact: r^2 = sigma^2 s^2 / (sigma^2 + s^2). DPS takes r = 0, as if D(x) were x0; then A may be any function.

With the singular value decomposition A = U S V^T the residual falls into independent parts,

    -1/2 sum_j (u_j . y - s_j v_j . D)^2 / (sigma_y^2 + r^2 s_j^2),

so a level costs no solve, and sigma_y = 0 needs no pseudoinverse. What of y no clean sample can explain, outside the
range of A, has no gradient and is left out.

Sources: H. Chung, J. Kim, M. T. McCann, M. L. Klasky and J. C. Ye 2022, "Diffusion posterior sampling for general noisy
inverse problems", arXiv:2209.14687; J. Song, A. Vahdat, M. Mardani and J. Kautz 2023, "Pseudoinverse-guided diffusion
models for inverse problems", International Conference on Learning Representations.
Cost: two products with an m x d matrix; the decomposition once.
"""

from collections.abc import Callable
from typing import final

import torch
from attrs import field, frozen
from torch import Tensor

from guideplug import Condition, DenoiserError

__all__ = ["LinearMeasurement", "Measurement"]


@final
@frozen(eq=False)
class LinearMeasurement:
    """The log-likelihood for a matrix A: a function of (x0, sigma, condition) for `guideplug.GradientGuided`.

    Args:
        matrix: A, (m, d), for samples of d numbers.
        measurement: y, (m,).
        noise: sigma_y, in the units of y.
        data_std: s, in data units, or None for r = 0, as in DPS.
    """

    matrix: Tensor
    measurement: Tensor
    noise: float
    data_std: float | None = None
    _parts: tuple[Tensor, ...] = field(init=False, repr=False)
    _moved: dict[tuple[torch.device, torch.dtype], tuple[Tensor, ...]] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        outer, singular, inner = torch.linalg.svd(self.matrix.detach().cpu().double(), full_matrices=False)
        kept = singular > singular.max() * max(self.matrix.shape) * torch.finfo(torch.float64).eps
        rotated = outer[:, kept].T @ self.measurement.detach().cpu().double()
        object.__setattr__(self, "_parts", (singular[kept, None] * inner[kept], rotated, singular[kept] ** 2))

    def __call__(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The log-likelihood (B,), up to a constant, of predicted clean samples (B, *) at ``sigma`` (B,)."""
        matrix, measured, gains = self._on(x)
        left = 0.0 if self.data_std is None else _variance_left(sigma, self.data_std)[:, None]
        residual = measured - x.reshape(len(x), -1) @ matrix.T
        likelihood: Tensor = -0.5 * (residual**2 / (self.noise**2 + left * gains)).sum(1)
        return likelihood

    def _on(self, x: Tensor) -> tuple[Tensor, ...]:
        """The parts on x's device, copied there once: a copy in each evaluation would wait for the device."""
        where = x.device, x.dtype
        if where not in self._moved:
            self._moved[where] = tuple(part.to(*where) for part in self._parts)
        return self._moved[where]


@final
@frozen(eq=False)
class Measurement:
    """DPS's log-likelihood for any function A: samples (B, *) to measurements (B, m).

    Args:
        operator: A, differentiable.
        measurement: y, (m,).
        noise: sigma_y, in the units of y.
        name: what messages call the operator.
    """

    operator: Callable[[Tensor], Tensor]
    measurement: Tensor
    noise: float
    name: str = "the operator"
    _moved: dict[tuple[torch.device, torch.dtype], Tensor] = field(factory=dict, init=False, repr=False)

    def __call__(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The log-likelihood (B,), up to a constant, of predicted clean samples (B, *).

        Raises:
            DenoiserError: the operator returns no m numbers for each sample.
        """
        where = x.device, x.dtype
        if where not in self._moved:
            self._moved[where] = self.measurement.to(*where)
        residual = self._moved[where] - measured(self.operator, x, self.name, len(self.measurement))
        return -0.5 * (residual**2).sum(1) / self.noise**2


def _variance_left(sigma: Tensor, data_std: float) -> Tensor:
    """What of the variance of Gaussian data is left when a noisy sample is known, r^2."""
    return sigma**2 * data_std**2 / (sigma**2 + data_std**2)


def measured(operator: Callable[[Tensor], Tensor], x: Tensor, name: str, count: int) -> Tensor:
    """What an operator gives for samples (B, *): (B, count).

    Raises:
        DenoiserError: it gives something else.
    """
    found = operator(x)
    if not isinstance(found, Tensor) or found.shape != (len(x), count):
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise DenoiserError(
            f"{name} returned {what} for {len(x)} samples, and the measurement has {count} numbers: return a tensor of "
            f"shape ({len(x)}, {count})"
        )
    return found
