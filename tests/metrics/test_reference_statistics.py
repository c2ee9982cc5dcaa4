"""Reference statistics in both formats, and the distance that they give."""

from pathlib import Path

import numpy as np
import pytest
import torch

from guideplug.errors import UsageError
from guideplug.metrics import Gaussian, Moments, ReferenceStatistics

FOLDER = Path(__file__).with_name("reference")


def test_the_distance_of_the_reference() -> None:
    with np.load(FOLDER / "fid.npz") as arrays:
        real, fake, expected = (torch.from_numpy(arrays[name]) for name in ("real", "fake", "fid"))
    samples = Moments.of(fake[:7]).add(fake[7:200]).merge(Moments.of(fake[200:]))
    distance = Gaussian.of(samples).frechet(Gaussian.of(Moments.of(real)))
    assert distance == pytest.approx(float(expected), rel=1e-12)


def test_both_formats_are_one_set() -> None:
    pickled = ReferenceStatistics.read(FOLDER / "reference-statistics.pkl", "fid")
    arrays = ReferenceStatistics.read(FOLDER / "reference-statistics-edm1.npz", "fid")
    assert (pickled.count, arrays.count) == (400, None)
    assert torch.equal(pickled.gaussian.mean, arrays.gaussian.mean)
    assert torch.equal(pickled.gaussian.covariance, arrays.gaussian.covariance)
    other = ReferenceStatistics.read(FOLDER / "reference-statistics.pkl", "fd_dinov2")
    assert other.gaussian.mean.shape == (32,)


@pytest.mark.parametrize("end", ["npz", "pkl"])
@pytest.mark.parametrize("count", [None, 400])
def test_what_is_written_is_read(end: str, count: int | None, tmp_path: Path) -> None:
    gaussian = Gaussian(torch.arange(3.0), torch.eye(3))
    ReferenceStatistics(gaussian, count, "mine 01").write(tmp_path / f"a.{end}", "mine")
    again = ReferenceStatistics.read(tmp_path / f"a.{end}", "mine")
    assert (again.count, again.features) == (count, "mine 01")
    assert torch.equal(again.gaussian.mean, gaussian.mean)
    assert torch.equal(again.gaussian.covariance, gaussian.covariance)
    assert ReferenceStatistics.is_in(tmp_path / f"a.{end}")


def test_features_are_no_statistics() -> None:
    assert not ReferenceStatistics.is_in(FOLDER / "fid.npz")
    with pytest.raises(UsageError, match="it has no array mu"):
        ReferenceStatistics.read(FOLDER / "fid.npz", "fid")
