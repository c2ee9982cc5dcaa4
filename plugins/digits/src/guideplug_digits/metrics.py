"""How good, how diverse and how new generated images are: pure functions on NumPy arrays.

Every function takes plain arrays, is deterministic, and ignores the order of the images. Read a value beside the one
that held-out real images get in the place of the generated ones ("truth"), with the *same number* of images: Fréchet
distance, coverage and recall all depend on that number.

Cost: no network calls; exact distances, O(N·M) time, in blocks of rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "PrecisionRecallDensityCoverage",
    "class_accuracy",
    "class_hits",
    "frechet_distance",
    "nearest_neighbour_distance",
    "nearest_neighbour_distances",
    "neighbour_balls",
    "precision_recall_density_coverage",
]


class PrecisionRecallDensityCoverage(NamedTuple):
    """The four numbers of `precision_recall_density_coverage`; 1 is what equal distributions tend to."""

    precision: float
    recall: float
    density: float
    coverage: float


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Squared Fréchet distance of the two Gaussians with the features' means and covariances.

        d² = ‖μ_a − μ_b‖² + tr Σ_a + tr Σ_b − 2 tr (Σ_a^½ Σ_b Σ_a^½)^½

    (Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982; on a network's
    features: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule …", 2017, arXiv 1706.08500.) With centred
    feature matrices, Σ_a = AᵀA and Σ_b = BᵀB, the last trace is the nuclear norm of A Bᵀ; it is computed as that of
    R_a R_bᵀ with R from a QR decomposition. No matrix square root is taken, no covariance is formed or squared, and
    singular covariances (dead features, fewer images than features) need no regularisation.

    Args:
        features_a: features (N, D), N ≥ 2.
        features_b: features (M, D), M ≥ 2.

    Returns:
        d² ≥ 0, in squared feature units; symmetric in its arguments, and 0 for equal sets. Biased upwards for small N.

    Raises:
        ValueError: other shapes, or a value that is not finite.
    """
    a, b = _matrix(features_a, "features_a", 2), _matrix(features_b, "features_b", 2)
    _same_width(a, b, "features_a", "features_b")
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = _covariance_root(a - mean_a), _covariance_root(b - mean_b)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    distance = np.square(mean_a - mean_b).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross
    return max(0.0, float(distance))


def precision_recall_density_coverage(
    real: ArrayLike, generated: ArrayLike, k: int = 5
) -> PrecisionRecallDensityCoverage:
    """Fidelity (precision, density) and diversity (recall, coverage) from balls around each image's neighbours.

    With B(x) the closed ball around x whose radius is the distance to x's k-th nearest neighbour in its own set:

        precision = share of generated images inside at least one real ball
        recall    = share of real images inside at least one generated ball
        density   = 1/k · mean over generated images of the number of real balls that they are in (may exceed 1)
        coverage  = share of real balls with at least one generated image inside

    (Precision and recall: Kynkäänniemi et al., "Improved Precision and Recall Metric …", 2019, arXiv 1904.06991.
    Density and coverage: Naeem et al., "Reliable Fidelity and Diversity Metrics …", 2020, arXiv 2002.09797.)

    Args:
        real: features (N, D), N > k.
        generated: features (M, D), M > k.
        k: which neighbour sets the radius, itself not counted.

    Raises:
        ValueError: other shapes, k outside 1 … min(N, M) − 1, or a value that is not finite.
    """
    in_real_ball, in_generated_ball = neighbour_balls(real, generated, k)
    return PrecisionRecallDensityCoverage(
        precision=float(in_real_ball.any(axis=0).mean()),
        recall=float(in_generated_ball.any(axis=1).mean()),
        density=float(in_real_ball.sum(axis=0).mean() / k),
        coverage=float(in_real_ball.any(axis=1).mean()),
    )


def neighbour_balls(real: ArrayLike, generated: ArrayLike, k: int = 5) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each generated image is in each real image's ball, and each real one in each generated one's.

    Args:
        real: features (N, D), N > k.
        generated: features (M, D), M > k.
        k: which neighbour sets the radius, itself not counted.

    Returns:
        Two matrices (N, M).

    Raises:
        ValueError: other shapes, k outside 1 … min(N, M) − 1, or a value that is not finite.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    a, b = _matrix(real, "real", k + 1), _matrix(generated, "generated", k + 1)
    _same_width(a, b, "real", "generated")
    distances = _distances(a, b)  # (N, M)
    return distances <= _neighbour_radius(a, k)[:, None], distances <= _neighbour_radius(b, k)[None, :]


