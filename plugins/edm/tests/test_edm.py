"""Heun and Euler on closed-form Gaussians: end points, order, cost, churn."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug.denoise import Combine, Denoiser, Gate, tally
from guideplug.errors import DivergenceError
from guideplug.noise import sigma_grid
from guideplug.rng import SampleStreams
from guideplug.sample import planned_evaluations
from guideplug.solver import SolverStep
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_sampler, example_condition
from guideplug_edm import Euler, Heun

laws = settings(deadline=None, max_examples=25, derandomize=True)
SAMPLERS = [Heun, Euler]


def start(count=5, sigma=5.0):
    x = torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return sigma * x


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    [Heun(sigma_max=5.0), Heun(), Heun(num_steps=64, churn=20.0), Heun(churn=10.0, churn_min=0.1, churn_max=2.0),
     Euler(num_steps=128), Euler(num_steps=128, sigma_max=5.0, rho=3.0)],
)  # fmt: skip
def test_laws(sampler):
    check_sampler(sampler)


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize(("sampler", "error"), [(Heun(32), 0.05), (Heun(128), 3e-3), (Euler(512), 0.05)])
def test_end_points_are_those_of_the_probability_flow(kind, sampler, error):
    denoiser = GaussianDenoiser(0.4, 0.5, conditioning=kind)
    condition = example_condition(kind, 5, torch.Generator().manual_seed(1))
    x = start(sigma=80.0)
    expected = denoiser.end_point(x, 80.0, condition)
    assert float((sampler.sample(denoiser, x, condition) - expected).abs().max()) < error * denoiser.std


def test_guided_gaussians_flow_to_the_end_points_of_their_product():
    """p^w q^(1 - w) of equal variances is a Gaussian about the extrapolated mean, with that flow."""
    base, weak = GaussianDenoiser(0.4, 0.5), GaussianDenoiser(0.1, 0.5)
    x = start()
    end = Heun(128, sigma_max=5.0).sample(base + 2 * (base - weak), x)
    assert float((end - GaussianDenoiser(1.0, 0.5).end_point(x, 5.0)).abs().max()) < 1e-3


@pytest.mark.parametrize(("cls", "order"), [(Heun, 2), (Euler, 1)])
def test_the_order_of_convergence(cls, order):
    denoiser = GaussianDenoiser(0.4, 0.5)
    x = start()
    expected = denoiser.end_point(x, 5.0)
    errors = [
        float((cls(n, sigma_max=5.0, sigma_min=1e-5).sample(denoiser, x) - expected).abs().max())
        for n in (64, 128, 256)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@laws
@given(st.sampled_from(SAMPLERS), st.integers(1, 12), st.floats(1, 10))
def test_the_cost_is_the_published_number_of_evaluations(cls, num_steps, rho):
    denoiser = GaussianDenoiser()
    sampler = cls(num_steps, sigma_max=5.0, rho=rho)
    with tally() as counts:
        sampler.sample(denoiser, start(3))
    expected = 2 * num_steps - 1 if cls is Heun else num_steps
    assert (counts[denoiser].calls, counts[denoiser].outputs) == (expected, 3 * expected)
    assert len(planned_evaluations(sampler, denoiser, start(1))) == expected


def test_the_cost_of_an_interval_is_that_of_the_levels_inside():
    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    guided = base + Gate(0.2, 1.0) * (base - weak)
    sampler = Heun(16, sigma_max=5.0)
    with tally() as counts:
        sampler.sample(guided, start())
    planned = planned_evaluations(sampler, guided, start(1))
    inside = sum(weak in one.counts for one in planned)
    assert inside == sum(0.2 < one.sigma <= 1.0 for one in planned)
    assert 0 < inside < len(planned)
    assert (counts[base].calls, counts[weak].calls) == (31, inside)


@pytest.mark.parametrize("cls", SAMPLERS)
def test_one_step_goes_to_what_the_denoiser_says_at_the_start(cls):
    denoiser = GaussianDenoiser(0.4, 0.5)
    x = start(sigma=80.0)
    sampler = cls(num_steps=1)
    assert sampler.sigmas(denoiser) == [80.0, 0.0]
    torch.testing.assert_close(sampler.sample(denoiser, x), denoiser(x, 80.0))


class Asked(Denoiser):
    """A denoiser that notes what it is asked."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.space, self.asked = inner, inner.space, []

    @property
    def terms(self):
        return self.inner.terms

    def forward(self, x, sigma, condition=None, *, toward=None, step=None):
        self.asked.append((sigma, toward))
        return self.inner(x, sigma, condition, toward=toward, step=step)


