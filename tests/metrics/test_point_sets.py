"""Laws of every measure of two sets of points: the order of rows, equal sets, ranges, and what is refused."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import guideplug.metrics
from guideplug.metrics import (
    density_coverage,
    energy_distance,
    frechet_distance,
    kernel_distance,
    nearest_neighbours,
    neighbour_balls,
    precision_recall,
    sliced_wasserstein,
    wasserstein,
)

torch.set_num_threads(1)

Measure = Callable[[Tensor, Tensor], Any]
LEAST: Mapping[Measure, int] = {
    density_coverage: 6,
    energy_distance: 2,
    frechet_distance: 2,
    kernel_distance: 2,
    nearest_neighbours: 1,
    neighbour_balls: 6,
    precision_recall: 6,
    sliced_wasserstein: 1,
    wasserstein: 1,
}
"""Every measure of two sets, and the rows that it needs of each."""
NUMBERS: Mapping[str, Callable[[Tensor, Tensor], float]] = {
    "precision": lambda a, b: precision_recall(a, b).precision,
    "recall": lambda a, b: precision_recall(a, b).recall,
    "density": lambda a, b: density_coverage(a, b).density,
    "coverage": lambda a, b: density_coverage(a, b).coverage,
    "energy": energy_distance,
    "frechet": frechet_distance,
    "sliced": sliced_wasserstein,
    "wasserstein": wasserstein,
    "nearest": lambda a, b: float(nearest_neighbours(a, b).distances.mean()),
}
SHARES = {"precision", "recall", "coverage"}
DISTANCES = {"frechet", "sliced", "wasserstein"}
SYMMETRIC = {"energy", "frechet", "sliced", "wasserstein"}
SCALE = {"energy": 1, "frechet": 2, "sliced": 1, "wasserstein": 1, "nearest": 1} | dict.fromkeys(
    SHARES | {"density"}, 0
)
"""Which power of the unit of the points each is in."""

measures = pytest.mark.parametrize("measure", LEAST, ids=lambda measure: measure.__name__)
names = pytest.mark.parametrize("name", NUMBERS)
sets = given(seed=st.integers(0, 2**31), rows=st.integers(8, 40), others=st.integers(8, 40), width=st.integers(1, 5))
few = settings(max_examples=25, deadline=None)


def points(seed: int, rows: int, width: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_measure_of_two_sets_is_here() -> None:
    public = {name: getattr(guideplug.metrics, name) for name in guideplug.metrics.__all__}
    two_sets = {
        value
        for name, value in public.items()
        if inspect.isfunction(value)
        and list(inspect.signature(value).parameters)[:2] == ["samples", "true"]
        and not name.startswith("resampled_")
    }
    assert two_sets == LEAST.keys()


@names
@few
@sets
def test_the_order_of_rows_does_not_matter(name: str, seed: int, rows: int, others: int, width: int) -> None:
    a, b = points(seed, rows, width), 1.5 * points(seed + 1, others, width) + 0.5
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    other = torch.randperm(others, generator=torch.Generator().manual_seed(seed + 1))
    assert NUMBERS[name](a[order], b[other]) == pytest.approx(NUMBERS[name](a, b), rel=1e-6, abs=1e-9)


@names
@few
@sets
def test_ranges_and_units(name: str, seed: int, rows: int, others: int, width: int) -> None:
    a, b = points(seed, rows, width), 1.5 * points(seed + 1, others, width) + 0.5
    value = NUMBERS[name](a, b)
    assert math.isfinite(value)
    assert value >= 0 or name == "energy"
    assert value <= 1 or name not in SHARES
    assert NUMBERS[name](4 * a, 4 * b) == pytest.approx(4 ** SCALE[name] * value, rel=1e-6, abs=1e-9)
    assert NUMBERS[name](a + 3, b + 3) == pytest.approx(value, rel=1e-5, abs=1e-6)
    if name in SYMMETRIC:
        assert NUMBERS[name](b, a) == pytest.approx(value, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", sorted(DISTANCES | {"nearest"}))
@few
@sets
def test_equal_sets_are_at_distance_zero_and_moved_ones_are_not(
    name: str, seed: int, rows: int, others: int, width: int
) -> None:
    a = points(seed, rows, width)
    shuffled = a[torch.randperm(rows, generator=torch.Generator().manual_seed(seed))]
    assert NUMBERS[name](a, shuffled) == pytest.approx(0, abs=1e-6)
    shift = torch.zeros(width, dtype=torch.float64)
    shift[0] = 100.0
    assert NUMBERS[name](a + shift, shuffled) > 1


@few
@sets
def test_equal_sets_are_fully_precise_and_covered(seed: int, rows: int, others: int, width: int) -> None:
    a = points(seed, rows, width)
    assert precision_recall(a, a) == (1, 1)
    assert density_coverage(a, a) == pytest.approx((6 / 5, 1))  # every ball holds its own centre and its 5 neighbours
    assert precision_recall(a + 1000, a) == (0, 0)
    assert density_coverage(a + 1000, a) == (0, 0)


@measures
@pytest.mark.parametrize("side", ["samples", "true"])
def test_bad_points_are_refused(measure: Measure, side: str) -> None:
    good, least = points(0, 20, 3), LEAST[measure]
    torn = good.clone()
    torn[7, 1] = math.nan
    cases: list[tuple[Any, type[Exception], str]] = [
        (good.numpy(), TypeError, f"{side} is of type ndarray: give a torch tensor"),
        (good.reshape(20, 1, 3), ValueError, rf"{side} has shape \(20, 1, 3\): give a matrix .* {side}.flatten\(1\)"),
        (good[:, 0], ValueError, rf"{side} has shape \(20,\): give a matrix"),
        (good[:, :0], ValueError, rf"{side} has shape \(20, 0\): give a matrix"),
        (good[: least - 1], ValueError, f"{side} has shape .*, {least - 1} rows: give at least {least}"),
        *(
            (good.to(dtype), ValueError, rf"{side} is of {dtype}: give float32 or float64, as {side}.float\(\)")
            for dtype in (torch.int64, torch.float16, torch.bfloat16)
        ),
        (torn, ValueError, f"{side}: a value is not finite, first in the point of row 7; where points are features"),
        (
            torn.nan_to_num(nan=math.inf),
            ValueError,
            f"{side}: a value is not finite, first in the point of row 7; where points are features",
        ),
        (good[:, :2], ValueError, "samples has . columns and true .: give both the same columns"),
        (good.float(), ValueError, "samples is of torch.float.. and true of torch.float..: give both the same"),
    ]
    for bad, kind, message in cases:
        with pytest.raises(kind, match=message) as error:
            measure(*((bad, good) if side == "samples" else (good, bad)))
        assert "\n" not in str(error.value)
    measure(good[:least], good[:least])


@measures
def test_points_are_left_as_they_are(measure: Measure) -> None:
    a, b = points(0, 20, 3), points(1, 20, 3)
    kept = a.clone(), b.clone()
    result = measure(a.requires_grad_(), b)
    parts = result if isinstance(result, tuple) else vars(result).values() if hasattr(result, "__dict__") else [result]
    assert not any(isinstance(part, Tensor) and part.requires_grad for part in parts)
    assert torch.equal(a.detach(), kept[0])
    assert torch.equal(b, kept[1])


@pytest.mark.parametrize("measure", [neighbour_balls, precision_recall, density_coverage, nearest_neighbours])
def test_a_bad_k_is_refused(measure: Callable[..., Any]) -> None:
    good = points(0, 9, 2)
    with pytest.raises(ValueError, match="k is 0: give at least 1"):
        measure(good, good, k=0)
    with pytest.raises(ValueError, match=r"k is 10: .* at most the 9 rows of true|9 rows: give at least 11"):
        measure(good, good, k=10)


@names
def test_single_precision_is_near_double(name: str) -> None:
    a, b = points(0, 60, 3), 1.5 * points(1, 50, 3) + 0.5
    assert NUMBERS[name](a.float(), b.float()) == pytest.approx(NUMBERS[name](a, b), rel=1e-4)