def class_accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Share of images whose most probable class is the one asked for: 1/N Σᵢ [argmax_c p(c | xᵢ) = labelᵢ].

    Arguments and errors are those of `class_hits`.
    """
    return float(class_hits(probabilities, labels).mean())


def class_hits(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.bool_]:
    """Whether each image's most probable class is the one asked for, (N,).

    Args:
        probabilities: class probabilities (N, C) by a classifier trained on real images.
        labels: the classes that were asked for, integers (N,) in 0 … C − 1.

    Raises:
        ValueError: other shapes, labels that are no integers of that range, or a value that is not finite.
    """
    matrix, wanted = _matrix(probabilities, "probabilities", 1), np.asarray(labels)
    if wanted.shape != (len(matrix),) or wanted.dtype.kind not in "iu":
        raise ValueError(f"labels must be {len(matrix)} integers, got shape {wanted.shape} of {wanted.dtype}")
    if wanted.min() < 0 or wanted.max() >= matrix.shape[1]:
        raise ValueError(f"labels must be in 0 … {matrix.shape[1] - 1}, got {wanted.min()} … {wanted.max()}")
    hits: NDArray[np.bool_] = matrix.argmax(axis=1) == wanted
    return hits


def nearest_neighbour_distance(generated_pixels: ArrayLike, train_pixels: ArrayLike) -> float:
    """Memorisation: median over generated images of the Euclidean distance to the nearest training image.

        median_i min_j ‖gᵢ − tⱼ‖₂   over all 64 pixels, in the units of the pixels

    (The test of Meehan et al., "A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020,
    arXiv 2004.05675, reduced to one number.) The reference value is the same for held-out real images: well below it
    the generator copies, well above it the images are off the data. 0 for copies. Arguments and errors are those of
    `nearest_neighbour_distances`.
    """
    return float(np.median(nearest_neighbour_distances(generated_pixels, train_pixels)))


def nearest_neighbour_distances(generated_pixels: ArrayLike, train_pixels: ArrayLike) -> NDArray[np.float64]:
    """The Euclidean distance (N,) of each generated image to the nearest training image.

    Args:
        generated_pixels: images (N, *), N ≥ 1.
        train_pixels: images (M, *) of the same size, M ≥ 1.

    Raises:
        ValueError: other shapes, or a value that is not finite.
    """
    a = _matrix(_flat(generated_pixels), "generated_pixels", 1)
    b = _matrix(_flat(train_pixels), "train_pixels", 1)
    _same_width(a, b, "generated_pixels", "train_pixels")
    return np.concatenate([_distances(a[i : i + 1024], b).min(axis=1) for i in range(0, len(a), 1024)])


def _covariance_root(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """An upper triangular R with RᵀR = the sample covariance of centred rows (N, D)."""
    root: NDArray[np.float64] = np.linalg.qr(centred / np.sqrt(len(centred) - 1)).R
    return root


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances (N, M), by differences and not by |a|² + |b|² − 2ab: a copy is at exactly 0."""
    from scipy.spatial.distance import cdist  # imported here: a quarter of a second

    distances: NDArray[np.float64] = cdist(a, b)
    return distances


def _neighbour_radius(points: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Distance (N,) from each point to its k-th nearest neighbour, itself not counted."""
    radius: NDArray[np.float64] = np.partition(_distances(points, points), k, axis=1)[:, k]
    return radius


def _flat(images: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(images, dtype=np.float64)
    return array.reshape(len(array), -1) if array.ndim > 1 else array


def _matrix(values: ArrayLike, name: str, rows: int) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or len(array) < rows or array.shape[1] < 1:
        raise ValueError(f"{name} must be a matrix of at least {rows} rows, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return array


def _same_width(a: NDArray[np.float64], b: NDArray[np.float64], name_a: str, name_b: str) -> None:
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{name_a} and {name_b} must have equally many columns, got {a.shape[1]} and {b.shape[1]}")
