"""Noise schedules against the papers' formulas, and as inverses of themselves."""

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug import CosineSchedule, DiscreteSchedule, FlowSchedule, NoiseSchedule, VESchedule, VPSchedule

laws = settings(deadline=None, max_examples=40, derandomize=True)

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
TABLE = (1 - BETAS).cumprod(0)
SCHEDULES = [
    VESchedule(),
    VESchedule("log_sigma", time_scale=0.25),
    VPSchedule(),
    VPSchedule(0.0, 12.0, time_scale=999.0, time_min=1e-4),
    CosineSchedule(),
    CosineSchedule(offset=0.0, time_scale=1000.0),
    DiscreteSchedule(TABLE),
    DiscreteSchedule([0.9, 0.5, 0.01]),
    FlowSchedule(),
    FlowSchedule(data_at=1, time_scale=1000.0),
]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


def levels(schedule, share, dtype=torch.float64):
    """A level at a share of the schedule's range, on a logarithmic scale."""
    low, high = schedule.sigma_range
    return torch.tensor([low * (high / low) ** share], dtype=dtype)


@by_schedule
@laws
@given(share=st.floats(0, 1))
def test_a_level_comes_back_from_its_time(schedule, share):
    sigma = levels(schedule, share)
    time = schedule.time(sigma)
    assert time.shape == sigma.shape
    torch.testing.assert_close(schedule.sigma(time), sigma, rtol=1e-8, atol=0)
    torch.testing.assert_close(schedule.time(schedule.sigma(time)), time, rtol=1e-8, atol=1e-12)


@by_schedule
def test_in_float32_too(schedule):
    sigma = torch.cat([levels(schedule, share, torch.float32) for share in torch.linspace(0, 1, 41).tolist()])
    time = schedule.time(sigma)
    assert time.dtype == schedule.alpha(sigma).dtype == torch.float32
    exact = schedule.time(sigma.double())
    assert float((time - exact).abs().max()) < 1e-5 * float(exact.abs().max())
    steps = time.diff()
    assert bool((steps > 0).all()) or bool((steps < 0).all())


@by_schedule
@laws
@given(share=st.floats(0, 1))
def test_alpha_and_beta_are_of_the_path(schedule, share):
    sigma = levels(schedule, share)
    alpha = schedule.alpha(sigma)
    beta = sigma * alpha
    if isinstance(schedule, FlowSchedule):
        expected = alpha + beta
    elif isinstance(schedule, VESchedule):
        expected = alpha
    else:
        expected = alpha**2 + beta**2
    torch.testing.assert_close(expected, torch.ones_like(sigma), rtol=1e-12, atol=0)


# Each schedule's own time, by the formula of its paper.


@laws
@given(st.floats(1e-3, 1), st.floats(0, 1), st.floats(2, 30))
def test_vp_is_the_linear_equation(t, beta_min, beta_max):
    """Song et al. 2021, eq. 33: alpha = exp(-t^2 (beta_max - beta_min) / 4 - t beta_min / 2)."""
    schedule = VPSchedule(beta_min, beta_max, time_scale=10.0)
    sigma = schedule.sigma(torch.tensor([10 * t], dtype=torch.float64))
    exponent = torch.tensor([-(t**2) * (beta_max - beta_min) / 4 - t * beta_min / 2], dtype=torch.float64)
    torch.testing.assert_close(schedule.alpha(sigma), exponent.exp())
    torch.testing.assert_close(schedule.alpha(sigma) * sigma, (1 - (2 * exponent).exp()).sqrt(), rtol=1e-5, atol=1e-9)


def test_vp_range_is_that_of_the_edm_paper():
    """Karras et al. 2022, table 1: sigma from about 0.01 at t = 0.001 to 152 at t = 1."""
    low, high = VPSchedule().sigma_range
    assert low == pytest.approx(0.0105, abs=2e-4)
    assert high == pytest.approx(152.2, rel=1e-3)


