"""What every sampler over noise levels shares: grids, levels, clips, memory handed over; on all installed."""

import itertools
import math
from typing import final

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug import DiscreteSchedule, FlowSchedule, Registry, SampleStreams, SigmaSampler, Solver, VPSchedule, wrap
from guideplug.config import Reader
from guideplug.denoise import Leaf, Space
from guideplug.errors import ConfigError, DenoiserError
from guideplug.noise import log_linear_grid, sigma_grid
from guideplug.sample import Sampler, State, levels_of
from guideplug.testing import GaussianDenoiser

torch.set_num_threads(1)
REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
laws = settings(deadline=None, max_examples=20, derandomize=True)


def sampler_of(text):
    return READER.expression(text, Sampler)


SAMPLERS = [name for name in REGISTRY.names("sampler") if isinstance(sampler_of(name), SigmaSampler)]
"""Every installed one, presets included."""
STOCHASTIC = [
    *(name for name in SAMPLERS if getattr(sampler_of(name), "eta", 0)),
    "heun(churn=8)",
]
"""Those that draw."""


def wrapped(predicts="epsilon", schedule=None, **options):
    """A network with times of its own."""
    schedule = DiscreteSchedule.from_betas(BETAS) if schedule is None else schedule
    return wrap(lambda x, t: 0.1 * x, (2,), predicts=predicts, schedule=schedule, **options)


def on_any(sampler, **options):
    """A sampler on EDM's grid, for denoisers without times of their own."""
    return attrs.evolve(sampler, schedule="edm", **options)


def start(count=4, sigma=5.0):
    return sigma * torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_all_installed_samplers_are_solvers():
    assert all(isinstance(sampler_of(name), Solver) for name in REGISTRY.names("sampler"))
    assert {"heun", "euler", "default"} <= set(SAMPLERS)


# Grids


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_grid_of_each_schedule_is_the_same_for_all(name):
    sampler, model = sampler_of(name), wrapped()
    low, high = model.space.sigma_min, model.space.sigma_max
    grids = {
        "edm": sigma_grid(9, low, high),
        "log-linear": log_linear_grid(9, low, high),
        "exponential": log_linear_grid(9, low, high),
        "model": [*model.own_levels(9, low, high), 0.0],
    }
    for schedule, expected in grids.items():
        assert levels_of(attrs.evolve(sampler, num_steps=9, schedule=schedule), model) == pytest.approx(expected)
    within = on_any(sampler, num_steps=5, sigma_min=0.1, sigma_max=3.0, rho=2.0)
    assert within.sigmas(model) == sigma_grid(5, 0.1, 3.0, 2.0)
    given_levels = on_any(sampler, levels=(7.0, 2.0, 0.5, 0.0))
    assert given_levels.sigmas(model) == [7.0, 2.0, 0.5, 0.0]
    assert given_levels.sample(model, start(), streams=SampleStreams(0, range(4))).isfinite().all()


@laws
@given(st.integers(1, 40), st.floats(1e-3, 1), st.floats(2, 1e3))
def test_log_linear_levels_are_a_factor_apart(num_steps, low, high):
    levels = log_linear_grid(num_steps, low, high)
    assert (levels[0], levels[-1], len(levels)) == (high, 0.0, num_steps + 1)
    if num_steps > 1:
        assert levels[-2] == low
        factors = [after / before for before, after in itertools.pairwise(levels[:-1])]
        assert factors == pytest.approx([(low / high) ** (1 / (num_steps - 1))] * (num_steps - 1))


def test_the_models_own_times_are_whole_steps_of_its_table():
    model = wrapped()
    table = DiscreteSchedule.from_betas(BETAS)
    every = table.sigma(torch.arange(1000, dtype=torch.float64)).flip(0).tolist()
    assert levels_of(sampler_of("euler(num_steps=1000, schedule=model)"), model) == pytest.approx([*every, 0.0])
    some = levels_of(sampler_of("euler(num_steps=7, schedule=model)"), model)
    steps = torch.linspace(0, 999, 7, dtype=torch.float64).round().flip(0)
    assert some == pytest.approx([*table.sigma(steps).tolist(), 0.0])
    with pytest.raises(DenoiserError, match=r"num_steps is 1001: the table of alphas_cumprod has 1000 steps"):
        sampler_of("euler(num_steps=1001, schedule=model)").sigmas(model)


@pytest.mark.parametrize("schedule", [VPSchedule(), FlowSchedule(), FlowSchedule(data_at=1)])
def test_the_models_own_times_are_even_in_a_continuous_time(schedule):
    model = wrapped("v" if isinstance(schedule, VPSchedule) else "flow", schedule)
    levels = levels_of(sampler_of("euler(num_steps=11, schedule=model)"), model)
    assert (levels[0], levels[-2]) == (model.space.sigma_max, model.space.sigma_min)
    times = schedule.time(torch.tensor(levels[:-1], dtype=torch.float64))
    steps = times.diff()
    torch.testing.assert_close(steps, steps.mean().expand(10), rtol=1e-6, atol=0)


