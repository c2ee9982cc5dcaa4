"""The kernel distance, beside its formula written out, and torchmetrics'."""

import pytest
import torch

from guideplug.metrics import kernel_distance


def points(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_of_all_points_it_is_the_formula() -> None:
    x, y = points(7, 0), points(7, 1) + 0.5

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a @ b / 5 + 1) ** 3)

    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs) / 42
    across = sum(kernel(a, b) for a in x for b in y) * 2 / 49
    distance = kernel_distance(x, y, subsets=3)
    assert distance.mean == pytest.approx(within - across, rel=1e-12)
    assert distance.deviation == pytest.approx(0, abs=1e-12)


def test_equal_distributions_are_near_zero_and_others_are_not() -> None:
    assert abs(kernel_distance(points(400, 0), points(400, 1), size=200).mean) < 0.05
    assert kernel_distance(points(400, 0), points(400, 1) + 1, size=200).mean > 1


def test_torchmetrics_agrees() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    x, y = points(30, 0), points(30, 1) + 0.5
    expected = kid.poly_mmd(x, y)
    assert kernel_distance(x, y, subsets=1).mean == pytest.approx(float(expected), rel=1e-10)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="subsets are 0"):
        kernel_distance(points(5, 0), points(5, 1), subsets=0)


@pytest.mark.parametrize(("count", "subsets"), [(90, 20), (1100, 3), (600, 20)])
def test_subsets_are_what_each_would_give_by_itself(count: int, subsets: int) -> None:
    """Whether the kernels of all points are computed once, or those of each subset; blocks of rows included."""
    x, y = points(count, 0), points(count + 30, 1) + 0.1
    size = count // 4
    generator = torch.Generator().manual_seed(5)
    alone = []
    for _ in range(subsets):
        rows = [torch.randperm(len(one), generator=generator)[:size] for one in (x, y)]
        alone.append(kernel_distance(x[rows[0]], y[rows[1]], subsets=1).mean)
    found = kernel_distance(x, y, subsets=subsets, size=size, seed=5)
    assert found.mean == pytest.approx(sum(alone) / subsets, rel=1e-9)
    assert found.deviation == pytest.approx(torch.tensor(alone).double().std(correction=0).item(), rel=1e-6)
