"""Feedback guidance (FBG): a weight from what the trajectory so far says about the condition, sample by sample.

The learned conditional density is taken for a mixture of the true one and the unconditional one,
p_learned(x | c) = pi p(x | c) + (1 - pi) p(x). Then the score of p(x | c) is that of p(x) plus lambda times the
difference of the learned ones, with

    lambda = e^q / (e^q - (1 - pi)),    q = log p_learned(x | c) / p(x)

so a sample that the condition explains well (q > 0) is hardly guided, one that it explains badly is guided much. q is
not known; it is followed along the trajectory, from 0, by the ratio of the two transition densities of the reverse
process from (x, sigma) to (x', sigma'), Gaussians of means r D + (1 - r) x and equal variance r sigma'^2, where
r = 1 - sigma'^2 / sigma^2:

    q' = q + tau / (2 r sigma'^2) (|x' - mean_u|^2 - |x' - mean_c|^2) + delta

tau is a temperature (1 is Bayes' rule), delta < 0 a drift that lets guidance begin before there is evidence. q' is
kept where 1 < lambda <= most, and at or below 3. With w the weight of the guider, D_c the base, D_u what it steers away
from:

    D = D_c + (w - 1) (lambda - 1) (D_c - D_u)

At the default weight 2 that is the paper's guidance; its combinations with others are blends, since their weights
add: ``blend([feedback(cfg), cfg(weight=1.5)])``, ``blend([feedback(cfg), interval(cfg, low=0.5, high=7)])``.

Source: F. Koulischer, F. Handke, J. Deleu, T. Demeester and L. Ambrogioni 2025, "Feedback guidance of diffusion
models", arXiv:2506.06085, and what its released program does. Ours is the following.
- The quadratic terms are multiplied out, so that nothing is divided by r: the evidence of a step is
  tau / sigma'^2 <x' - (1 - r) x - r (D_c + D_u) / 2, D_c - D_u>, with D at (x, sigma).
- The drift. The paper has a fixed delta a step, such that without evidence lambda is 3 at the time t_0, in steps of N:
  N (1 - t_0) delta = log(1.5 (1 - pi)). Its steps are uniform in sigma^(1/7), so the same drift is
  log(1.5 (1 - pi)) / (1 - t_0) over the whole of (sigma^(1/7) - sigma_min^(1/7)) / (sigma_max^(1/7) - sigma_min^(1/7)),
  whatever the number of steps and the grid.
- tau. The paper sets it by a time t_1 and an expected error for its latents of 16,384 numbers (it comes to .02 with the
  times of its example); here it is an option, and 1 by default.
- On a deterministic path, as Heun's without churn, the same rule is used, as in the paper's program. There it is no
  longer Bayes': d q differs from that of the true ratio by div(D_c - D_u) d sigma / sigma, which no network gives.
- Steps that are taken twice. Where the same level is asked again (Heun's correction, then the next step) the step that
  led there is counted again from where it began, not added. So the correction has its own lambda, where the paper keeps
  the step's. A level that was raised by added noise keeps q.
Cost: the guider's. Each trajectory keeps the last two evaluations.
"""

import math
from collections.abc import Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Denoiser, Guider, Level, Source, Space, between, non_negative, option, per_row
from guideplug_shapes.steering import Reshaped, cfg, inner, steered, weighted

__all__ = ["Feedback"]

REFERENCE = 3.0
"""The guidance that the drift alone reaches at the time ``start``."""
HIGHEST = 3.0
"""The largest q: more evidence than that is not remembered."""


def _more_than_one(instance: object, attribute: object, value: float) -> None:
    if not 1 < value < math.inf:
        raise ValueError(f"most is {value!r}: it must be finite and above 1")


