"""Orders of convergence on closed forms: Gaussians, guided and not, and a mixture; and the size of the fresh noise."""

import itertools
import math

import pytest
import torch
from scipy.integrate import solve_ivp

from guideplug import SampleStreams, State
from guideplug.denoise import Leaf, Space, per_row
from guideplug.testing import GaussianDenoiser
from guideplug_samplers import DDIM, DPM2M, DPM2MSDE, DPM3MSDE, UniPC

torch.set_num_threads(1)
HIGH, LOW = 5.0, 1e-3
BASE, WEAK = GaussianDenoiser(0.4, 0.5), GaussianDenoiser(0.1, 0.5)
GUIDED = BASE + 2 * (BASE - WEAK)
"""The denoiser of the Gaussian about the extrapolated mean, 1.0."""


class Mixture(Leaf):
    """The exact denoiser of three Gaussians on a line, per coordinate."""

    def __init__(self):
        super().__init__(Space((2,)))
        self.means, self.stds, self.logs = (
            torch.tensor(values, dtype=torch.float64)
            for values in ([-1.0, 0.2, 1.3], [0.2, 0.3, 0.25], [-1.2, -0.7, -1.6])
        )

    def denoise(self, x, sigma, condition):
        noise = per_row(sigma**2, x)[..., None]
        variance = self.stds**2 + noise
        off = x[..., None] - self.means
        shares = (self.logs - off**2 / (2 * variance) - variance.log() / 2).softmax(-1)
        return (shares * (self.means + self.stds**2 / variance * off)).sum(-1)


class Silence:
    """Streams of zeros: what is left of a stochastic step is its mean."""

    def normal(self, shape, purpose, step=0):
        return torch.zeros(4, *shape)


def start(sigma=HIGH):
    return sigma * torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def levels(num_steps, low=LOW):
    """Levels even in log sigma, without a last step to 0, whose error is of first order."""
    return [HIGH * (low / HIGH) ** (i / num_steps) for i in range(num_steps + 1)]


def arrived(sampler, denoiser, x, num_steps, exact=None):
    """x at the lowest level above 0, over ``num_steps`` steps; from exact states at the first levels where given."""
    grid = levels(num_steps)
    state = State(0, num_steps + 1, grid[0], x)
    if exact is not None:
        states = [exact(level) for level in grid[:3]]
        memory = tuple(denoiser(states[i], grid[i]) for i in (1, 0))
        state = State(2, num_steps + 1, grid[2], states[2], memory)
    walk = type(sampler)(levels=(*grid, 0.0), **_own(sampler))
    *_, before, _ = walk.steps_from(state, denoiser, None, Silence())
    return before.x


def _own(sampler):
    return {name: getattr(sampler, name) for name in ("eta", "solver") if hasattr(sampler, name)}


def orders(sampler, denoiser, expected, exact=None, counts=(32, 64, 128)):
    errors = [float((arrived(sampler, denoiser, start(), n, exact) - expected).abs().max()) for n in counts]
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


def gaussian(mean, eta=0.0):
    """The mean, given x at the first level, of the reverse process of N(mean, 0.5^2) at a level."""

    def at(level):
        return mean + (start() - mean) * ((0.25 + level**2) / (0.25 + HIGH**2)) ** ((1 + eta) / 2)

    return at


def mixture(level):
    """The probability flow of the mixture by an eighth-order method."""
    denoiser, x = Mixture(), start()

    def slope(log_sigma, flat):
        point = torch.from_numpy(flat.reshape(4, 2))
        return (point - denoiser(point, math.exp(log_sigma))).flatten().numpy()

    solution = solve_ivp(
        slope, (math.log(HIGH), math.log(level)), x.flatten().numpy(), method="DOP853", rtol=1e-12, atol=1e-13
    )
    return torch.from_numpy(solution.y[:, -1].reshape(4, 2).copy())


FLOWS = [
    pytest.param(DDIM(), 1, id="ddim"),
    pytest.param(DPM2M(), 2, id="dpm++2m"),
    pytest.param(UniPC(), 3, id="unipc"),  # one more than its predictor
    pytest.param(DPM2MSDE(eta=0.0), 2, id="dpm++2m-sde midpoint"),
    pytest.param(DPM2MSDE(eta=0.0, solver="heun"), 2, id="dpm++2m-sde heun"),
]


