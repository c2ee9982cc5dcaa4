"""Flow samplers: diffusers' trajectory, the start from noise alone, laws, orders, errors beside Euler's, bad input."""

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from guideplug import Combine, ConfigError, Denoiser, FlowSchedule, Leaf, Sampler, State, strategy, tally, wrap
from guideplug.sample import planned_evaluations
from guideplug.testing import GaussianDenoiser, check_sampler
from guideplug_edm import Euler
from guideplug_flow import FlowEuler, FlowHeun, FlowTwoStep

laws = settings(deadline=None, max_examples=25, derandomize=True)
SAMPLERS = [FlowEuler, FlowHeun, FlowTwoStep]
SHIFTS: list[dict[str, Any]] = [{}, {"shift": 3.0}, {"mu": 1.15}, {"tokens": 1024}]


def velocity(x_t: Tensor, time: Tensor) -> Tensor:
    """A network without sense, but for its smoothness and dependence on both inputs."""
    return torch.sin(2.0 * x_t + time[:, None]) - 0.5 * x_t * time[:, None]


def noise(count: int = 64, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def ended(sampler: Sampler, denoiser: Denoiser, drawn: Tensor) -> Tensor:
    """The samples that start from this noise at the sampler's first level."""
    return sampler.sample(denoiser, sampler.sigmas(denoiser)[0] * drawn)


class Mixture(Leaf):
    """The exact flow network of eight narrow Gaussians, as a denoiser that takes noise alone."""

    def __init__(self) -> None:
        super().__init__(wrap(velocity, (2,), predicts="flow").space)
        self.means = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Any) -> Tensor:
        level, low = sigma.double()[:, None], 0.15**2
        distances = torch.cdist(x.double(), self.means).square()
        mean = torch.softmax(-distances / (2 * (low + level**2)), 1) @ self.means
        return ((low * x + level**2 * mean) / (low + level**2)).to(x.dtype)


# From noise alone.


def test_the_network_is_given_its_noise_and_the_time_1_to_the_bit() -> None:
    inputs = []

    def watched(x_t: Tensor, time: Tensor) -> Tensor:
        inputs.append((x_t, time))
        return velocity(x_t, time)

    drawn = noise()
    ended(FlowEuler(4), wrap(watched, (2,), predicts="flow", schedule=FlowSchedule(time_scale=1000)), drawn)
    x_t, time = inputs[0]
    assert torch.equal(x_t, drawn)
    assert torch.equal(time, torch.full((64,), 1000.0))
    assert [round(float(time[0])) for _, time in inputs] == [1000, 750, 500, 250]


def test_one_step_ends_at_noise_less_velocity() -> None:
    drawn = noise()
    for cls in SAMPLERS:
        assert torch.equal(
            ended(cls(1), wrap(velocity, (2,), predicts="flow"), drawn), drawn - velocity(drawn, torch.ones(64))
        )


def test_a_range_that_ends_lower_is_kept_to() -> None:
    below = {"sigma_max": 9.0}, {"schedule": FlowSchedule(sigma_max=9.0)}
    for denoiser in (*(wrap(velocity, (2,), predicts="flow", **options) for options in below), GaussianDenoiser()):
        assert FlowEuler().sigmas(denoiser)[0] == denoiser.space.sigma_max
    with_noise = wrap(velocity, (2,), predicts="epsilon", schedule=FlowSchedule())  # D does not follow from n at t = 1
    assert FlowEuler().sigmas(with_noise)[0] == 999.0
    assert FlowEuler(start=0.5).sigmas(wrap(velocity, (2,), predicts="flow"))[0] == 1.0


def test_the_form_of_the_step_keeps_x_where_the_usual_one_loses_it() -> None:
    """Issue and docs: at sigma 1e7, in float32, for data of deviation .5."""
    denoiser, sigma, after = GaussianDenoiser(0.4, 0.5), 1e7, 20.0
    exact = sigma * noise(1000, dtype=torch.float64)
    wanted = exact.new_tensor(after / sigma) * (exact - denoiser(exact, sigma)) + denoiser(exact, sigma)
    x = exact.float()
    denoised = denoiser(x, sigma)
    kept = denoised + (after / sigma) * (x - denoised)
    lost = x + (after - sigma) * (x - denoised) / sigma
    assert float((kept - wanted).abs().max()) < 1e-5
    assert float((lost - wanted).abs().max()) > 0.1


# diffusers.


@pytest.mark.parametrize("options", SHIFTS, ids=str)
@pytest.mark.parametrize("num_steps", [1, 10, 28])
def test_euler_is_the_trajectory_of_diffusers(options: dict[str, Any], num_steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        shift=options.get("shift", 1.0), use_dynamic_shifting="shift" not in options and bool(options)
    )
    uniform = [1 - i / num_steps for i in range(num_steps)]
    scheduler.set_timesteps(sigmas=uniform, mu=FlowEuler(**options).log_shift)
    drawn = x_t = noise()
    theirs = []
    for time in scheduler.timesteps:
        x_t = scheduler.step(velocity(x_t, time.expand(64) / 1000), time, x_t, return_dict=False)[0]
        theirs.append(x_t)
    denoiser, sampler = wrap(velocity, (2,), predicts="flow"), FlowEuler(num_steps, **options)
    ours = sampler.steps(denoiser, sampler.sigmas(denoiser)[0] * drawn)
    for state, x_t in zip(ours, theirs, strict=True):
        assert float((state.x / (1 + state.sigma) - x_t).abs().max()) < 1e-5


