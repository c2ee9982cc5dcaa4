"""The laws of samplers, their steps by hand, and agreement with diffusers, sampler by sampler."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug import DiscreteSchedule, Registry, SampleStreams, wrap
from guideplug.config import Reader
from guideplug.sample import Sampler, planned_evaluations
from guideplug.testing import GaussianDenoiser, check_sampler
from guideplug_edm import Euler
from guideplug_samplers import DDIM, DPM2M, DPM2MSDE, DPM3MSDE, UniPC

torch.set_num_threads(1)
laws = settings(deadline=None, max_examples=25, derandomize=True)
READER = Reader(Registry.installed())


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    [DDIM(num_steps=128), DDIM(num_steps=256, eta=1.0), DPM2M(), DPM2MSDE(num_steps=64), DPM3MSDE(num_steps=64),
     UniPC(), DPM2M(schedule="log-linear"), DPM2M(levels=(80.0, 20.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.03, 0.0))],
)  # fmt: skip
def test_laws(sampler):
    check_sampler(sampler)


@laws
@given(st.integers(1, 20), st.floats(1, 10))
def test_eta_0_is_euler(num_steps, rho):
    denoiser = GaussianDenoiser(0.4, 0.5)
    x = 80 * torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = (cls(num_steps=num_steps, rho=rho).sample(denoiser, x) for cls in (DDIM, Euler))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["ddim", "euler-ancestral", "dpm++2m", "dpm++2m-sde", "dpm++3m-sde", "unipc"])
def test_each_step_is_one_evaluation(name):
    sampler = READER.expression(f"{name}(num_steps=7)", Sampler)
    planned = planned_evaluations(sampler, GaussianDenoiser(), torch.randn(1, 2), None, SampleStreams(0, [0]))
    assert len(planned) == 7


def test_presets():
    assert READER.expression("euler-ancestral", Sampler) == DDIM(eta=1.0)
    assert READER.expression("ddpm", Sampler) == DDIM(eta=1.0, schedule="model")


# diffusers


diffusers = pytest.importorskip("diffusers")  # 0.35 and 0.42.1
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def network(x, time):
    """Any smooth function of x and time that differs between samples."""
    share = (time.to(x) / 1000)[:, None]
    return 0.7 * x + share * torch.sin(3 * x) - 0.1 * share**2


def model(scheduler):
    schedule = DiscreteSchedule(scheduler.alphas_cumprod.double())
    return wrap(network, (2,), predicts="epsilon", schedule=schedule)


class Given:
    """Streams of noise that is given step by step."""

    def __init__(self, noise):
        self.noise = noise

    def normal(self, shape, purpose, step=0):
        return self.noise[step]


def theirs(scheduler, x, noise, **options):
    """The end of diffusers' trajectory from x in noise levels, (B, *), and the levels at its timesteps."""
    alphas = scheduler.alphas_cumprod.double()
    times = scheduler.timesteps.tolist()
    levels = [float(((1 - alphas[int(t)]) / alphas[int(t)]).sqrt()) for t in times]
    x_t = x * float(alphas[int(times[0])].sqrt())
    for number, time in enumerate(scheduler.timesteps):
        prediction = network(x_t, time.expand(len(x)))
        drawn = {} if noise is None else {"variance_noise": noise[number]}
        x_t = scheduler.step(prediction, time, x_t, **drawn, **options).prev_sample
    return x_t, (*levels, 0.0)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [5, 20])
def test_ddim_is_that_of_diffusers(eta, num_steps):
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=False, timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    noise = torch.randn(num_steps, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    main = model(scheduler)
    x = 10 * torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, levels = theirs(scheduler, x, noise, eta=eta)
    ours = DDIM(eta=eta, levels=levels).sample(main, x, streams=Given(noise))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_steps", [10, 20])
@pytest.mark.parametrize(
    ("sampler", "algorithm", "solver"),
    [
        (DPM2M, "dpmsolver++", "midpoint"),
        (DPM2MSDE, "sde-dpmsolver++", "midpoint"),
        (DPM2MSDE, "sde-dpmsolver++", "heun"),
    ],
)
def test_dpm_solvers_are_those_of_diffusers(sampler, algorithm, solver, num_steps):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **BETAS,
        algorithm_type=algorithm,
        solver_type=solver,
        timestep_spacing="linspace",
        euler_at_final=True,  # as x' = D in the last step to 0
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(num_steps)
    noise = torch.randn(num_steps, 4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    main = model(scheduler)
    x = 10 * torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, levels = theirs(scheduler, x, noise)
    options = {"solver": solver} if sampler is DPM2MSDE else {}
    ours = sampler(levels=levels, **options).sample(main, x, streams=Given(noise))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_steps", [10, 20])
def test_unipc_is_that_of_diffusers(num_steps):
    scheduler = diffusers.UniPCMultistepScheduler(
        **BETAS, solver_order=2, solver_type="bh2", timestep_spacing="linspace", final_sigmas_type="zero"
    )
    scheduler.set_timesteps(num_steps)
    main = model(scheduler)
    x = 10 * torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected, levels = theirs(scheduler, x, None)
    torch.testing.assert_close(UniPC(levels=levels).sample(main, x), expected, rtol=1e-5, atol=1e-5)


def test_the_grids_are_those_of_diffusers():
    scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS, timestep_spacing="linspace", final_sigmas_type="zero")
    scheduler.set_timesteps(20)
    main = model(scheduler)
    alphas = scheduler.alphas_cumprod.double()[scheduler.timesteps]
    own = DDIM(num_steps=21, schedule="model").sigmas(main)
    table = ((1 - alphas) / alphas).sqrt().tolist()  # theirs leaves the lowest of N + 1 steps out
    assert own[:-2] == pytest.approx(table, rel=1e-6)
    for theirs_, ours in (("use_exponential_sigmas", "log-linear"), ("use_karras_sigmas", "edm")):
        scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS, **{theirs_: True}, final_sigmas_type="zero")
        scheduler.set_timesteps(20)
        low, high = (float(scheduler.sigmas[i]) for i in (-2, 0))
        grid = DDIM(num_steps=20, schedule=ours, sigma_min=low, sigma_max=high).sigmas(main)
        assert grid == pytest.approx(scheduler.sigmas.tolist(), rel=1e-5)