def test_a_network_without_times_is_refused_its_own():
    with pytest.raises(DenoiserError, match=r"has no times of its own, .*, or give its noise schedule"):
        sampler_of("ddpm").sigmas(GaussianDenoiser())


# A trajectory as a chain of steps


@laws
@given(st.sampled_from([*SAMPLERS, *STOCHASTIC]), st.integers(2, 9), st.data())
def test_a_trajectory_split_at_any_level_is_the_whole(text, num_steps, data):
    sampler = on_any(sampler_of(text), num_steps=num_steps)
    denoiser, streams = GaussianDenoiser(0.4, 0.5), SampleStreams(0, range(4))
    whole = list(sampler.steps(denoiser, start(), None, streams))
    at = data.draw(st.integers(0, num_steps - 1))
    rest = list(sampler.steps_from(whole[at], denoiser, None, streams))
    assert [state.step for state in rest] == list(range(at + 2, num_steps + 1))
    for one, other in zip(whole[at + 1 :], rest, strict=True):
        assert torch.equal(one.x, other.x)


def test_a_state_of_another_trajectory_is_refused():
    sampler = sampler_of("dpm++2m(num_steps=4)")
    for state in (State(1, 4, 3.0, start()), State(1, 5, 25.0, start()), State(7, 4, 0.1, start())):
        with pytest.raises(ValueError, match="no state of dpm\\+\\+2m's 4 steps"):
            list(sampler.steps_from(state, GaussianDenoiser()))


@final
class Constant(Leaf):
    """A network that answers the same everywhere."""

    def __init__(self, value=0.3):
        super().__init__(Space((2,)))
        self.value = value

    def denoise(self, x, sigma, condition):
        return torch.full_like(x, self.value)


