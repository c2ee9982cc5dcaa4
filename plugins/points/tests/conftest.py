"""Files of points: two rings with a class each, made once."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 rows of two columns of very different scale, in the two classes "inner" and "outer"."""
    random = np.random.RandomState(0)
    angle, outer = random.rand(400) * 2 * np.pi, np.arange(400) % 2
    radius = 1 + outer + 0.05 * random.randn(400)
    path = tmp_path_factory.mktemp("points") / "rings.csv"
    lines = [
        f"{1000 + 100 * r * np.cos(a):.6f},{0.01 * r * np.sin(a):.8f},{('inner', 'outer')[k]}"
        for r, a, k in zip(radius, angle, outer, strict=True)
    ]
    path.write_text("\n".join(["east,north,ring", *lines]) + "\n")
    return path


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 rows of four columns, without classes."""
    path = tmp_path_factory.mktemp("points") / "cloud.npy"
    np.save(path, np.random.RandomState(1).randn(200, 4) * [1, 2, 3, 4])
    return path