@laws
@given(st.floats(1e-3, 0.999), st.floats(0, 0.1))
def test_cosine_is_the_cosine(t, offset):
    """Nichol and Dhariwal 2021, eq. 17: alpha^2 = f(t) / f(0), f(t) = cos^2((t + s) / (1 + s) pi / 2)."""
    schedule = CosineSchedule(offset)

    def f(t):
        return torch.tensor([(t + offset) / (1 + offset) * torch.pi / 2], dtype=torch.float64).cos() ** 2

    sigma = schedule.sigma(torch.tensor([t], dtype=torch.float64))
    torch.testing.assert_close(schedule.alpha(sigma) ** 2, f(t) / f(0.0))
    torch.testing.assert_close(schedule.time(sigma), torch.tensor([t], dtype=torch.float64), rtol=1e-7, atol=1e-9)


@laws
@given(st.floats(1e-3, 0.999))
def test_flow_is_the_straight_path(t):
    time = torch.tensor([t], dtype=torch.float64)
    forwards, backwards = FlowSchedule(), FlowSchedule(data_at=1, time_scale=1000.0)
    sigma = forwards.sigma(time)
    torch.testing.assert_close(forwards.alpha(sigma), 1 - time)
    torch.testing.assert_close(forwards.alpha(sigma) * sigma, time)
    torch.testing.assert_close(backwards.time(sigma), 1000 * (1 - time))
    torch.testing.assert_close(backwards.sigma(1000 * (1 - time)), sigma)


def test_ve_tells_sigma_or_its_logarithm():
    sigma = torch.tensor([0.01, 1.0, 50.0])
    assert torch.equal(VESchedule().time(sigma), sigma)
    torch.testing.assert_close(VESchedule("log_sigma", time_scale=0.25).time(sigma), sigma.log() / 4)


def test_a_table_is_met_at_its_steps():
    schedule, steps = DiscreteSchedule(TABLE), torch.arange(1000)
    sigma = ((1 - TABLE) / TABLE).sqrt()
    torch.testing.assert_close(schedule.time(sigma), steps.double(), rtol=0, atol=1e-8)
    torch.testing.assert_close(schedule.sigma(steps.double()), sigma)
    torch.testing.assert_close(schedule.alpha(sigma) ** 2, TABLE)
    torch.testing.assert_close(schedule.sigma(steps), sigma.float())
    between = (sigma[:-1] * sigma[1:]).sqrt()  # half-way in log sigma
    torch.testing.assert_close(schedule.time(between), steps[:-1].double() + 0.5, rtol=0, atol=1e-8)


def test_a_rounded_table_tells_integers():
    schedule = DiscreteSchedule(TABLE, rounded=True)
    sigma = DiscreteSchedule(TABLE).sigma(torch.tensor([0.0, 0.4, 499.6, 998.7, 999.0], dtype=torch.float64))
    time = schedule.time(sigma)
    assert time.dtype == torch.int64
    assert time.tolist() == [0, 0, 500, 999, 999]


def test_tables_of_betas():
    assert DiscreteSchedule.from_betas(BETAS) == DiscreteSchedule(TABLE)
    assert DiscreteSchedule.from_betas(BETAS.tolist(), rounded=True) == DiscreteSchedule(TABLE, rounded=True)
    low, high = DiscreteSchedule.from_betas(BETAS).sigma_range
    assert (low, high) == pytest.approx((0.0292, 14.615), abs=1e-3)  # Stable Diffusion's


