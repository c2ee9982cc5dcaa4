"""Values of rows beside samples of any shape."""

from pathlib import Path

import pytest
import torch

from guideplug import per_row


@pytest.mark.parametrize("shape", [(), (2,), (1, 4, 4), (2, 1, 3, 5)])
def test_each_row_is_multiplied_by_its_own_value(shape: tuple[int, ...]) -> None:
    x, values = torch.randn(3, *shape), torch.tensor([2.0, 0.0, -1.0])
    scaled = per_row(values, x) * x
    assert scaled.shape == x.shape
    assert all(torch.equal(row, value * one) for row, value, one in zip(scaled, values, x, strict=True))
    assert torch.equal(per_row(values[:1], x) * x, 2.0 * x)


def test_it_is_written_out_in_one_file() -> None:
    root = Path(__file__).parents[2]
    sources = [*root.glob("guideplug/**/*.py"), *root.glob("plugins/*/src/**/*.py")]
    assert [path.name for path in sources if "reshape(-1, *[1]" in path.read_text()] == ["rows.py"]