@laws
@given(st.sampled_from(SAMPLERS), st.integers(1, 12), st.sampled_from(["edm", "log-linear"]), st.floats(-2, 2))
def test_a_constant_answer_is_exact_without_noise(text, num_steps, schedule, value):
    sampler = attrs.evolve(sampler_of(text), num_steps=num_steps, schedule=schedule)
    if hasattr(sampler, "eta"):
        sampler = attrs.evolve(sampler, eta=0.0)
    x = start(sigma=80.0)
    for state in sampler.steps(Constant(value), x):
        exact = value + (x - value) * (state.sigma / 80.0)
        torch.testing.assert_close(state.x, exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("text", STOCHASTIC)
def test_a_sample_alone_is_the_sample_in_a_batch(text):
    """Image 2 of a batch, drawn again alone, under every sampler that draws."""
    sampler = on_any(sampler_of(text), num_steps=6)
    denoiser = GaussianDenoiser(0.4, 0.5)
    together = sampler.sample(denoiser, start(), None, SampleStreams(5, range(4)))
    alone = sampler.sample(denoiser, start()[2:3], None, SampleStreams(5, [2]))
    torch.testing.assert_close(alone, together[2:3], rtol=1e-12, atol=1e-12)
    other = sampler.sample(denoiser, start(), None, SampleStreams(6, range(4)))
    assert not torch.equal(other, together)


@pytest.mark.parametrize("text", STOCHASTIC)
def test_a_sampler_that_draws_needs_streams(text):
    option = "churn=0" if "churn" in text else "eta=0"
    with pytest.raises(ValueError, match=f"draws noise: pass the samples' streams, or {option}; as in") as refusal:
        on_any(sampler_of(text)).sample(GaussianDenoiser(), start())
    assert "\n" not in str(refusal.value)


# Clips


@pytest.mark.parametrize("text", [*SAMPLERS, *STOCHASTIC])
def test_clipped_samples_lie_in_the_range(text):
    sampler = on_any(sampler_of(text), num_steps=6)
    denoiser, streams = GaussianDenoiser(0.4, 2.0), SampleStreams(0, range(64))
    x = start(64, 80.0).float()
    free = sampler.sample(denoiser, x, None, streams)
    clipped = attrs.evolve(sampler, clip=(-1.0, 1.0)).sample(denoiser, x, None, streams)
    assert free.abs().max() > 1.5
    assert clipped.abs().max() <= 1
    wide = attrs.evolve(sampler, clip=(-1e6, 1e6)).sample(denoiser, x, None, streams)
    torch.testing.assert_close(wide, free)


@pytest.mark.parametrize("text", SAMPLERS)
def test_every_step_is_clipped(text):
    sampler = attrs.evolve(sampler_of(text), num_steps=6, schedule="edm", clip=(-1.0, 1.0))
    streams = SampleStreams(0, range(4))
    once = list(sampler.steps(Constant(1.0), start(), None, streams))
    for one, other in zip(once, sampler.steps(Constant(3.0), start(), None, streams), strict=True):
        assert torch.equal(one.x, other.x)


@pytest.mark.parametrize("text", SAMPLERS)
def test_a_clip_of_latents_is_refused(text):
    clipping = attrs.evolve(sampler_of(text), clip=(-1.0, 1.0))
    decoded = wrapped(decode=lambda x: x)
    for latent in (decoded, decoded + 1.5 * (decoded - wrapped())):
        with pytest.raises(ValueError, match=r"clip bounds data, and .* samples are latents: leave clip out"):
            clipping.sample(latent, start(), streams=SampleStreams(0, range(4)))
    later = wrapped()
    later.decoder = lambda x: x
    with pytest.raises(ValueError, match="samples are latents"):
        clipping.sample(later, start(), streams=SampleStreams(0, range(4)))


# Bad input


BAD = {
    "levels=[1, 2, 0]": "levels rise at 1, 2: give each level once, the highest first and 0 last",
    "levels=[2, 1, 1, 0]": "levels repeat at 1, 1: ",
    "levels=[2, 1, 0.1]": "levels end at 0.1: ",
    "levels=[2, 1, -1]": "levels end at -1: ",
    "levels=[inf, 1, 0]": "levels are not finite at inf, 1: ",
    "levels=[nan, 1, 0]": "levels",
    "levels=[0]": r"levels are \[0.0\]: give 2 at least; ",
    "levels=[]": r"levels are \[\]: ",
    "levels=[2, 1, 0], num_steps=5": "levels are the whole grid: leave out num_steps, or levels",
    "levels=[2, 1, 0], sigma_max=5": "leave out sigma_max, or levels",
    "sigma_max=inf": "sigma_max is inf: it must be positive and finite",
    "sigma_min=0": "sigma_min is 0.0: it must be positive",
    "sigma_min=2, sigma_max=1": "sigma_min 2 must be below sigma_max 1",
    "num_steps=0": "num_steps is 0",
    "num_steps=10001": "num_steps is 10001: it must be at most 10,000",
    "rho=0": "rho is 0",
    "schedule=cosine": "schedule",
    "schedule=log-linear, rho=3": "schedule=log-linear has none: leave rho out",
    "clip=[1, -1]": "clip is \\[1, -1\\]: give the range of the data, the lower end first",
    "clip=[0, 0]": "clip is",
    "clip=[-inf, 1]": "clip is",
    "clip=1": "clip",
}


@pytest.mark.parametrize("name", [name for name in SAMPLERS if sampler_of(name).schedule == "edm"])
@pytest.mark.parametrize("options", BAD)
def test_bad_options_are_refused_in_one_line(name, options):
    with pytest.raises(ConfigError, match=BAD[options]) as refusal:
        sampler_of(f"{name}({options})")
    assert "\n" not in str(refusal.value)


ETAS = [name for name in SAMPLERS if hasattr(sampler_of(name), "eta")]


@pytest.mark.parametrize("name", ETAS)
@pytest.mark.parametrize("eta", ["-0.1", "nan", "inf"])
def test_a_share_of_noise_out_of_range_is_refused(name, eta):
    with pytest.raises(ConfigError, match="eta") as refusal:
        sampler_of(f"{name}(eta={eta})")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_rho_whose_levels_coincide_is_refused(name):
    for rho in (1e-3, 1e20):
        sampler = on_any(sampler_of(name), rho=rho)
        with pytest.raises(ValueError, match="are not apart in floating point; give one between 1 and 20") as refusal:
            sampler.sigmas(GaussianDenoiser())
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_goes_to_what_the_denoiser_says_at_the_start(name):
    denoiser, x = GaussianDenoiser(0.4, 0.5), start(sigma=80.0)
    end = on_any(sampler_of(name), num_steps=1).sample(denoiser, x, streams=SampleStreams(0, range(4)))
    torch.testing.assert_close(end, denoiser(x, 80.0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_ten_thousand_steps_are_taken(name):
    """The grid is that of floats still apart; the trajectory is walked in parts, since it costs the same everywhere."""
    sampler = on_any(sampler_of(name), num_steps=10_000)
    denoiser = GaussianDenoiser(0.4, 0.5)
    levels = levels_of(sampler, denoiser)
    assert len(levels) == 10_001
    states = sampler.steps(denoiser, start(), None, SampleStreams(0, range(4)))
    for state in itertools.islice(states, 20):
        assert state.x.isfinite().all()
    late = State(9_980, 10_000, levels[9_980], start(sigma=levels[9_980]))
    *_, end = sampler.steps_from(late, denoiser, None, SampleStreams(0, range(4)))
    assert end.x.isfinite().all()
    assert math.isclose(end.sigma, 0)
