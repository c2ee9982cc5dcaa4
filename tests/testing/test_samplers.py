"""Samplers that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

from collections.abc import Iterator
from typing import Any, final

import pytest
import torch
from attrs import frozen
from defects import broken
from torch import Tensor

from guideplug import (
    Condition,
    Denoiser,
    Sampler,
    State,
    Streams,
    option,
    sigma_grid,
)
from guideplug.testing.samplers import SAMPLER, Sampling
from guideplug.testing.strategies import STRATEGY

torch.set_num_threads(1)


@final
@frozen
class Steps(Sampler):
    """Euler's method: right without a defect."""

    name = "steps"
    defect: str = option("", help="what is wrong")

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        grid = sigma_grid(24, denoiser.space.sigma_min, denoiser.space.sigma_max)
        return grid[:-1] if self.defect == "no end" else grid

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
    ) -> Iterator[State]:
        defect, sigmas = self.defect, self.sigmas(denoiser)
        if defect != "not begun":
            denoiser = denoiser.trajectory()
        if defect == "in place":
            x.mul_(1.0001)
        steps = len(sigmas) - 1
        for i in range(steps):
            sigma, after = sigmas[i], sigmas[i + 1]
            beyond = sigmas[min(i + 2, steps)]
            toward = {"no toward": None, "toward itself": sigma, "toward the next but one": beyond}.get(defect, after)
            level: Any = torch.full((len(x),), sigma) if defect == "tensors" else sigma
            given = None if defect == "forgets the condition" else condition
            step = {"no step": None, "another step": (sigma, 0.5 * sigma)}.get(defect, (sigma, after))
            denoised = denoiser(x, level, given, toward=toward, step=step)
            if defect == "more calls" and float(denoised.mean()) > 0.2:
                denoised = denoiser(x, level, given, toward=toward, step=step)
            slope = (x - denoised) / sigma
            if defect == "too far":
                slope = slope * 1.02
            x = x + (after - sigma) * slope
            if defect == "draws globally":
                x = x + 1e-4 * torch.randn(x.shape)
            if defect == "of the batch":
                x = x - 0.01 * x.mean(0) / steps
            if defect == "wrong type":
                x = x.float()
            if defect == "wrong device":
                x = x + torch.zeros(x.shape, dtype=x.dtype, device="cpu")
            if defect == "shifted":
                x = x + 0.01
            yield State(i + 1, steps, sigma if defect == "last state" else after, x)


SAMPLERS = [
    ("no end", "levels fall, and end at 0"),
    ("in place", "the start is not changed"),
    ("draws globally", "no draw from a global generator"),
    ("draws globally", "the same start and streams give the same samples"),
    ("shifted", "samples of a Gaussian have its mean"),
    ("too far", "samples of a Gaussian have its standard deviation"),
    ("of the batch", "a sample alone is the sample in a batch"),
    ("last state", "the last state is the end, at sigma 0"),
    ("not begun", "the trajectory is begun once"),
    ("forgets the condition", "the condition is passed on"),
    ("tensors", "levels are floats, above 0"),
    ("no toward", "each evaluation says the level that it is on its way to"),
    ("toward itself", "each evaluation says the level that it is on its way to"),
    ("toward the next but one", "each evaluation says the level that it is on its way to"),
    ("no step", "each evaluation says the step that it belongs to"),
    ("another step", "each evaluation says the step that it belongs to"),
    ("more calls", "what is planned is what is called"),
    ("wrong type", "samples have the type of the start"),
    ("wrong device", "samples are on the device of the start, and no value of them is looked at"),
]


def test_the_right_sampler_keeps_all_laws() -> None:
    assert broken(STRATEGY, Steps()) == {}
    assert broken(SAMPLER, Sampling(Steps())) == {}


@pytest.mark.parametrize(("defect", "law"), SAMPLERS)
def test_a_samplers_defect(defect: str, law: str) -> None:
    assert law in broken(SAMPLER, Sampling(Steps(defect=defect)))
