"""Momentum guidance: a velocity pushed away from the running mean of those before it.

With D the guided denoised samples, t = sigma / (1 + sigma) the time of the straight path from data (0) to noise (1),
and v its velocity, v = (x - D) / sigma - D, at each level of a trajectory

    v^  = v + alpha (v - m),      then  m <- (1 - beta) v + beta m,      m = v at the first level
    D^  = D - alpha t (v - m)

On a straight path v is constant and nothing is changed. For even steps of t, Euler's method with alpha 1/2 and beta 0
is that of Adams and Bashforth of second order.

Source: R. Liao, J. Yu, B. Su, C. Zhang, L. Chen and Q. Liu 2026, "Momentum guidance: plug-and-play guidance for flow
models", arXiv:2602.20360; v after classifier-free guidance. We know it from notes of its two versions. alpha and beta
are searched there for each setting; the defaults here are those of others' code.
Ours: one velocity per level. Where a level is evaluated again, as after Heun's correction, or from above, as after
added noise, the velocity of the evaluation before is replaced and not remembered.
Cost: the guider's. One tensor per trajectory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Combine, Denoiser, Guider, Level, Source, between, finite, option, per_row
from guideplug_shapes.steering import cfg

__all__ = ["Momentum"]


@final
@frozen
class Momentum(Guider):
    """Momentum guidance: the velocity away from its running mean along the trajectory."""

    name = "momentum"
    source = Source(
        "R. Liao, J. Yu, B. Su, C. Zhang, L. Chen, Q. Liu",
        2026,
        "Momentum Guidance: Plug-and-Play Guidance for Flow Models",
        "https://arxiv.org/abs/2602.20360",
    )
    guider: Guider = option(factory=cfg, help="the guider whose velocity it is")
    alpha: float = option(0.5, help="strength; 0 is off", validator=finite)
    beta: float = option(0.6, help="share of the running mean that is kept per level", validator=between(0, 1))

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        guided = self.guider.guide(base, models)
        return guided if self.alpha == 0 else Combine([guided], begin=self._begin, written=f"{self.name}({{}})")

    def _begin(self) -> Callable[[Sequence[Tensor], Tensor, Level], Tensor]:
        known: tuple[Level, Tensor, Tensor] | None = None
        """The last level, and the mean before and after it."""

        def pushed(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
            nonlocal known
            denoised = outputs[0]
            level = per_row(sigma, x) if isinstance(sigma, Tensor) else sigma
            velocity = (x - denoised) / level - denoised
            last, before, after = known or (level, velocity, velocity)
            mean = _chosen(level < last, after, before)
            known = level, mean, (1 - self.beta) * velocity + self.beta * mean
            return denoised - self.alpha * level / (1 + level) * (velocity - mean)

        return pushed


def _chosen(condition: bool | Tensor, one: Tensor, other: Tensor) -> Tensor:
    """One of two tensors, row by row for a condition that is a tensor."""
    if isinstance(condition, Tensor):
        return torch.where(condition, one, other)
    return one if condition else other
