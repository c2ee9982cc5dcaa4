"""EDM2's sampler, noise and labels: samples against those of the released code, with its networks.

Largest difference of a sample, and pixels that differ:

    unguided 8.3e-7, 0      autoguidance 8.1e-6, 0      churn 1.3e-5, 0
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from guideplug import Guider, Leaf, Registry, ReplayedStreams
from guideplug.config import Reader
from guideplug.files.checkpoints.reading import read_checkpoint
from guideplug.sample import Sampler
from guideplug_edm_networks import EDM2

torch.set_num_threads(1)

FOLDER = Path(__file__).parent / "reference"
CHURN = {"S_churn": "churn", "S_min": "churn_min", "S_max": "churn_max", "S_noise": "churn_noise"}


@cache
def network(name: str) -> Leaf:
    checkpoint = read_checkpoint(FOLDER / f"edm2-{name}.pkl")
    known = EDM2.of_pickled(checkpoint.pickled["ema"])
    assert known is not None
    architecture, domain = known
    denoiser = architecture.build(domain)
    denoiser.load_state_dict(checkpoint.networks["ema"])
    denoiser.role = name
    return denoiser.eval()


def sampled(trajectory: Mapping[str, Any], seeds: Any) -> Tensor:
    """The samples of some seeds, with the sampler of the released code in our names."""
    reader = Reader(Registry.installed())
    churn = {ours: float(trajectory[theirs]) for theirs, ours in CHURN.items() if theirs in trajectory}
    options = ", ".join(f"{name}={value}" for name, value in churn.items())
    sampler: Sampler = reader.expression(
        f"heun(num_steps={int(trajectory['num_steps'])}{', ' if options else ''}{options})", Sampler, "the test"
    )
    guider: Guider = reader.expression(f"autoguidance(weight={float(trajectory['weight'])})", Guider, "the test")
    denoiser = guider.guide(network("rgb-cond"), {"weak": network("rgb-cond-weak")})
    streams = ReplayedStreams(0, seeds)
    start = network("rgb-cond").start(streams, sampler.sigmas(denoiser)[0])
    return sampler.sample(denoiser, start.x, start.condition, streams)


def pixels(samples: Tensor) -> Any:
    return (samples * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy().astype(int)


@pytest.mark.parametrize("name", ["unguided", "autoguidance", "churn"])
def test_the_samples_of_the_released_code(name: str) -> None:
    trajectory = dict(np.load(FOLDER / f"trajectory-{name}.npz"))
    samples = sampled(trajectory, trajectory["seeds"])
    assert float((samples - torch.from_numpy(trajectory["samples"])).abs().max()) < 1e-4
    apart = np.abs(pixels(samples) - trajectory["pixels"].astype(int))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 1e-3


def test_a_sample_alone_is_that_of_the_batch() -> None:
    trajectory = dict(np.load(FOLDER / "trajectory-churn.npz"))
    alone = sampled(trajectory, trajectory["seeds"][3:4])
    assert float((alone[0] - torch.from_numpy(trajectory["samples"][3])).abs().max()) < 1e-4
