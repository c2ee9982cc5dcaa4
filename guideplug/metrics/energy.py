"""The energy distance: the maximum mean discrepancy with the kernel -|x - y|, without bias.

    2 E|x - y| - E|x - x'| - E|y - y'|

x and x' are different samples, y and y' different true points. Sources: G. J. Székely and M. L. Rizzo 2013, "Energy
Statistics: A Class of Statistics Based on Distances", doi:10.1016/j.jspi.2013.03.018; as a maximum mean
discrepancy: D. Sejdinovic, B. Sriperumbudur, A. Gretton and K. Fukumizu 2013, "Equivalence of Distance-Based and
RKHS-Based Statistics in Hypothesis Testing", arXiv:1207.6076. Cost: O((N + M)^2 D) time, N M numbers of memory.
"""

import torch
from torch import Tensor

from guideplug.metrics.point_sets import check_pair

__all__ = ["energy_distance"]


def energy_distance(
    samples: Tensor, true: Tensor, *, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'|, pairs of a point with itself left out; in the dtype of the points.

    Args:
        samples: (N, D), N >= 2.
        true: (M, D), M >= 2, of the same dtype and device.
        compute_mode: how `torch.cdist` computes |x - y|: by default by a matrix product for more than 25 rows, which is
            quick; "donot_use_mm_for_euclid_dist" keeps all digits of small distances.

    Returns:
        0 in expectation for equal distributions, and below 0 about as often as above; in the units of the points.

    Raises:
        TypeError: no tensors.
        ValueError: other shapes, dtypes or devices, fewer rows, or a value that is not finite.
    """
    check_pair(samples, true, 2)
    samples, true = samples.detach(), true.detach()
    across = torch.cdist(samples, true, compute_mode=compute_mode).mean()
    return float(2 * across - torch.pdist(samples).mean() - torch.pdist(true).mean())
