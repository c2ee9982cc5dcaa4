"""Predictions of networks, and the denoised samples that follow from them.

With x_t = alpha x and x = y + sigma n, as in `guideplug.adapters.schedule`, every kind of prediction F(x_t, t) is

    D(x; sigma) = skip x + out F(alpha x, t)

    predicts   F is near                          skip           out
    denoised   y                                  0              1
    epsilon    n                                  1              -sigma
    v          alpha n - beta y                   alpha^2        -sigma alpha
    score      grad log p_t(x_t)                  1              sigma^2 alpha
    flow       dx_t / dt, which is n - y          alpha          -sigma alpha
    edm        what is left after preconditioning (s alpha)^2    s sigma alpha

edm is a schedule as well: alpha = 1 / sqrt(sigma^2 + s^2), t = ln(sigma) / 4, s the standard deviation of the data.

Sources: epsilon, Ho, Jain and Abbeel 2020, arXiv:2006.11239, eq. 15; v, where alpha^2 + beta^2 = 1, Salimans and Ho
2022, arXiv:2202.00512, appendix D; score, by Tweedie's formula, Song et al. 2021, arXiv:2011.13456; flow, Liu, Gong and
Liu 2022, arXiv:2209.03003; edm, Karras, Aittala, Aila and Laine 2022, arXiv:2206.00364, eq. 7 and table 1.
"""

from typing import Literal, TypeAlias, final, get_args

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug.adapters.foreign import instead_of
from guideplug.adapters.schedule import FlowSchedule, NoiseSchedule, VESchedule
from guideplug.errors import nearest

__all__ = ["Prediction", "coefficients", "denoises_noise", "schedule_of"]

Prediction: TypeAlias = Literal["denoised", "epsilon", "v", "score", "flow", "edm"]

KNOWN: tuple[str, ...] = get_args(Prediction)
ELSEWHERE = {
    "sample": "'denoised'", "x0": "'denoised'", "x_0": "'denoised'", "x_start": "'denoised'", "data": "'denoised'",
    "noise": "'epsilon'", "eps": "'epsilon'",
    "v_prediction": "'v'", "velocity": "'flow', or 'v'", "flow_prediction": "'flow'",
}  # fmt: skip
"""What other libraries and papers call them."""


@final
@frozen
class EDMSchedule(NoiseSchedule):
    """What EDM's preconditioning gives the network: x scaled to unit variance, and a quarter of log sigma."""

    sigma_data: float
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.sigma_min, self.sigma_max

    def alpha(self, sigma: Tensor) -> Tensor:
        return (sigma.square() + self.sigma_data**2).rsqrt()

    def time(self, sigma: Tensor) -> Tensor:
        return sigma.log() / 4

    def sigma(self, time: Tensor) -> Tensor:
        return (4 * time).exp()


def schedule_of(
    predicts: Prediction,
    schedule: NoiseSchedule | None,
    *,
    sigma_data: float,
    sigma_min: float | None,
    sigma_max: float | None,
) -> NoiseSchedule:
    """The schedule of a network: the given one where it fits the prediction, or the prediction's own.

    Raises:
        TypeError: the schedule is something else, as a scheduler of diffusers.
        ValueError: there is no such prediction, it cannot go with the schedule, or it needs one.
    """
    if predicts not in KNOWN:
        raise ValueError(f"predicts is {predicts!r}{_meant(str(predicts))}: give one of {', '.join(KNOWN)}")
    if schedule is None:
        return _default(predicts, sigma_data, sigma_min, sigma_max)
    if not isinstance(schedule, NoiseSchedule):
        raise TypeError(f"schedule {instead_of(schedule)}")
    name = type(schedule).__name__
    if predicts == "edm":
        raise ValueError(f"predicts='edm' with schedule {name}: EDM's preconditioning says it all, leave schedule out")
    if predicts == "flow" and not isinstance(schedule, FlowSchedule):
        raise ValueError(
            f"predicts='flow' with schedule {name}: a flow's velocity belongs to the straight path, give FlowSchedule()"
        )
    if predicts == "v" and not _preserves_variance(schedule):
        flow = isinstance(schedule, FlowSchedule)
        instead = "predicts='flow' for a velocity" if flow else "the schedule that the network was trained with"
        raise ValueError(f"predicts='v' with schedule {name}: v is defined where alpha^2 + beta^2 = 1; give {instead}")
    return schedule


def _meant(word: str) -> str:
    known = ELSEWHERE.get(word.lower().replace("-", "_"))
    return nearest(word, KNOWN) if known is None else f" (did you mean {known}?)"


def _default(predicts: Prediction, sigma_data: float, low: float | None, high: float | None) -> NoiseSchedule:
    if predicts in ("epsilon", "v"):
        more = ", VESchedule() or FlowSchedule()" if predicts == "epsilon" else ""
        raise ValueError(
            f"predicts={predicts!r} needs the schedule that the network was trained with: give "
            f"DiscreteSchedule(scheduler.alphas_cumprod), VPSchedule(), CosineSchedule(){more}"
        )
    own = EDMSchedule(sigma_data) if predicts == "edm" else FlowSchedule() if predicts == "flow" else VESchedule()
    return evolve(
        own, sigma_min=own.sigma_min if low is None else low, sigma_max=own.sigma_max if high is None else high
    )


def _preserves_variance(schedule: NoiseSchedule) -> bool:
    sigma = torch.tensor(schedule.sigma_range, dtype=torch.float64)
    ones = schedule.alpha(sigma).square() * (1 + sigma.square())
    return bool(((ones - 1).abs() < 1e-3).all())


def denoises_noise(predicts: Prediction, schedule: NoiseSchedule) -> bool:
    """Whether D follows from the prediction at noise alone: from a flow's velocity, or as it is, not from the noise."""
    return predicts in ("flow", "denoised") and isinstance(schedule, FlowSchedule) and schedule.noise_alone


def coefficients(predicts: Prediction, schedule: NoiseSchedule, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What x and the prediction are multiplied by: alpha, skip and out, each (B,), at the levels (B,).

    The schedule is the one that `schedule_of` gave.
    """
    alpha = schedule.alpha(sigma)
    none, all_of_it = torch.zeros_like(sigma), torch.ones_like(sigma)
    match predicts:
        case "denoised":
            return alpha, none, all_of_it
        case "epsilon":
            return alpha, all_of_it, -sigma
        case "v":
            return alpha, alpha.square(), -sigma * alpha
        case "score":
            return alpha, all_of_it, sigma.square() * alpha
        case "flow":
            assert isinstance(schedule, FlowSchedule)
            toward_data = -1 if schedule.data_at == 0 else 1  # where its time runs to the data, F is near y - n
            return alpha, alpha, toward_data * sigma * alpha
        case "edm":
            assert isinstance(schedule, EDMSchedule)
            return alpha, (schedule.sigma_data * alpha).square(), schedule.sigma_data * sigma * alpha
