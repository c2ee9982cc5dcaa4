"""The losses: the textbook's double loop, closed forms, and the step that they are of."""

import itertools

import pytest
import torch
from torch import Tensor

from guideplug import TrainingStreams, tally
from guideplug.testing import GaussianDenoiser
from guideplug_learned.consistency import Particles, paired, particles
from guideplug_learned.levels import draw_levels, sigma_at

LEVELS = [(2.0, 1.0), (0.7, 0.5), (5.0, 0.1), (0.3, 0.002)]


def random_particles(n: int = 3, m: int = 4, d: int = 5) -> Particles:
    generator = torch.Generator().manual_seed(0)
    u, v, noisy, clean, away = torch.randn(5, n, m, d, generator=generator, dtype=torch.float64)
    return Particles(u, v, noisy, clean, away, torch.rand(n, generator=generator, dtype=torch.float64) + 0.5)


def textbook(found: Particles, omega: Tensor, beta: float, diversity: float) -> Tensor:
    """L by loops over i, j and k."""
    n, m, _ = found.u.shape
    total = torch.zeros((), dtype=torch.float64)
    for i in range(n):
        steps = [found.u[i, j] + omega[i] * found.v[i, j] for j in range(m)]
        cross = sum((steps[j] - found.noisy[i, k]).norm() ** beta for j, k in itertools.product(range(m), repeat=2))
        own = sum((steps[j] - steps[k]).norm() ** beta for j in range(m) for k in range(m) if j != k)
        one = cross / m**2 - (diversity * own / (2 * m * (m - 1)) if diversity else 0.0)
        total = total + one / found.scale[i] ** beta
    return total / n


@pytest.mark.parametrize("diversity", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("beta", [0.1, 1.0, 1.9, 2.0])
def test_the_loss_and_its_gradient_are_those_of_the_double_loop(beta: float, diversity: float) -> None:
    found = random_particles()
    omega = torch.tensor([0.0, 0.7, 2.5], dtype=torch.float64, requires_grad=True)
    fast, slow = found.loss(omega, beta, diversity), textbook(found, omega, beta, diversity)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(*(torch.autograd.grad(loss, omega)[0] for loss in (fast, slow)))


def test_with_squares_and_lambda_1_only_means_count() -> None:
    """|mean - mean|^2, and of the spreads what m particles leave of them."""
    found, omega = random_particles(m=6), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    steps = found.u + omega[:, None, None] * found.v
    apart = (steps.mean(1) - found.noisy.mean(1)).square().sum(1)
    left = found.noisy.var(1).sum(1) * 5 / 6 - steps.var(1).sum(1) / 6
    torch.testing.assert_close(found.loss(omega, 2.0, 1.0), ((apart + left) / found.scale**2).mean())


def test_one_particle_is_enough_without_diversity() -> None:
    found, omega = random_particles(m=1), torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(found.loss(omega, 1.0, 0.0), textbook(found, omega, 1.0, 0.0))


def test_equal_particles_have_a_finite_gradient() -> None:
    found = random_particles()
    found = Particles(
        found.noisy, 0 * found.v, found.noisy[:, :1].expand_as(found.u), found.clean, found.away, found.scale
    )
    omega = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(found.loss(omega, 1.0, 1.0), omega)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize(("t", "s"), LEVELS)
def test_the_step_is_the_papers_in_its_own_scale(t: float, s: float) -> None:
    """z = alpha x: z~_s = alpha_s D + (sigma_s / sigma_t) (z_t - alpha_t D), variance preserved."""
    alphas = [1 / (1 + level**2) ** 0.5 for level in (t, s)]
    sigmas = [alpha * level for alpha, level in zip(alphas, (t, s), strict=True)]
    base, guide = GaussianDenoiser(0.1, 0.5), GaussianDenoiser(0.4, 0.8)
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(3, 2, generator=generator)
    noise, other = torch.randn(2, 3, 4, 2, generator=generator)
    levels = torch.full((3,), t), torch.full((3,), s)
    found = particles(paired(base, guide), clean, None, *levels, noise, other)
    for omega in (0.0, 1.5):
        z = (alphas[0] * clean[:, None] + sigmas[0] * noise).reshape(-1, 2)
        guided = (base + omega * (base - guide))(z / alphas[0], t)
        step = alphas[1] * guided + sigmas[1] / sigmas[0] * (z - alphas[0] * guided)
        torch.testing.assert_close((found.u + omega * found.v).reshape(-1, 2), step / alphas[1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.predicted(torch.full((3,), omega)).reshape(-1, 2), guided)
    compared = alphas[1] * clean[:, None] + sigmas[1] * other
    torch.testing.assert_close(found.noisy, compared / alphas[1])
    torch.testing.assert_close(found.scale, torch.full((3,), (0.5**2 + s**2) ** 0.5))


def test_each_network_is_called_once_and_without_gradients() -> None:
    base, guide = GaussianDenoiser(0.1, conditioning="labels"), GaussianDenoiser(0.4, conditioning="labels")
    clean, labels = torch.zeros(3, 2), torch.tensor([0, 1, 2])
    noise = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    sigma, toward = torch.ones(3), torch.full((3,), 0.5)
    with tally() as counts:
        found = particles(paired(base, guide), clean, labels, sigma, toward, noise, noise)
    assert [counts[network].calls for network in (base, guide)] == [1, 1]
    assert counts[base].outputs == 12
    assert not found.u.requires_grad
    with tally() as counts:
        particles(paired(base, base.unconditional()), clean, labels, sigma, toward, noise, noise)
    assert (counts[base].calls, counts[base].outputs) == (1, 24)
    alone = particles(paired(base, guide), clean[1:2], labels[1:2], sigma[:1], toward[:1], noise[1:2], noise[1:2])
    torch.testing.assert_close(alone.u, found.u[1:2])


# Levels


@pytest.mark.parametrize("gap", [0.01, 0.1, 0.9])
def test_pairs_of_levels_lie_on_the_grid_and_apart(gap: float) -> None:
    space = GaussianDenoiser().space
    sigma, toward = draw_levels(4096, space, gap, TrainingStreams(0, 0).generator("levels"))
    low, high = space.sigma_min ** (1 / 7), space.sigma_max ** (1 / 7)
    places = [(level ** (1 / 7) - low) / (high - low) for level in (toward, sigma)]
    assert float(places[0].min()) >= -1e-5
    assert float(places[1].max()) <= 1 + 1e-5
    assert float((places[1] - places[0]).min()) >= gap - 1e-5
    assert float(places[0].max()) > (1 - gap) * 0.99
    assert abs(float(places[0].mean()) - (1 - gap) / 2) < 0.02
    assert abs(float((places[1] - places[0] - gap).mean()) - (1 - gap) / 4) < 0.02


def test_the_grid_is_that_of_the_samplers() -> None:
    from guideplug import sigma_grid

    space = GaussianDenoiser().space
    grid = sigma_grid(32, space.sigma_min, space.sigma_max)[:-1]
    torch.testing.assert_close(
        sigma_at(torch.linspace(1, 0, 32, dtype=torch.float64), space), torch.tensor(grid).double()
    )
