"""What a network is taken to predict, for shapes that are not the same for clean samples, noise and velocity.

From a denoised sample D at x = y + sigma n:

    denoised   D
    noise      (x - D) / sigma                                     the expected n
    velocity   (x - (1 + sigma) D) / sigma                         the expected n - y, along the straight path
                                                                   (1 - t) y + t n at t = sigma / (1 + sigma)
    v          (x - (1 + sigma^2) D) / (sigma sqrt(1 + sigma^2))   the expected alpha n - beta y, where
                                                                   alpha^2 + beta^2 = 1, alpha = 1 / sqrt(1 + sigma^2)

Affine guidance does not see the difference. A projection does: it goes towards the origin of the space that it is done
in, which is the mean of the data for one and the sample itself for another. `from_denoised` leaves the division out, a
factor that both networks share and that projections and ratios cannot see, so that nothing is divided by a small
sigma; norms and memories along a trajectory see it, and multiply by `unit`.

Source: the paths are those of `guideplug.FlowSchedule` and `guideplug.VPSchedule`, in the units of the data: n has
standard deviation 1.
"""

from typing import Literal, TypeAlias

from torch import Tensor

from guideplug import Level, per_row

__all__ = ["Prediction", "from_denoised", "to_denoised", "unit"]

Prediction: TypeAlias = Literal["denoised", "noise", "velocity", "v"]


def from_denoised(kind: Prediction, denoised: Tensor, x: Tensor, sigma: Level) -> Tensor:
    """The prediction that a denoised sample (B, *) stands for, divided by its `unit`."""
    if kind == "denoised":
        return denoised
    return x - _share(kind, _level(sigma, x)) * denoised


def to_denoised(kind: Prediction, prediction: Tensor, x: Tensor, sigma: Level) -> Tensor:
    """The denoised sample that a prediction stands for, the inverse of `from_denoised`."""
    if kind == "denoised":
        return prediction
    return (x - prediction) / _share(kind, _level(sigma, x))


def unit(kind: Prediction, x: Tensor, sigma: Level) -> Level:
    """The factor that makes what `from_denoised` gives the prediction itself: a number, or (B, 1, ...)."""
    level = _level(sigma, x)
    if kind == "denoised":
        return 1.0
    return 1 / level if kind != "v" else 1 / (level * (1 + level**2) ** 0.5)


def _share(kind: Prediction, level: Level) -> Level:
    if kind == "noise":
        return 1.0
    return 1 + level if kind == "velocity" else 1 + level**2


def _level(sigma: Level, x: Tensor) -> Level:
    return per_row(sigma, x) if isinstance(sigma, Tensor) else sigma
