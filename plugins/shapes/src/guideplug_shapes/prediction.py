"""What a network is taken to predict, for shapes that are not the same for clean samples, noise and velocity.

From a denoised sample D at x = y + sigma n:

    denoised   D
    noise      (x - D) / sigma                    the expected n
    velocity   (x - (1 + sigma) D) / sigma        the expected n - y, along the straight path (1 - t) y + t n
                                                  at t = sigma / (1 + sigma), whose sample is x / (1 + sigma)

Affine guidance does not see the difference. A projection does: it goes towards the origin of the space that it is done
in, which is the mean of the data for one and the sample itself for another. Noise and velocity are here times sigma,
a factor that both networks share and that no shape here can see, so that nothing is divided by a small sigma.

Source: the paths are those of `guideplug.FlowSchedule`, in the units of the data: n has standard deviation 1.
"""

from typing import Literal, TypeAlias

from torch import Tensor

from guideplug import Level, per_row

__all__ = ["Prediction", "from_denoised", "to_denoised"]

Prediction: TypeAlias = Literal["velocity", "noise", "denoised"]


def from_denoised(kind: Prediction, denoised: Tensor, x: Tensor, sigma: Level) -> Tensor:
    """The prediction, times sigma for noise and velocity, that a denoised sample (B, *) stands for."""
    if kind == "denoised":
        return denoised
    return x - denoised if kind == "noise" else x - (1 + _level(sigma, x)) * denoised


def to_denoised(kind: Prediction, prediction: Tensor, x: Tensor, sigma: Level) -> Tensor:
    """The denoised sample that a prediction stands for, the inverse of `from_denoised`."""
    if kind == "denoised":
        return prediction
    return x - prediction if kind == "noise" else (x - prediction) / (1 + _level(sigma, x))


def _level(sigma: Level, x: Tensor) -> Level:
    return per_row(sigma, x) if isinstance(sigma, Tensor) else sigma
