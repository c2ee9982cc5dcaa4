"""A mixture of Gaussians in closed form, against autograd, quadrature and the moments of its draws."""

import math

import pytest
import torch

from guideplug import SampleStreams
from guideplug_mixture import Gaussian, Gaussians, Mixture
from guideplug_mixture.data import draw_points

torch.set_num_threads(1)

LEVELS = (0.0, 0.1, 1.0, 20.0)
DENSITIES = (Gaussian().density, Mixture().density, Mixture(layout_seed=5, per_class=1, spread=0.5).density)


def points(count: int = 64) -> torch.Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("sigma", LEVELS)
def test_the_score_is_the_gradient_of_the_log_density(density: Gaussians, sigma: float) -> None:
    x = points().requires_grad_()
    (gradient,) = torch.autograd.grad(density.log_prob(x, sigma).sum(), x)
    torch.testing.assert_close(density.score(x.detach(), sigma), gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("density", DENSITIES)
def test_denoised_points_are_those_of_tweedies_formula(density: Gaussians) -> None:
    x, sigma = points(), torch.linspace(0.05, 10, 64, dtype=torch.float64)
    expected = x + sigma[:, None] ** 2 * density.score(x, sigma)
    torch.testing.assert_close(density.denoise(x, sigma), expected, rtol=1e-9, atol=1e-9)
    each = torch.cat([density.denoise(x[i : i + 1], float(sigma[i])) for i in range(64)])
    torch.testing.assert_close(density.denoise(x, sigma), each)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("sigma", [0.0, 0.7])
def test_the_density_integrates_to_one(density: Gaussians, sigma: float) -> None:
    axis = torch.linspace(-11, 11, 441, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    total = density.log_prob(grid, sigma).exp().sum() * float(axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("density", DENSITIES)
def test_draws_have_the_moments_of_the_closed_form(density: Gaussians) -> None:
    count = 40_000
    drawn, groups = draw_points(density, SampleStreams(3, range(count)), "test")
    assert drawn.dtype == torch.float32
    size = float(density.covariance().trace()) ** 0.5
    torch.testing.assert_close(drawn.double().mean(0), density.mean(), rtol=0, atol=5 * size / count**0.5)
    torch.testing.assert_close(torch.cov(drawn.double().T), density.covariance(), rtol=0, atol=0.03 * size**2)
    shares = torch.bincount(groups).double() / count
    expected = torch.zeros(len(shares), dtype=torch.float64).index_add_(0, density.groups, density.weights)
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.013)


def test_one_gaussian_is_the_textbooks() -> None:
    density = Gaussian().density
    covariance = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(density.covariance(), covariance)
    x, sigma = points(), 0.8
    exact = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance)
    torch.testing.assert_close(density.log_prob(x), exact.log_prob(x))
    linear = x @ torch.linalg.solve(covariance + sigma**2 * torch.eye(2, dtype=torch.float64), covariance)
    torch.testing.assert_close(density.denoise(x, sigma), linear)


def test_a_group_alone_is_what_the_whole_is_made_of() -> None:
    task = Mixture(shares=(0.1, 0.2, 0.3, 0.4))
    x = points()
    parts = [math.log(share) + task.density.of(label).log_prob(x, 0.3) for label, share in enumerate(task.class_shares)]
    torch.testing.assert_close(torch.stack(parts).logsumexp(0), task.density.log_prob(x, 0.3))
