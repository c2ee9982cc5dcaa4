"""Moments in one pass, the Gaussians of them, and their Fréchet distance."""

import pytest
import torch

from guideplug.metrics import Gaussian, Moments, frechet_distance


def points(count: int, width: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(count, width, dtype=torch.float64, generator=generator)
        @ torch.diag(torch.arange(1.0, width + 1).double())
        + 3
    )


@pytest.mark.parametrize("cuts", [[1], [1, 2, 3], [40], [7, 80]])
def test_batches_and_processes_merge_to_the_whole(cuts: list[int]) -> None:
    whole = points(100)
    parts = [Moments.of(part) for part in torch.tensor_split(whole, cuts)]
    merged = parts[-1]
    for part in reversed(parts[:-1]):
        merged = merged.merge(part)
    assert merged.count == 100
    assert torch.allclose(merged.mean, whole.mean(0), rtol=1e-13)
    assert torch.allclose(merged.covariance, torch.cov(whole.mT), rtol=1e-12, atol=1e-12)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    far = points(100) + 1e8
    moments = Moments.of(far[:30]).add(far[30:])
    assert torch.allclose(moments.covariance, torch.cov(far.mT), rtol=1e-6, atol=1e-6)


def test_the_distance_of_moments_is_that_of_the_points() -> None:
    samples, true = points(50), points(60, seed=1) * 1.3
    distance = Gaussian.of(Moments.of(samples)).frechet(Gaussian.of(Moments.of(true)))
    assert distance == pytest.approx(frechet_distance(samples, true), rel=1e-12)


def test_singular_covariances_of_fewer_points_than_columns() -> None:
    samples, true = points(20, 40), points(30, 40, seed=1)
    distance = Gaussian.of(Moments.of(samples)).frechet(Gaussian.of(Moments.of(true)))
    assert distance == pytest.approx(frechet_distance(samples, true), rel=1e-12)  # roots of rounding would cost 1e-6


def test_torchmetrics_agrees() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")

    class Same(torch.nn.Module):
        num_features = 6

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    samples, true = points(200), points(300, seed=1) * 1.1
    metric = fid.FrechetInceptionDistance(feature=Same(), input_img_size=(6,))
    metric.set_dtype(torch.float64)
    metric.update(true, real=True)
    metric.update(samples, real=False)
    distance = Gaussian.of(Moments.of(samples)).frechet(Gaussian.of(Moments.of(true)))
    assert distance == pytest.approx(float(metric.compute()), rel=1e-10)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="6 and of 3 columns"):
        Moments.of(points(5)).merge(Moments.of(points(5, 3)))
    with pytest.raises(ValueError, match="no covariance"):
        _ = Moments.of(points(1)).covariance
    with pytest.raises(ValueError, match="not finite"):
        Moments.of(torch.full((2, 2), torch.nan))
    with pytest.raises(ValueError, match="give \\(D,\\) and \\(D, D\\)"):
        Gaussian(torch.zeros(3), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="have no distance"):
        Gaussian(torch.zeros(3), torch.eye(3)).frechet(Gaussian(torch.zeros(2), torch.eye(2)))


@pytest.mark.parametrize("least", [1.0, 1e-6, 1e-10, 1e-13, 0.0])
def test_covariances_that_commute_have_the_distance_of_their_deviations(least: float) -> None:
    """However near to singular: |m - m'|^2 + sum (s_i - s'_i)^2 in common axes."""
    generator = torch.Generator().manual_seed(3)
    axes = torch.linalg.qr(torch.randn(20, 20, dtype=torch.float64, generator=generator)).Q
    one, other = (torch.logspace(0, 2, 20, dtype=torch.float64) * scale for scale in (1, 3))
    one[0] = least
    mean = torch.linspace(0, 1, 20, dtype=torch.float64)
    first, second = (Gaussian(m, (axes * v) @ axes.mT) for m, v in ((0 * mean, one), (mean, other)))
    expected = float(mean.square().sum() + (one.sqrt() - other.sqrt()).square().sum())
    assert first.frechet(second) == pytest.approx(expected, rel=1e-7 if 0 < least < 1e-9 else 1e-11)
    assert second.frechet(first) == pytest.approx(first.frechet(second), rel=1e-11)
    assert first.frechet(first) == pytest.approx(0, abs=1e-11)