@laws
@given(st.integers(1, 12), st.floats(1, 10))
def test_each_evaluation_is_told_the_next_level(num_steps, rho):
    """At sigma_i towards sigma_{i+1}; Heun's correction, at sigma_{i+1}, towards sigma_{i+2}; at the end towards 0."""
    sigmas = sigma_grid(num_steps, 0.002, 5.0, rho)
    once = list(itertools.pairwise(sigmas))
    twice = [pair for i, pair in enumerate(once) for pair in ([pair] if i == 0 else [pair, pair])]
    for sampler, expected in [(Euler(num_steps, None, 5.0, rho), once), (Heun(num_steps, None, 5.0, rho), twice)]:
        watch = Asked(GaussianDenoiser())
        sampler.sample(watch, start())
        assert watch.asked == expected
        assert all(type(level) is float for pair in watch.asked for level in pair)
        assert [(one.sigma, one.toward) for one in planned_evaluations(sampler, watch, start(1))] == expected


@pytest.mark.parametrize(
    "sampler", [Heun(6, sigma_max=5.0), Heun(6, sigma_max=5.0, churn=3.0), Euler(6, sigma_max=5.0)]
)
def test_states_are_the_grid(sampler):
    denoiser = GaussianDenoiser()
    states = list(sampler.steps(denoiser, start(), None, SampleStreams(0, range(5))))
    assert [state.sigma for state in states] == sampler.sigmas(denoiser)[1:]
    assert [(state.step, state.num_steps) for state in states] == [(i + 1, 6) for i in range(6)]


@pytest.mark.parametrize("cls", SAMPLERS)
def test_a_memory_lasts_one_trajectory(cls):
    trajectories = []

    def begin():
        seen = []
        trajectories.append(seen)

        def function(outputs, x, sigma):
            seen.append(sigma)
            return outputs[0]

        return function

    sampler = cls(4, sigma_max=5.0)
    remembering = Combine([GaussianDenoiser()], begin=begin)
    for _ in range(2):
        sampler.sample(remembering, start())
    levels = [one.sigma for one in planned_evaluations(sampler, GaussianDenoiser(), start(1))]
    assert trajectories == [levels, levels]


def test_levels_are_the_denoisers_unless_given():
    denoiser = GaussianDenoiser()
    for cls in SAMPLERS:
        assert cls(4).sigmas(denoiser) == sigma_grid(4, 0.002, 80.0)
        assert cls(4, sigma_min=0.1, sigma_max=3.0, rho=2.0).sigmas(denoiser) == sigma_grid(4, 0.1, 3.0, 2.0)