def test_the_shift_by_tokens_is_that_of_flux() -> None:
    assert FlowEuler(tokens=256).log_shift == pytest.approx(0.5)
    assert FlowEuler(tokens=4096).log_shift == pytest.approx(1.15)
    assert FlowEuler(tokens=2176).log_shift == pytest.approx(0.825)
    denoiser = wrap(velocity, (2,), predicts="flow")
    assert FlowEuler(tokens=4096).sigmas(denoiser) == pytest.approx(FlowEuler(mu=1.15).sigmas(denoiser))
    assert FlowEuler(mu=math.log(3.0)).sigmas(denoiser) == pytest.approx(FlowEuler(shift=3.0).sigmas(denoiser))


@pytest.mark.slow
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("evaluations", [10, 20, 28, 50])
def test_no_error_is_above_that_of_diffusers_own_grid(shift: float, evaluations: int) -> None:
    """The table of docs/flows.md. Theirs shifts the lower end, 1/1000, twice."""
    diffusers = pytest.importorskip("diffusers")
    denoiser, drawn = Mixture(), noise(512, dtype=torch.float64)
    exact = ended(FlowHeun(1000), denoiser, drawn)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(evaluations)
    sigmas = scheduler.sigmas.double()
    x = drawn
    for t, after in itertools.pairwise(sigmas):
        level = float(t / (1 - t)) if t < 1 else denoiser.space.highest
        x = x + (after - t) * ((x - denoiser(x * (1 + level), level)) / t)

    def error(end: Tensor) -> float:
        return float((end - exact).square().mean().sqrt())

    for sampler in (FlowEuler(evaluations, shift=shift), FlowTwoStep(evaluations, shift=shift)):
        assert error(ended(sampler, denoiser, drawn)) <= (1.0 if shift == 1 else 1.005) * error(x)


# Laws.


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [FlowEuler(128), FlowHeun(48), FlowTwoStep(64), FlowTwoStep(64, shift=3.0)])
def test_laws(sampler: Sampler) -> None:
    check_sampler(sampler)


@laws
@given(
    st.sampled_from(SAMPLERS),
    st.integers(1, 40),
    st.one_of(
        st.fixed_dictionaries({"shift": st.floats(0.1, 20.0)}),
        st.fixed_dictionaries({"mu": st.floats(-1.0, 3.0)}),
        st.fixed_dictionaries({"tokens": st.integers(1, 20_000)}),
    ),
    st.floats(0.05, 1.0),
)
def test_a_constant_answer_is_the_end_exactly(cls: Any, num_steps: int, options: dict[str, Any], start: float) -> None:
    denoiser = wrap(lambda x_t, time: torch.full_like(x_t, 0.3), (2,), predicts="denoised", schedule=FlowSchedule())
    end = ended(cls(num_steps, start=start, **options), denoiser, noise())
    assert float((end - 0.3).abs().max()) < 1e-6


@laws
@given(st.sampled_from([FlowEuler, FlowHeun]), st.integers(2, 30), st.floats(0.3, 8.0), st.data())
def test_a_trajectory_split_at_any_level_is_the_whole(cls: Any, num_steps: int, shift: float, data: Any) -> None:
    cut = data.draw(st.integers(1, num_steps - 1))
    denoiser, whole = Mixture(), cls(num_steps, shift=shift)
    x = whole.sigmas(denoiser)[0] * noise(dtype=torch.float64)
    states: list[State] = list(whole.steps(denoiser, x))
    middle = states[cut - 1]
    rest = cls(num_steps - cut, shift=shift, start=middle.sigma / (1 + middle.sigma))
    assert rest.sigmas(denoiser) == pytest.approx(whole.sigmas(denoiser)[cut:], rel=1e-5)
    assert float((rest.sample(denoiser, middle.x) - states[-1].x).abs().max()) < 1e-4


