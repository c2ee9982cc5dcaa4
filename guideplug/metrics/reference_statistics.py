"""Reference statistics of features in a file, in the two formats in use: ``.npz`` as of EDM, ``.pkl`` as of EDM2.

    .npz    arrays mu (D,) and sigma (D, D)
    .pkl    {"fid": {"mu": ..., "sigma": ...}, "fd_dinov2": {...}, "num_images": N}: several features under their keys

What is written has the count as well, and the features with the digest of their files, so that others are refused;
other programs read the rest. Pickles are read as data (`guideplug.files.checkpoints.pickled`): nothing in a file is
executed.
"""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from guideplug.errors import UsageError, brief, visible
from guideplug.files.atomic import whole_file
from guideplug.files.checkpoints.pickled import Array, read_pickle
from guideplug.files.opening import open_file
from guideplug.files.reading import read_arrays
from guideplug.metrics.gaussian import Gaussian

__all__ = ["ReferenceStatistics"]

SYMMETRIC: Final = 1e-6
"""The largest asymmetry of a covariance, and negative variance, in parts of its largest entry."""


@final
@attrs.frozen(eq=False)
class ReferenceStatistics:
    """Mean and covariance of the features of some images.

    Args:
        gaussian: the moments.
        count: of images; None where a file does not say.
        features: the features' expression, with a digest of their files; empty where a file does not say.
    """

    gaussian: Gaussian
    count: int | None = None
    features: str = ""

    @classmethod
    def is_in(cls, path: Path) -> bool:
        """Whether a file is one of statistics, by its beginning: a pickle, or an archive with ``mu``."""
        try:
            with open_file(path) as file:
                head = file.read(4)
                if head[:1] == b"\x80":
                    return True
                if head != b"PK\x03\x04":
                    return False
                file.seek(0)
                with np.load(file, allow_pickle=False) as arrays:
                    return bool({"mu", "sigma"} & set(arrays.files))
        except (OSError, ValueError, zipfile.BadZipFile):
            return False

    @classmethod
    def read(cls, path: Path, key: str) -> "ReferenceStatistics":
        """The statistics in a file.

        Args:
            path: the file.
            key: of these features, in a file of several, such as "fid".

        Raises:
            UsageError: it cannot be read, holds no statistics or those of other features, or they are none.
        """
        try:
            return cls._of_pickle(path, key) if cls._is_pickle(path) else cls._of_arrays(read_arrays(path))
        except FileNotFoundError:
            raise UsageError(f"statistics {path} do not exist: check the path") from None
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"statistics {path}: {visible(reason)}") from None

    @staticmethod
    def _is_pickle(path: Path) -> bool:
        with open_file(path) as file:
            return file.read(1) == b"\x80"

    @classmethod
    def _of_pickle(cls, path: Path, key: str) -> "ReferenceStatistics":
        tree = read_pickle(path)
        sets = {name: one for name, one in tree.items() if isinstance(one, dict)} if isinstance(tree, dict) else {}
        if isinstance(tree, dict) and "mu" in tree:
            sets = {key: tree}
        if not any("mu" in one for one in sets.values()):
            raise ValueError("it holds no statistics, which are mu and sigma")
        if key not in sets:
            raise ValueError(f"it has statistics of {', '.join(map(str, sets))}, and none of {key}")
        whole = {"count": tree.get("num_images"), **sets[key]}
        return cls._of_arrays({name: one.values if isinstance(one, Array) else one for name, one in whole.items()})

    @classmethod
    def _of_arrays(cls, arrays: Mapping[str, Any]) -> "ReferenceStatistics":
        mean, covariance = (_numbers(arrays.get(name), name) for name in ("mu", "sigma"))
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(f"mu has shape {mean.shape} and sigma {covariance.shape}: (D,) and (D, D) are needed")
        gaussian = Gaussian(torch.from_numpy(mean), torch.from_numpy(covariance))
        scale = float(gaussian.covariance.abs().max())
        if float((gaussian.covariance - gaussian.covariance.mT).abs().max()) > SYMMETRIC * scale:
            raise ValueError("sigma is not symmetric, so it is no covariance")
        if float(gaussian.covariance.diagonal().min()) < -SYMMETRIC * scale:
            raise ValueError("sigma has a variance below 0, so it is no covariance")
        return cls(gaussian, _count(arrays.get("count")), str(arrays.get("features", "")))

    def write(self, path: Path, key: str) -> None:
        """Write a file in the format of its name's end; there must be none.

        Args:
            path: ends in ``.npz`` or ``.pkl``.
            key: of these features, in a ``.pkl``.

        Raises:
            WriteError: the system refuses.
        """
        arrays: dict[str, Any] = {"mu": self.gaussian.mean.numpy(), "sigma": self.gaussian.covariance.numpy()}
        with whole_file(path) as file:
            if path.suffix == ".npz":
                content = io.BytesIO()
                if self.count is not None:
                    arrays["count"] = np.int64(self.count)
                np.savez(content, **arrays, features=np.array(self.features))
                file.write(content.getbuffer())
            else:
                pickle.dump({key: {**arrays, "features": self.features}, "num_images": self.count}, file, protocol=4)


def _numbers(value: Any, name: str) -> NDArray[np.float64]:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise ValueError(f"it has no array {name}: statistics are mu and sigma, of floats")
    return value.astype(np.float64)


def _count(value: Any) -> int | None:
    if value is None:
        return None
    number = value.item() if isinstance(value, np.ndarray | np.generic) and np.size(value) == 1 else value
    if not isinstance(number, int | float) or number != number // 1:
        raise ValueError(f"its count of images is {brief(repr(value))}: a whole number is needed")
    if number < 2:
        raise ValueError(f"it is of {number:g} images: at least 2 have a covariance")
    return int(number)