@pytest.mark.parametrize(("sampler", "order"), FLOWS)
@pytest.mark.parametrize(("denoiser", "mean"), [(BASE, 0.4), (GUIDED, 1.0)], ids=["unguided", "guided"])
def test_orders_on_gaussians(sampler, order, denoiser, mean):
    assert orders(sampler, denoiser, gaussian(mean)(LOW)) == pytest.approx([order, order], abs=0.15)


@pytest.mark.parametrize(("sampler", "order"), FLOWS)
def test_orders_on_a_mixture(sampler, order):
    assert orders(sampler, Mixture(), mixture(LOW), counts=(64, 128, 256)) == pytest.approx([order, order], abs=0.25)


@pytest.mark.parametrize(("denoiser", "mean"), [(BASE, 0.4), (GUIDED, 1.0)], ids=["unguided", "guided"])
def test_3m_has_order_3_after_two_exact_steps(denoiser, mean):
    exact = gaussian(mean)
    assert min(orders(DPM3MSDE(eta=0.0), denoiser, exact(LOW), exact)) > 2.8
    own = orders(DPM3MSDE(eta=0.0), denoiser, exact(LOW))
    assert max(own) < 2.3  # the error of its own first steps, of order 1 and 2, remains


def test_3m_has_order_3_on_a_mixture_after_two_exact_steps():
    assert min(orders(DPM3MSDE(eta=0.0), Mixture(), mixture(LOW), mixture, counts=(64, 128))) > 2.7


@pytest.mark.parametrize(
    ("sampler", "order"), [(DDIM(eta=0.5), 1), (DPM2MSDE(eta=0.5), 2), (DPM2MSDE(eta=0.5, solver="heun"), 2)]
)
def test_the_mean_of_a_stochastic_step_has_its_order(sampler, order):
    eta = sampler.eta**2 if isinstance(sampler, DDIM) else sampler.eta  # in the limit of small steps
    expected = gaussian(0.4, eta)(LOW)
    assert orders(sampler, BASE, expected, counts=(64, 128, 256)) == pytest.approx([order, order], abs=0.15)


def test_the_mean_of_a_3m_step_has_order_3_after_two_exact_steps():
    exact = gaussian(0.4, 0.5)
    assert min(orders(DPM3MSDE(eta=0.5), BASE, exact(LOW), exact, (64, 128, 256))) > 2.8


@pytest.mark.parametrize("sampler", [DDIM(eta=1.0), DPM2MSDE(), DPM2MSDE(solver="heun"), DPM3MSDE()])
def test_the_mean_of_the_reverse_diffusion_of_a_gaussian_is_exact(sampler):
    """At eta 1 a step is the posterior of the level below, whose mean is linear."""
    exact = gaussian(0.4, 1.0)
    for num_steps in (4, 32):
        torch.testing.assert_close(arrived(sampler, BASE, start(), num_steps), exact(LOW))


@pytest.mark.parametrize("sampler", [DDIM(eta=1.0), DPM2MSDE(), DPM2MSDE(eta=0.3), DPM3MSDE()])
def test_fresh_noise_makes_up_what_a_step_takes_away(sampler):
    """Of a constant answer, where noise is all that is left: the spread is that of each level."""

    class Zero(Leaf):
        def denoise(self, x, sigma, condition):
            return torch.zeros_like(x)

    streams = SampleStreams(0, range(20_000))
    walk = type(sampler)(num_steps=5, sigma_max=5.0, sigma_min=0.1, **_own(sampler))
    x = 5.0 * streams.normal((2,), "start")
    for state in walk.steps(Zero(Space((2,))), x, None, streams):
        assert float(state.x.std()) == pytest.approx(state.sigma, rel=0.02)


def test_eta_0_is_the_deterministic_solver():
    x = start(80.0)
    steps = {"num_steps": 9}
    assert torch.equal(DPM2MSDE(eta=0.0, **steps).sample(GUIDED, x), DPM2MSDE(eta=0.0, **steps).sample(GUIDED, x))
    torch.testing.assert_close(DPM2MSDE(eta=0.0, **steps).sample(GUIDED, x), DPM2M(**steps).sample(GUIDED, x))