@pytest.mark.parametrize("schedule", [s for s in SCHEDULES if not isinstance(s, VESchedule | FlowSchedule)], ids=str)
def test_levels_that_no_time_stands_for_are_told_as_the_nearest_end(schedule):
    low, high = schedule.sigma_range
    ends = schedule.time(torch.tensor([low, high], dtype=torch.float64))
    beyond = schedule.time(torch.tensor([low / 7, high * 7], dtype=torch.float64))
    torch.testing.assert_close(beyond, ends, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_schedule_is_a_value(schedule):
    assert isinstance(schedule, NoiseSchedule)
    assert schedule == attrs.evolve(schedule)
    assert hash(schedule) == hash(attrs.evolve(schedule))
    schedule.time(torch.ones(1))
    assert schedule == attrs.evolve(schedule)
    assert len(repr(schedule)) < 120
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        schedule.sigma_range = 1, 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (type("DDPMScheduler", (), {"alphas_cumprod": TABLE})(),
         r"alphas_cumprod is a DDPMScheduler: write DiscreteSchedule\(scheduler.alphas_cumprod\)$"),
        (type("DDPMScheduler", (), {}), r"the class DDPMScheduler: write DiscreteSchedule\(scheduler.alphas_c"),
        (type("FlowMatchEulerDiscreteScheduler", (), {})(), r"write FlowSchedule\(time_scale=1000\)$"),
        ("scaled_linear", r"is 'scaled_linear': write DiscreteSchedule\(scheduler.alphas_cumprod\)$"),
        (VPSchedule(), r"is a VPSchedule: write VPSchedule\(\)$"),
        (3, r"is a int: write one of VESchedule\(\), VPSchedule\(\), CosineSchedule\(\), DiscreteSchedule\("),
    ],
)  # fmt: skip
def test_what_is_no_table(given, message):
    with pytest.raises(TypeError, match=message):
        DiscreteSchedule(given)


@pytest.mark.parametrize("beta_max", [20.0, 159.0])
def test_betas_up_to_where_float32_ends(beta_max):
    schedule = VPSchedule(beta_max=beta_max)
    high = torch.tensor([schedule.sigma_range[1]])
    torch.testing.assert_close(schedule.time(high), torch.ones(1), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VESchedule("log"), "noise_input is 'log': give 'sigma' or 'log_sigma'"),
        (lambda: VESchedule(sigma_min=2.0, sigma_max=1.0), "sigma_min 2 and sigma_max 1: give 0 < sigma_min"),
        (lambda: VESchedule(sigma_max=float("inf")), "sigma_min 0.002 and sigma_max inf: give 0 <"),
        (lambda: VESchedule(time_scale=0.0), "time_scale is 0.0: it must be positive and finite"),
        (lambda: VPSchedule(3.0, 2.0), "beta_min 3 must be below beta_max 2"),
        (lambda: VPSchedule(beta_max=2000.0), r"beta_min 0.1 and beta_max 2000: sigma would overflow; .* 0.02 in each"),
        (lambda: VPSchedule(-1.0), "beta_min is -1.0: it must be finite and at least 0"),
        (lambda: VPSchedule(time_min=0.0), "time_min is 0.0: it must be between 0 and 1, both excluded"),
        (lambda: CosineSchedule(-0.1), "offset is -0.1: it must be finite and at least 0"),
        (lambda: CosineSchedule(time_max=1.0), "time_max is 1.0: it must be between 0 and 1, both excluded"),
        (lambda: CosineSchedule(time_min=0.5, time_max=0.4), "time_min 0.5 must be below time_max 0.4"),
        (lambda: FlowSchedule(data_at=2), "data_at is 2: give 0 or 1"),
        (lambda: FlowSchedule(data_at=True), "data_at is True: give 0 or 1"),
        (lambda: FlowSchedule(sigma_min=0.0), "sigma_min 0 and sigma_max 999: give 0 <"),
        (
            lambda: DiscreteSchedule([0.5]),
            "alphas_cumprod has 1 entries: give one for each training step, two at least",
        ),
        (
            lambda: DiscreteSchedule([0.9, 0.5, 0.0]),
            r"alphas_cumprod\[2\] is 0, where sigma is infinite .*alphas_cumprod\[:2\], or",
        ),
        (lambda: DiscreteSchedule([1.0, 0.5]), r"alphas_cumprod\[0\] is 1: give values strictly between 0 and 1"),
        (lambda: DiscreteSchedule([0.5, float("nan")]), r"alphas_cumprod\[1\] is nan: give values strictly"),
        (lambda: DiscreteSchedule([0.5, 0.5]), r"alphas_cumprod\[1\] is 0.5 after 0.5: the table must fall at each"),
        (lambda: DiscreteSchedule(BETAS), r"for a table of betas there is DiscreteSchedule.from_betas"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
