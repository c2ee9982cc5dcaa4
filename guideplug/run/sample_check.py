"""Suspicious properties of samples, as sentences with advice.

    start      the spread of the starts is not that of noise at the sampler's first level
    wide       more than 5 % of an arm lie twice as far from the data's mean as any true sample, or its standard
               deviation is more than 3 times the data's
    range      of data with a hard range, whose ends are 1 % or more of the true values, more than 10 % of an
               arm's values lie outside by more than 5 % of its width
    unguided   guided samples are unguided ones within 1e-4 of their spread, though the guider is not off

Cost: no network calls.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from guideplug.denoise import Denoiser, Leaf, Slot
from guideplug.rng import STREAMS
from guideplug.run.resolve import RunConfig
from guideplug.sample import planned_evaluations
from guideplug.task import Arm

__all__ = ["suspicious_samples"]

WIDE = 3.0
OUTSIDE = 0.05
FAR = 2.0
ALIKE = 1e-4
START = 1.1
ENDS, BEYOND, SPILLED = 0.01, 0.05, 0.1


def suspicious_samples(config: RunConfig, drawn: Mapping[str, Arm], truth: Arm) -> list[str]:
    """A sentence per suspicious property of a run's arms.

    Args:
        config: the run's.
        drawn: "unguided", and "guided" where there is a guider.
        truth: true samples, decoded as those of the arms are.
    """
    texts = _start(config, drawn["unguided"])
    for arm in drawn.values():
        texts += _wide(arm, truth.samples) or _out_of_range(arm, truth.samples)
    if "guided" in drawn:
        texts += _unguided(config, drawn["unguided"], drawn["guided"])
    return texts


def _start(config: RunConfig, arm: Arm) -> list[str]:
    if arm.start is None or arm.denoiser is None:
        return []
    sigma, sigma_data = config.sampler.sigmas(arm.denoiser)[0], config.task.space.sigma_data
    spread = float(arm.start.double().std(correction=0))
    tolerance = START + 4 / (2 * arm.start.numel()) ** 0.5  # four standard errors
    highest = (sigma**2 + (2 * sigma_data) ** 2) ** 0.5
    if sigma / tolerance <= spread <= highest * tolerance:
        return []
    return [
        f"sampling starts at sigma {sigma:.4g}, and the standard deviation of the starts is {spread:.4g}: they are not "
        f"at the sampler's first level; let the start of task {config.task.name} be unit noise times the sigma that it "
        "is given"
    ]


def _wide(arm: Arm, true: Tensor) -> list[str]:
    bad = int((~torch.isfinite(arm.samples).flatten(1).all(1)).sum())
    if bad:
        return [
            f"{bad:,} of {len(arm.samples):,} {arm.name} samples are not finite: what decodes them makes them so, for "
            "the sampler's own are; look at decode"
        ]
    samples, true = arm.samples.double().flatten(1), true.double().flatten(1)
    spread, width = float(samples.std(correction=0)), float(true.std(correction=0))
    center = true.mean(0)
    farthest = (true - center).square().mean(1).max()
    outside = float(((samples - center).square().mean(1) > FAR**2 * farthest).double().mean())
    if spread <= WIDE * width and outside <= OUTSIDE:
        return []
    advice = (
        "take a lower guidance weight" if arm.name == "guided" else "train longer, or check what the network predicts"
    )
    return [
        f"{arm.name} samples are far wider than the data: standard deviation {spread:.3g} beside {width:.3g}, "
        f"{outside:.0%} more than {FAR:g} times as far from the mean as any true sample; {advice}"
    ]


def _out_of_range(arm: Arm, true: Tensor) -> list[str]:
    low, high = float(true.min()), float(true.max())
    ends = int((true == low).sum()) + int((true == high).sum()) - 2  # beside the one at each end
    if ends < ENDS * true.numel():
        return []
    margin = BEYOND * (high - low)
    outside = float(((arm.samples < low - margin) | (arm.samples > high + margin)).double().mean())
    if outside <= SPILLED:
        return []
    latent = arm.denoiser is not None and any(leaf.is_latent for leaf in arm.denoiser.leaves())
    advice = "look at decode" if latent else f"give the sampler clip=[{low:g}, {high:g}]"
    return [
        f"{outside:.0%} of the values of {arm.name} samples lie outside the data's range, {low:g} to {high:g}: {advice}"
    ]


def _unguided(config: RunConfig, unguided: Arm, guided: Arm) -> list[str]:
    """A warning if guided samples equal the unguided ones, unless the guider's own weight is off."""
    base, point = unguided.denoiser, guided.denoiser
    if base is None or point is None or list(base.terms) == list(point.terms):
        return []
    difference = (guided.samples - unguided.samples).abs().max()
    if float(difference) > ALIKE * float(unguided.samples.std(correction=0)):
        return []
    same = "the same, bit for bit" if float(difference) == 0 else "nearly the same"
    why = _why(config, base, point, unguided)
    return [f"guidance changed nothing: {why} (guided and unguided samples are {same})"]


def _why(config: RunConfig, base: Denoiser, point: Denoiser, arm: Arm) -> str:
    conditions = {query.condition for query in point.terms}
    if arm.condition is None and Slot.NULL in conditions:
        return (
            f"the guider compares with and without a condition, and task {config.task.name} gives none; guide with "
            "another network (autoguidance), or take a task with labels"
        )
    if _off_everywhere(config, base, point):
        return (
            "the guidance is off at every level of the sampler's grid: move the bounds of the interval or the weight's "
            "schedule"
        )
    if len(conditions) > 1:
        return (
            "the network answers the same with and without its condition; check that it uses the condition it is given"
        )
    if any(isinstance(query.source, Leaf) and query.source.counted_as is not query.source for query in point.terms):
        return "the perturbed view answers as the network does; perturb other layers"
    return "the guide answers as the network does; check that it is another network, with other weights"


def _off_everywhere(config: RunConfig, base: Denoiser, point: Denoiser) -> bool:
    """Whether the guided denoiser makes the unguided one's calls at every level."""
    streams = STREAMS[config.streams](config.sample_seed, range(1), torch.device(config.device))
    start = config.task.start(streams, config.sampler.sigmas(base)[0])
    plans = [
        [
            ({leaf: count.outputs for leaf, count in evaluation.counts.items()}, evaluation.gradients)
            for evaluation in planned_evaluations(config.sampler, denoiser, start.x, start.condition, streams)
        ]
        for denoiser in (base, point)
    ]
    return plans[0] == plans[1]