class TestChurn:
    denoiser = GaussianDenoiser(0.4, 0.5)

    def sample(self, seed=0, indices=range(5), x=None, **options):
        x = start() if x is None else x
        sampler = Heun(16, sigma_max=5.0, **options)
        return sampler.sample(self.denoiser, x, None, SampleStreams(seed, indices))

    def churned(self, sampler, x, sigma, number, streams):
        levels = [sigma] * (number + 1) + [0.0]
        return sampler._churned(x, SolverStep(number, levels, sampler, self.denoiser, None, streams))

    def test_the_streams_decide(self):
        first = self.sample(churn=8.0)
        assert torch.equal(first, self.sample(churn=8.0))
        assert not torch.equal(first, self.sample(churn=8.0, seed=1))
        assert not torch.equal(first, self.sample())
        alone = self.sample(churn=8.0, indices=[3], x=start()[3:4])
        torch.testing.assert_close(alone, first[3:4])

    def test_without_streams_is_an_error(self):
        with pytest.raises(ValueError, match="pass the samples' streams, or churn=0"):
            Heun(16, churn=8.0).sample(self.denoiser, start())
        Heun(16).sample(self.denoiser, start())

    def test_levels_outside_its_range_have_none(self):
        assert torch.equal(self.sample(churn=8.0, churn_min=6.0), self.sample())
        assert torch.equal(self.sample(churn=8.0, churn_max=1e-3), self.sample())
        some = self.sample(churn=8.0, churn_min=0.1, churn_max=1.0)
        assert not torch.equal(some, self.sample())
        assert not torch.equal(some, self.sample(churn=8.0))

    @pytest.mark.parametrize(("churn", "gamma"), [(4.0, 0.25), (1e6, math.sqrt(2) - 1)])
    def test_evaluations_are_at_the_raised_level(self, churn, gamma):
        watch = Asked(self.denoiser)
        sampler = Heun(16, sigma_max=5.0, churn=churn, churn_max=1.0)
        sampler.sample(watch, start(), None, SampleStreams(0, range(5)))
        sigmas = sampler.sigmas(self.denoiser)
        raised = [sigma * (1 + gamma) if sigma <= 1.0 else sigma for sigma in sigmas[:-1]]
        assert [pair[0] for pair in watch.asked[::2]] == pytest.approx(raised)
        assert [pair[0] for pair in watch.asked[1::2]] == sigmas[1:-1]

    def test_the_noise_raises_the_level_by_what_it_says(self):
        """A point that is all noise at sigma is, raised, all noise at sigma hat: variances add."""
        streams = SampleStreams(0, range(20_000))
        x = 2.0 * streams.normal((2,), "start")
        for strength in (1.0, 1.5):
            raised, level = self.churned(Heun(1, churn=0.25, churn_noise=strength), x, 2.0, 0, streams)
            assert level == 2.5
            variance = 4 + strength**2 * (2.5**2 - 4)
            assert float(raised.std()) == pytest.approx(math.sqrt(variance), rel=0.02)

    def test_each_step_draws_anew(self):
        streams = SampleStreams(0, range(5))
        x = torch.zeros(5, 2)
        noises = [self.churned(Heun(16, churn=4.0), x, 2.0, step, streams)[0] for step in range(3)]
        assert not any(torch.equal(noises[i], noises[j]) for i, j in [(0, 1), (1, 2), (0, 2)])


@pytest.mark.parametrize("cls", SAMPLERS)
def test_a_divergence_names_step_level_and_network(cls):
    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(math.nan)
    base.role, weak.role = "main", "weak"
    sampler = cls(4, sigma_max=5.0)
    level = sampler.sigmas(base)[1]
    with pytest.raises(DivergenceError) as caught:
        sampler.sample(base + Gate(0.0, level) * (base - weak), start())
    step, begin = (1, 5.0) if cls is Heun else (2, level)  # Heun's correction is there already in the first step
    assert str(caught.value) == (
        f"sampling diverged in step {step} of 4, from sigma {begin:.4g}: "
        f"the output of weak (GaussianDenoiser) at sigma {level:.4g} is not finite"
    )


@pytest.mark.parametrize("cls", SAMPLERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps"),
        ({"num_steps": -1}, "num_steps"),
        ({"sigma_min": 0.0}, "sigma_min"),
        ({"sigma_min": -1.0}, "sigma_min"),
        ({"sigma_min": math.nan}, "sigma_min"),
        ({"sigma_max": 0.0}, "sigma_max"),
        ({"sigma_max": math.inf}, "sigma_max"),
        ({"sigma_min": 2.0, "sigma_max": 1.0}, "sigma_min 2 must be below sigma_max 1"),
        ({"sigma_min": 1.0, "sigma_max": 1.0}, "must be below"),
        ({"rho": 0.0}, "rho"),
        ({"rho": math.nan}, "rho"),
    ],
)
def test_options_are_checked(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"churn": -1.0}, "churn"), ({"churn": math.nan}, "churn"), ({"churn_min": -1.0}, "churn_min"),
     ({"churn_noise": 0.0}, "churn_noise")],
)  # fmt: skip
def test_options_of_churn_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Heun(**options)


def test_a_range_that_the_denoiser_does_not_have_is_refused():
    for cls in SAMPLERS:
        with pytest.raises(ValueError, match="give 0 < sigma_min < sigma_max"):
            cls(sigma_min=100.0).sample(GaussianDenoiser(), start())
