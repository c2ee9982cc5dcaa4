"""The drawings in the documentation are what their script draws."""

import importlib.util
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SPEC = importlib.util.spec_from_file_location("draw", IMAGES / "draw.py")
assert SPEC is not None
assert SPEC.loader is not None
draw = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(draw)


@pytest.mark.parametrize("name", draw.DRAWN)
def test_a_drawing_is_current(name: str) -> None:
    assert (IMAGES / name).read_text(encoding="utf-8") == draw.DRAWN[name](), "run python docs/images/draw.py"


def test_the_levels_are_the_samplers() -> None:
    from guideplug.testing import GaussianDenoiser
    from guideplug_edm import Heun

    grid = Heun(num_steps=18, sigma_min=0.002, sigma_max=5.0).sigmas(GaussianDenoiser())
    assert sorted(set(draw.levels()), reverse=True) == pytest.approx(grid[:-1])
