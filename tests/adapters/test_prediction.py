"""Wrapped networks against closed forms: every prediction under every schedule is the same denoiser."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from guideplug import (
    CosineSchedule,
    DiscreteSchedule,
    FlowSchedule,
    Registry,
    VESchedule,
    VPSchedule,
    wrap,
)
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition

torch.set_num_threads(1)
laws = settings(deadline=None, max_examples=25, derandomize=True)

TABLE = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def vp(t):
    exponent = -(t**2) * (20.0 - 0.1) / 4 - t * 0.1 / 2
    return exponent.exp(), (1 - (2 * exponent).exp()).sqrt()


def cosine(t):
    alpha = ((t / 1000 + 0.008) / 1.008 * math.pi / 2).cos() / math.cos(0.008 / 1.008 * math.pi / 2)
    return alpha, (1 - alpha**2).sqrt()


def discrete(t):
    sigma = np.exp(np.interp(t.numpy(), np.arange(1000), np.log((1 - TABLE) / TABLE) / 2))
    alpha = torch.from_numpy(1 / np.sqrt(1 + sigma**2))
    return alpha, alpha * torch.from_numpy(sigma)


# What alpha and beta are at the time that the network is told, by the formulas of the papers.
PATHS = {
    "ve": (VESchedule(), lambda t: (torch.ones_like(t), t)),
    "ve, log": (VESchedule("log_sigma", time_scale=0.25), lambda t: (torch.ones_like(t), (4 * t).exp())),
    "vp": (VPSchedule(), vp),
    "cosine": (CosineSchedule(time_scale=1000.0), cosine),
    "discrete": (DiscreteSchedule(TABLE), discrete),
    "flow": (FlowSchedule(time_scale=1000.0), lambda t: (1 - t / 1000, t / 1000)),
    "flow to data": (FlowSchedule(data_at=1), lambda t: (t, 1 - t)),
}
CASES = [("edm", "edm")]
CASES += [(kind, path) for path in PATHS for kind in ("denoised", "epsilon", "score")]
CASES += [("v", path) for path in ("vp", "cosine", "discrete")]
CASES += [("flow", path) for path in ("flow", "flow to data")]
by_case = pytest.mark.parametrize(("kind", "path"), CASES)


class Native(nn.Module):
    """What a perfect network predicts of N(m, s^2 I), seeing x_t and the time only."""

    def __init__(self, oracle, kind, path):
        super().__init__()
        self.oracle, self.kind, self.path = oracle, kind, path

    def forward(self, x_t, time, condition=None, **parts):
        mean, s = self.oracle.mean_of(parts or condition, x_t), self.oracle.std
        if self.kind == "edm":
            sigma = (4 * time).exp()[:, None]
            x = x_t * (sigma**2 + s**2).sqrt()
            denoised = mean + s**2 / (s**2 + sigma**2) * (x - mean)
            skip, out = s**2 / (sigma**2 + s**2), sigma * s / (sigma**2 + s**2).sqrt()
            return (denoised - skip * x) / out
        alpha, beta = (part[:, None] for part in PATHS[self.path][1](time))
        off = (x_t - alpha * mean) / (alpha**2 * s**2 + beta**2)  # minus the score of N(alpha m, alpha^2 s^2 + beta^2)
        data, noise = mean + alpha * s**2 * off, beta * off
        return {
            "denoised": lambda: data,
            "epsilon": lambda: noise,
            "v": lambda: alpha * noise - beta * data,
            "score": lambda: -off,
            "flow": lambda: data - noise if self.path == "flow to data" else noise - data,
        }[self.kind]()


def wrapped(oracle, kind, path, **options):
    schedule = None if kind == "edm" else PATHS[path][0]
    network = Native(oracle, kind, path)
    return wrap(network, (2,), predicts=kind, schedule=schedule, sigma_data=oracle.std, **options)


def null_of(oracle):
    """The oracle's own null condition, as it is given to wrap."""
    if oracle.conditioning == "none":
        return None
    row = oracle.null_condition(1, torch.device("cpu"))
    return int(row) if oracle.conditioning == "labels" else row


