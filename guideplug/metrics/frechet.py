"""The Fréchet distance: how far apart two Gaussians are, fitted to two sets of points or given by their moments.

    d^2 = |m - m'|^2 + tr(S + S' - 2 (S^1/2 S' S^1/2)^1/2)

The 2-Wasserstein distance between N(m, S) and N(m', S') is d. Sources: D. C. Dowson and B. V. Landau 1982, "The
Fréchet Distance between Multivariate Normal Distributions", doi:10.1016/0047-259X(82)90077-X; on the features of a
network, where it is known as FID with those of Inception: M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler and
S. Hochreiter 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
arXiv:1706.08500, equation 6. Cost: O((N + M) D^2 + D^3) time.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guideplug.metrics.point_sets import check_pair

__all__ = ["frechet_distance", "gaussian_wasserstein"]


def frechet_distance(samples: Tensor, true: Tensor) -> float:
    """d^2, the squared Fréchet distance of the Gaussians with two sets' means and covariances.

    With centred rows A and B, S = A^T A and S' = B^T B, the last trace is the nuclear norm of A B^T; it is computed as
    that of R R'^T with R from a QR decomposition. No covariance is formed, so singular ones (constant features, fewer
    rows than columns) need no regularisation. In float64, on the CPU.

    Args:
        samples: (N, D), N >= 2.
        true: (M, D), M >= 2, of the same dtype and device.

    Returns:
        d^2 >= 0, in squared units of the points; symmetric; 0 for equal sets, up to rounding. Biased upwards for few
        rows.

    Raises:
        TypeError: no tensors.
        ValueError: other shapes, dtypes or devices, fewer rows, or a value that is not finite.
    """
    check_pair(samples, true, 2)
    a, b = (points.detach().cpu().double().numpy() for points in (samples, true))
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = _covariance_root(a - mean_a), _covariance_root(b - mean_b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross
    return max(0.0, float(distance))


def gaussian_wasserstein(mean: Tensor, covariance: Tensor, true_mean: Tensor, true_covariance: Tensor) -> Tensor:
    """d, the 2-Wasserstein distance between Gaussians of given moments.

    Args:
        mean: (*, D), float64.
        covariance: (*, D, D), symmetric and positive semi-definite.
        true_mean: (*, D).
        true_covariance: (*, D, D).

    Returns:
        Distances (*,), in the units of the means.
    """
    root = _matrix_root(true_covariance)
    cross = _trace(_matrix_root(root @ covariance @ root))
    spread = _trace(covariance) + _trace(true_covariance) - 2 * cross
    return ((mean - true_mean).square().sum(-1) + spread).clamp(min=0).sqrt()


def _covariance_root(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """An upper triangular R with R^T R = the sample covariance of centred rows (N, D)."""
    root: NDArray[np.float64] = np.linalg.qr(centred / np.sqrt(len(centred) - 1)).R
    return root


def _matrix_root(matrix: Tensor) -> Tensor:
    """The positive square root of a symmetric matrix."""
    values, axes = torch.linalg.eigh((matrix + matrix.mT) / 2)
    root: Tensor = (axes * values.clamp(min=0).sqrt()[..., None, :]) @ axes.mT
    return root


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