@final
@frozen
class Feedback(Guider):
    """Guidance with a weight from each sample's own trajectory."""

    name = "feedback"
    source = Source(
        "F. Koulischer, F. Handke, J. Deleu, T. Demeester, L. Ambrogioni",
        2025,
        "Feedback Guidance of Diffusion Models",
        "https://arxiv.org/abs/2506.06085",
    )
    guider: Guider = option(
        factory=cfg, help="the guider that is weighed, one with an option weight", validator=weighted
    )
    purity: float = option(
        0.999, help="pi, how much of the learned conditional is the true one", validator=between(0, 1, ends=False)
    )
    start: float = option(
        0.556,
        help="t_0, the time from 1 (noise) to 0 at which the drift alone brings guidance to 3",
        validator=between(0, 1, ends=False),
    )
    temperature: float = option(1.0, help="tau, how much evidence counts; 1 is Bayes' rule", validator=non_negative)
    most: float = option(10.0, help="the largest guidance lambda", validator=_more_than_one)

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return steered(self.name, self.guider, base, models, lambda: self._begin(base.space))

    def _begin(self, space: Space) -> Reshaped:
        evidence = _Evidence(self, space)

        def reshaped(base: Tensor, other: Tensor, x: Tensor, sigma: Level) -> Tensor:
            present = evidence.at(base, other, x, sigma).exp()
            return base - (1 - self.purity) / (present - (1 - self.purity)) * (base - other)

        return reshaped


@frozen
class _Moment:
    """An evaluation: where it was, the mean and the difference of the two denoised samples, and q (B, 1, ...)."""

    x: Tensor
    level: Level
    middle: Tensor
    difference: Tensor
    log: Tensor


class _Evidence:
    """q along one trajectory."""

    def __init__(self, options: Feedback, space: Space) -> None:
        lacking = 1 - options.purity
        self._temperature = options.temperature
        self._lowest = math.log(lacking * options.most / (options.most - 1))
        self._low, self._high = space.sigma_min ** (1 / 7), space.sigma_max ** (1 / 7)
        self._drift = math.log(lacking * REFERENCE / (REFERENCE - 1)) / (1 - options.start)
        self._here: _Moment | None = None
        self._before: _Moment | None = None

    def at(self, base: Tensor, other: Tensor, x: Tensor, sigma: Level) -> Tensor:
        """The value of q at an evaluation, (B, 1, ...); it is remembered."""
        level = per_row(sigma, x) if isinstance(sigma, Tensor) else sigma
        difference = base - other
        log = torch.zeros_like(inner(difference, difference))
        if self._here is not None and self._before is not None:
            self._before = _chosen(level != self._here.level, self._here, self._before)
            log = _where(level < self._before.level, self._updated(self._before, x, level), self._before.log)
        self._here = _Moment(x.clone(), level, (base + other) / 2, difference, log)
        self._before = self._before or self._here
        return log

    def _updated(self, before: _Moment, x: Tensor, level: Level) -> Tensor:
        kept = (level / before.level) ** 2  # 1 - r
        off = x - kept * before.x - (1 - kept) * before.middle
        evidence = self._temperature / level**2 * inner(off, before.difference)
        passed = (before.level ** (1 / 7) - level ** (1 / 7)) / (self._high - self._low)
        log: Tensor = before.log + evidence + self._drift * passed
        return log.clamp(self._lowest, HIGHEST)


def _where(condition: bool | Tensor, value: Tensor, otherwise: Tensor) -> Tensor:
    if isinstance(condition, Tensor):
        return torch.where(condition, value, otherwise)
    return value if condition else otherwise


def _chosen(condition: bool | Tensor, one: _Moment, other: _Moment) -> _Moment:
    """One of two moments, row by row for levels that are tensors."""
    if not isinstance(condition, Tensor):
        return one if condition else other

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition, a, b)

    return _Moment(
        pick(one.x, other.x),
        pick(torch.as_tensor(one.level), torch.as_tensor(other.level)),
        pick(one.middle, other.middle),
        pick(one.difference, other.difference),
        pick(one.log, other.log),
    )