def assert_close(value, expected, tolerance=1e-7):
    scale = 1 + float(expected.abs().max())
    torch.testing.assert_close(value, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.slow
@by_case
@laws
@given(share=st.floats(0, 1), kind_of_condition=st.sampled_from(CONDITIONS), seed=st.integers(0, 99))
def test_the_denoised_sample_is_the_closed_form(kind, path, share, kind_of_condition, seed):
    oracle = GaussianDenoiser(0.3, 0.7, conditioning=kind_of_condition)
    point = wrapped(oracle, kind, path, null=null_of(oracle))
    generator = torch.Generator().manual_seed(seed)
    sigma = min(80.0, point.space.sigma_min * (point.space.sigma_max / point.space.sigma_min) ** share)
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64) * (1 + sigma)
    condition = example_condition(kind_of_condition, 3, generator)
    assert_close(point(x, sigma, condition), oracle(x, sigma, condition))
    assert_close(point(x, torch.full((3,), sigma), condition), oracle(x, torch.full((3,), sigma), condition), 1e-5)
    assert_close(point(x, sigma), oracle(x, sigma))
    assert_close(point(x.float(), sigma, condition), oracle(x.float(), sigma, condition), 1e-4)


def heun(**options):
    cls = Registry.installed().find("sampler", "heun")
    if isinstance(cls, str):
        pytest.skip("heun is not installed")
    return cls(num_steps=48, sigma_min=0.03, sigma_max=9.0, **options)


@pytest.mark.slow
@by_case
def test_trajectories_end_where_the_closed_form_says(kind, path):
    oracle = GaussianDenoiser(0.3, 0.7)
    x = 9 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    end = heun().sample(wrapped(oracle, kind, path), x)
    assert_close(end, heun().sample(oracle, x), 1e-6)
    torch.testing.assert_close(end, oracle.end_point(x, 9.0), rtol=0, atol=5e-3)


@pytest.mark.slow
@by_case
@laws
@given(weight=st.floats(-2, 6), share=st.floats(0, 1))
def test_guiding_denoisers_is_guiding_predictions(kind, path, weight, share):
    """The formula that guides denoised samples, of the networks' own predictions."""
    oracles = GaussianDenoiser(0.3, 0.7), GaussianDenoiser(-0.2, 0.7)
    main, weak = (wrapped(oracle, kind, path) for oracle in oracles)

    def native(x_t, time):
        strong, guide = main.network(x_t, time), weak.network(x_t, time)
        return guide + weight * (strong - guide)

    schedule = None if kind == "edm" else PATHS[path][0]
    expected = wrap(native, (2,), predicts=kind, schedule=schedule, sigma_data=0.7)
    sigma = min(80.0, main.space.sigma_min * (main.space.sigma_max / main.space.sigma_min) ** share)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * (1 + sigma)
    assert_close((main + (weight - 1) * (main - weak))(x, sigma), expected(x, sigma), 1e-6)


class Timed(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Bilinear(2, 1, 2)

    def forward(self, x_t, time, condition):
        return self.inner(x_t, time[:, None]) + condition


class NoCopies(TorchDispatchMode):
    """Raises where something is brought from the CPU: the accelerator would be waited for."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        if "_to_copy" in function._schema.name:
            assert keywords.get("device") in (None, arguments[0].device), f"copied from {arguments[0].device}"
        return function(*arguments, **keywords)


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_a_trajectory_waits_for_nothing_on_the_device(path):
    """On the meta device, which has no values, whatever looks at one fails; and so does what was left on the CPU."""
    point = wrap(Timed(), (2,), predicts="denoised", schedule=PATHS[path][0], null=torch.ones(1, 2)).to("meta")
    x, condition = torch.ones(3, 2, device="meta"), torch.ones(3, 2, device="meta")
    guided = point + 1.0 * (point - point.unconditional())
    guided(x, 1.0, condition)  # what is copied there once is there now
    with NoCopies():
        *_, last = heun().steps(guided, x, condition)
    assert last.x.device.type == "meta"
