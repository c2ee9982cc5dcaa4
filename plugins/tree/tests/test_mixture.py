import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from guideplug_tree.mixture import TreeClasses, TreeMixture, tree_mixture

DOUBLE = torch.float64
LEVELS = (0.002, 0.03, 0.4, 5.0)


def log_components(mixture: TreeMixture, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """The textbook sum: log of weight times density (B, M), and Σᵢ(σ)⁻¹(μᵢ − x) (B, M, 2)."""
    covariances = mixture.component_covariances + sigma.square()[:, None, None, None] * torch.eye(2, dtype=x.dtype)
    difference = mixture.component_means - x[:, None]
    solved = torch.linalg.solve(covariances, difference[..., None])[..., 0]
    exponents = -0.5 * (difference * solved).sum(-1) - 0.5 * covariances.det().log()
    return mixture.component_weights.log() + exponents - math.log(2 * math.pi), solved


def naive(mixture: TreeMixture, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Score (B, 2) and log density (B,), in float64."""
    logs, solved = log_components(mixture.to(dtype=DOUBLE), x.double(), sigma.double())
    return (logs.softmax(1)[..., None] * solved).sum(1), logs.logsumexp(1)


def noisy_points(mixture: TreeMixture, sigma: Tensor, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    clean = mixture.sample(len(sigma), generator)
    return clean + sigma[:, None].to(clean) * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)


def moments(mixture: TreeMixture) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate, from the components."""
    mixture = mixture.to(dtype=DOUBLE)
    weights, means = mixture.component_weights[:, None], mixture.component_means
    mean = (weights * means).sum(0)
    second = (weights * (means.square() + mixture.component_covariances.diagonal(dim1=1, dim2=2))).sum(0)
    return mean, (second - mean.square()).sqrt()


def test_golden_geometry() -> None:
    a, both = tree_mixture("A"), tree_mixture("AB")
    assert (a.num_components, both.num_components) == (1016, 2032)
    assert (a.num_branches, both.num_branches) == (127, 254)
    assert_close(a.component_means[:2], torch.tensor([[0.02134411, 0.06333431], [0.05188869, 0.09552518]]))
    sigma0 = torch.tensor([[3.46760e-4, 1.03578e-4], [1.03578e-4, 3.85146e-4]])
    assert_close(a.component_covariances[0], sigma0, rtol=5e-6, atol=0)
    assert_close(a.component_weights[0] * 8, torch.tensor(0.03214953 * 8))
    for mixture, mean, std in ((a, (0.372, 0.365), (0.333, 0.342)), (both, (0, 0), (0.5, 0.5))):
        found_mean, found_std = moments(mixture)
        assert_close(found_mean, torch.tensor(mean, dtype=DOUBLE), rtol=0, atol=3e-3)
        assert_close(found_std, torch.tensor(std, dtype=DOUBLE), rtol=0, atol=1e-3)


def test_golden_values_of_class_a() -> None:
    a = tree_mixture("A")
    assert_close(a.score(torch.zeros(1, 2), 0.5), torch.tensor([[0.989102, 1.070145]]), rtol=2e-6, atol=0)
    point = torch.full((1, 2), 0.3)
    assert_close(a.log_prob(point), torch.tensor([2.069371]), rtol=0, atol=3e-6)
    assert_close(a.log_prob(point, 0.5), torch.tensor([-0.814281]), rtol=0, atol=3e-6)


def test_golden_densities_of_true_samples() -> None:
    a = tree_mixture("A")
    log_prob = a.log_prob(a.sample(40_000, torch.Generator().manual_seed(0)))
    assert 2.8 < log_prob.max() < 2.92
    assert log_prob.mean() == pytest.approx(1.36, abs=0.025)
    assert (log_prob >= -1.597).double().mean() == pytest.approx(0.9876, abs=0.003)
    assert (log_prob >= -2.12).double().mean() == pytest.approx(0.9935, abs=0.002)


@pytest.mark.parametrize("classes", ["A", "B", "AB"])
def test_components_belong_to_their_branches(classes: TreeClasses) -> None:
    mixture = tree_mixture(classes)
    trees = len(classes)
    assert mixture.component_weights.sum() == pytest.approx(1, abs=1e-6)
    assert torch.equal(mixture.component_branches, torch.arange(127 * trees).repeat_interleave(8))
    assert torch.bincount(mixture.component_depths).tolist() == [8 * trees * 2**depth for depth in range(7)]
    assert mixture.branch_classes == tuple(name for name in classes for _ in range(127))


def test_both_classes_share_the_origin_and_nothing_else() -> None:
    a, b, both = (tree_mixture(classes) for classes in ("A", "B", "AB"))
    assert torch.equal(both.component_means, torch.cat([a.component_means, b.component_means]))
    x = noisy_points(both, torch.full((50,), 0.2)).double()
    share = both.component_weights[:1016].double().sum()
    parts = [m.to(dtype=DOUBLE).log_prob(x, 0.2) + w.log() for m, w in ((a, share), (b, 1 - share))]
    assert_close(both.to(dtype=DOUBLE).log_prob(x, 0.2), torch.logaddexp(*parts), rtol=0, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    log_sigma=st.floats(math.log(1e-3), math.log(100)),
    spread=st.sampled_from([0.0, 1.0, 5.0]),
    seed=st.integers(0, 10**6),
    classes=st.sampled_from(["A", "B", "AB"]),
)
def test_fast_sum_is_the_textbook_sum(log_sigma: float, spread: float, seed: int, classes: TreeClasses) -> None:
    mixture = tree_mixture(classes).to(dtype=DOUBLE)
    generator = torch.Generator().manual_seed(seed)
    sigma = (log_sigma + torch.randn(5, generator=generator, dtype=DOUBLE)).exp()
    x = noisy_points(mixture, sigma, seed) + spread * torch.randn(5, 2, generator=generator, dtype=DOUBLE)
    score, log_prob = naive(mixture, x, sigma)
    assert_close(mixture.score(x, sigma), score, rtol=1e-8, atol=1e-8)
    assert_close(mixture.log_prob(x, sigma), log_prob, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sigma", LEVELS)
def test_single_precision_is_good_to_a_hundred_thousandth_of_sigma(sigma: float) -> None:
    a = tree_mixture("A")
    levels = torch.full((500,), sigma)
    x = noisy_points(a, levels)
    score, log_prob = naive(a, x, levels)
    assert ((a.score(x, levels) - score).norm(dim=1) * sigma).max() < 1.5e-5
    assert (a.log_prob(x, levels) - log_prob).abs().max() < 2e-5


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("distance", [3.0, 40.0, 1e4])
def test_far_away_points(distance: float, dtype: torch.dtype) -> None:
    a = tree_mixture("A").to(dtype=dtype)
    angles = torch.arange(24, dtype=DOUBLE) * (2 * math.pi / 24) + 0.1
    x = (distance * torch.stack([angles.cos(), angles.sin()], 1)).to(dtype)
    for sigma in (0.0, *LEVELS):
        score, log_prob = naive(a, x, torch.full((24,), sigma, dtype=dtype))
        error = (a.score(x, sigma) - score).norm(dim=1) / score.norm(dim=1)
        assert error.max() < (1e-4 if dtype == torch.float32 else 1e-11)
        assert_close(a.log_prob(x, sigma).double(), log_prob, rtol=1e-5 if dtype == torch.float32 else 1e-11, atol=0)


def test_points_beyond_the_end_of_a_sharp_branch() -> None:
    """Where S(r) is smallest and the floor of r is reached."""
    a = tree_mixture("A")
    directions = a.component_means[7::8] - a.component_means[0::8]
    x = torch.cat([a.component_means[7::8] + reach * directions for reach in (0.05, 0.5, 4)])
    score, log_prob = naive(a, x, torch.zeros(len(x)))
    assert ((a.score(x, 0.0) - score).norm(dim=1) / (100 + score.norm(dim=1))).max() < 1e-4
    assert_close(a.log_prob(x).double(), log_prob, rtol=1e-5, atol=2e-5)


def test_no_noise_is_the_limit_of_little_noise_and_much_noise_is_a_gaussian() -> None:
    a = tree_mixture("A").to(dtype=DOUBLE)
    x = a.sample(20, torch.Generator().manual_seed(0))
    assert_close(a.log_prob(x), a.log_prob(x, 1e-7), rtol=0, atol=1e-6)
    mean, std = moments(a)
    assert_close(a.denoise(x * 100, 1e4), mean.expand(20, 2), rtol=0, atol=1e-3)
    assert (std > 0.3).all()


def test_score_is_the_slope_of_the_log_density() -> None:
    a, step = tree_mixture("A").to(dtype=DOUBLE), 1e-5
    sigma = torch.linspace(0.05, 2, 12, dtype=DOUBLE)
    x = noisy_points(a, sigma)
    for axis, direction in enumerate(torch.eye(2, dtype=DOUBLE)):
        rise = a.log_prob(x + step * direction, sigma) - a.log_prob(x - step * direction, sigma)
        assert_close(a.score(x, sigma)[:, axis], rise / (2 * step), rtol=1e-5, atol=1e-6)


def test_denoised_is_x_plus_variance_times_score() -> None:
    a = tree_mixture("A")
    sigma = torch.linspace(0.01, 2, 30)
    x = noisy_points(a, sigma)
    assert_close(a.denoise(x, sigma), x + sigma.square()[:, None] * a.score(x, sigma))
    assert_close(a.denoise(x, 0.3), x + 0.09 * a.score(x, 0.3))


def test_one_level_a_point_is_one_level_for_all() -> None:
    a = tree_mixture("A")
    x = noisy_points(a, torch.full((3000,), 0.1))  # more rows than a block, and not a multiple of it
    levels = torch.full((3000,), 0.1)
    assert_close(a.score(x, levels), a.score(x, 0.1), rtol=1e-6, atol=1e-5)
    assert torch.equal(a.score(x, torch.tensor(0.1)), a.score(x, 0.1))
    assert_close(a.log_prob(x, levels), a.log_prob(x, 0.1), rtol=1e-6, atol=1e-6)
    mixed = torch.linspace(0.01, 3, 3000)
    last = a.score(x[2990:], mixed[2990:])
    assert_close(a.score(x, mixed)[2990:], last, rtol=1e-5, atol=1e-5)


def test_samples_have_the_mixtures_moments_and_occupancies() -> None:
    a = tree_mixture("A")
    x = a.sample(200_000, torch.Generator().manual_seed(3))
    mean, std = moments(a)
    assert_close(x.double().mean(0), mean, rtol=0, atol=4e-3)
    assert_close(x.double().std(0), std, rtol=0, atol=3e-3)


def test_base_draws_determine_the_samples() -> None:
    a = tree_mixture("A")
    generator = torch.Generator().manual_seed(0)
    uniform, normal = torch.rand(500, generator=generator), torch.randn(500, 2, generator=generator)
    x = a.sample_from(uniform, normal)
    assert torch.equal(a.sample_from(uniform[100:200], normal[100:200]), x[100:200])
    ends = torch.tensor([0.0, 1 - 2**-24, 1.0])
    centres = a.sample_from(ends, torch.zeros(3, 2))
    assert torch.equal(centres, a.component_means[[0, 1015, 1015]])
    first = a.to(dtype=DOUBLE).component_weights[:1]
    edges = torch.cat([first.nextafter(torch.zeros(1, dtype=DOUBLE)), first])
    assert torch.equal(a.sample_from(edges, torch.zeros(2, 2)), a.component_means[:2])
    for mixture in (tree_mixture("B"), tree_mixture("AB"), tree_mixture("A", 5)):
        assert torch.equal(mixture.sample_from(torch.ones(1), torch.zeros(1, 2)), mixture.component_means[-1:])
    same = [a.sample(64, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])


def test_one_components_samples_have_its_covariance() -> None:
    a = tree_mixture("A").to(dtype=DOUBLE)
    normal = torch.randn(50_000, 2, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    x = a.sample_from(torch.zeros(50_000), normal)
    assert_close(torch.cov(x.T), a.component_covariances[0], rtol=0.05, atol=1e-6)


def test_assignment_is_the_likeliest_component() -> None:
    a = tree_mixture("A").to(dtype=DOUBLE)
    sigma = torch.full((300,), 0.02, dtype=DOUBLE)
    x = noisy_points(a, sigma)
    logs, _ = log_components(a, x, sigma)
    assert torch.equal(a.assign(x, 0.02), logs.argmax(1))


@pytest.mark.parametrize("classes", ["A", "AB"])
def test_the_outer_branches_alone(classes: TreeClasses) -> None:
    whole, outer = tree_mixture(classes), tree_mixture(classes, 5)
    keep = whole.component_depths >= 5
    assert outer.num_branches == 96 * len(classes)
    assert torch.equal(outer.component_means, whole.component_means[keep])
    assert_close(outer.component_weights, whole.component_weights[keep] / whole.component_weights[keep].sum())
    levels = torch.full((100,), 0.1)
    x = noisy_points(outer, levels)
    assert_close(outer.score(x, levels).double(), naive(outer, x, levels)[0], rtol=1e-4, atol=1e-4)


def test_no_graph_is_built() -> None:
    a = tree_mixture("A")
    x, sigma = torch.zeros(4, 2, requires_grad=True), torch.ones(4, requires_grad=True)
    for result in (a.score(x, sigma), a.log_prob(x, sigma), a.denoise(x, sigma)):
        assert not result.requires_grad


def test_other_precisions_are_rounded_anew_and_kept() -> None:
    a = tree_mixture("A")
    double = a.to(dtype=DOUBLE)
    assert (a.to("cpu", torch.float32), tree_mixture("A")) == (a, a)
    assert a.to(dtype=DOUBLE) is double
    assert double.to(dtype=torch.float32) is a
    assert not torch.equal(double.component_means, a.component_means.double())
    np.testing.assert_allclose(double.component_means, a.component_means, rtol=1e-6, atol=1e-8)


def test_empty_batches_pass_through() -> None:
    a, none = tree_mixture("A"), torch.empty(0, 2)
    assert a.score(none, 0.1).shape == (0, 2)
    assert a.log_prob(none, torch.empty(0)).shape == (0,)
    assert a.sample(0, torch.Generator()).shape == (0, 2)
    assert a.assign(none).shape == (0,)


def test_refusals() -> None:
    a = tree_mixture("A")
    x = torch.zeros(3, 2)
    with pytest.raises(ValueError, match=r"x \(B, 2\)"):
        a.score(torch.zeros(3, 3), 0.1)
    with pytest.raises(ValueError, match="float64"):
        a.score(x.double(), 0.1)
    with pytest.raises(ValueError, match=r"sigma.*\(3,\)"):
        a.score(x, torch.ones(2))
    with pytest.raises(ValueError, match="float16"):
        a.to(dtype=torch.float16)
    with pytest.raises(ValueError, match="classes"):
        tree_mixture("C")
    with pytest.raises(ValueError, match="min_depth"):
        tree_mixture("A", 7)
    with pytest.raises(ValueError, match="normal"):
        a.sample_from(torch.zeros(3), torch.zeros(2, 2))
