"""The energy distance beside its definition over all pairs, and in expectation."""

import numpy as np
import pytest
import torch

from guideplug.metrics import energy_distance

torch.set_num_threads(1)


@pytest.mark.parametrize(("rows", "others"), [(7, 9), (2, 2), (60, 40)])
@pytest.mark.parametrize("mode", ["use_mm_for_euclid_dist_if_necessary", "donot_use_mm_for_euclid_dist"])
def test_it_is_the_mean_over_pairs_of_different_points(rows: int, others: int, mode: str) -> None:
    generator = torch.Generator().manual_seed(rows)
    a = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    b = 2 * torch.randn(others, 3, generator=generator, dtype=torch.float64) + 1

    def mean(left: torch.Tensor, right: torch.Tensor, skip: bool) -> float:
        pairs = [float((x - y).norm()) for i, x in enumerate(left) for j, y in enumerate(right) if not skip or i != j]
        return float(np.mean(pairs))

    expected = 2 * mean(a, b, False) - mean(a, a, True) - mean(b, b, True)
    assert energy_distance(a, b, compute_mode=mode) == pytest.approx(expected, rel=1e-9)


def test_it_is_zero_in_expectation_for_equal_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    values = np.array(
        [energy_distance(*(torch.randn(40, 2, generator=generator) for _ in range(2))) for _ in range(1500)]
    )
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))
    assert float(values.std()) > 0.01  # biased by the pairs of a point with itself it would be 0.09 on average
    a = torch.randn(40, 2, generator=generator)
    assert energy_distance(a, a + 5) > 5