@laws
@given(st.integers(1, 30), st.floats(0.3, 8.0))
def test_euler_in_flow_time_is_euler_in_sigma(num_steps: int, shift: float) -> None:
    denoiser = GaussianDenoiser(0.4, 0.5)
    sampler = FlowEuler(num_steps, shift=shift)
    x = sampler.sigmas(denoiser)[0] * noise(dtype=torch.float64)
    y = x
    for sigma, after in itertools.pairwise(sampler.sigmas(denoiser)):
        y = y + (after - sigma) * (y - denoiser(y, sigma)) / sigma
    assert torch.allclose(sampler.sample(denoiser, x), y, atol=1e-9)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize(
    ("cls", "order", "shift", "fewest"),
    [(FlowEuler, 1, 1.0, 64), (FlowEuler, 1, 3.0, 64), (FlowHeun, 2, 1.0, 64), (FlowHeun, 2, 3.0, 64),
     (FlowTwoStep, 2, 1.0, 64), (FlowTwoStep, 2, 3.0, 512)],
)  # fmt: skip
def test_the_order_of_convergence(cls: Any, order: int, shift: float, fewest: int, guided: bool) -> None:
    """On a Gaussian, whose end points are known; guided, p^w q^(1 - w) of equal variances is a Gaussian as well.

    Under the shift of 3 the two-step method's error changes its sign at about 100 steps.
    """
    base, weak = GaussianDenoiser(0.4, 0.5), GaussianDenoiser(0.1, 0.5)
    denoiser, truth = (base + 2 * (base - weak), GaussianDenoiser(1.0, 0.5)) if guided else (base, base)
    x = 80.0 * noise(dtype=torch.float64)
    errors = [
        float((cls(fewest * n, shift=shift).sample(denoiser, x) - truth.end_point(x, 80.0)).abs().max())
        for n in (1, 2, 4)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


@laws
@given(st.sampled_from(SAMPLERS), st.integers(1, 12))
def test_the_cost(cls: Any, num_steps: int) -> None:
    denoiser, sampler = GaussianDenoiser(), cls(num_steps)
    with tally() as counts:
        sampler.sample(denoiser, 80.0 * noise(3))
    expected = 2 * num_steps - 1 if cls is FlowHeun else num_steps
    assert counts[denoiser].calls == expected
    assert len(planned_evaluations(sampler, denoiser, noise(1))) == expected


def test_combinations_of_flows_start_from_noise_alone() -> None:
    strong, weak = (wrap(velocity, (2,), predicts="flow") for _ in range(2))
    combined = Combine([strong, weak], lambda outputs, x, sigma: outputs[0])
    for guided in (strong + 1.5 * (strong - weak), combined):
        sigmas = FlowEuler(8).sigmas(guided)
        assert sigmas[0] == 2.0**24
        assert bool(ended(FlowEuler(8), guided, noise()).isfinite().all())


def test_samplers_in_sigma_keep_their_levels() -> None:
    assert Euler(8).sigmas(wrap(velocity, (2,), predicts="flow"))[0] == 999.0


# Bad input.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps"),
        ({"num_steps": 10_001}, "10,000"),
        ({"shift": 0.0}, "shift"),
        ({"shift": -3.0}, "shift"),
        ({"shift": math.inf}, "shift"),
        ({"shift": math.nan}, "shift"),
        ({"shift": 1e20}, r"shift is 1e\+20: the grid is shifted by e\^46.05; give 1 to 20"),
        ({"mu": 40.0}, "mu is 40.0: .*; give 0 to 3"),
        ({"mu": math.nan}, "mu is nan"),
        ({"tokens": 10_000_000}, "tokens is 10000000: .*; give 1 to 16,384"),
        ({"tokens": 0}, "tokens"),
        ({"shift": 3.0, "mu": 1.0}, "shift and mu each set the shift"),
        ({"mu": 1.0, "tokens": 256}, "mu and tokens each set the shift"),
        ({"start": 0.0}, "start is 0"),
        ({"start": 1.5}, "between 0 and 1"),
        ({"start": math.nan}, "between 0 and 1"),
    ],
)
def test_what_makes_no_grid_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowEuler(**options)


@pytest.mark.parametrize("options", [{"num_steps": 1}, {"num_steps": 10_000}, {"shift": 1e10}, {"mu": -20.0}])
def test_extreme_grids_fall_to_0(options: dict[str, Any]) -> None:
    sigmas = FlowEuler(**options).sigmas(wrap(velocity, (2,), predicts="flow"))
    assert sigmas[-1] == 0
    assert all(math.inf > before > after for before, after in itertools.pairwise(sigmas))


@pytest.mark.parametrize("name", ["flow-euler", "flow-heun", "flow-2m"])
def test_levels_and_clips_are_those_of_every_solver(name: str) -> None:
    sampler = strategy(f"{name}(levels=[50, 3, 0.4, 0], clip=[-1, 1])", Sampler)  # type: ignore[type-abstract]
    denoiser = GaussianDenoiser(0.4, 2.0)
    assert sampler.sigmas(denoiser) == [50, 3, 0.4, 0]
    x = 50 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    states = list(sampler.steps(denoiser, x))
    assert [state.sigma for state in states] == [3, 0.4, 0]
    assert float(states[-1].x.abs().max()) <= 1
    whole = sampler.sample(denoiser, x)
    rest = list(sampler.steps_from(states[0], denoiser))  # type: ignore[attr-defined]
    torch.testing.assert_close(rest[-1].x, whole, rtol=0, atol=0)
    with pytest.raises(ConfigError, match="levels are the whole grid: leave out shift, or levels"):
        strategy(f"{name}(levels=[50, 3, 0.4, 0], shift=3)", Sampler)  # type: ignore[type-abstract]
