"""A mixture of Gaussians in the plane, smoothed by noise: density, score, denoised points and draws, in closed form.

With weights w_k, means m_k and covariances C_k, and noise of level s,

    p(x; s) = sum_k w_k N(x; m_k, C_k + s^2 I)
    D(x; s) = sum_k r_k(x; s) (m_k + C_k (C_k + s^2 I)^-1 (x - m_k)),   r_k the share of component k in p(x; s)
    grad log p(x; s) = (D(x; s) - x) / s^2 = -sum_k r_k(x; s) (C_k + s^2 I)^-1 (x - m_k)

C_k + s^2 I has the eigenvectors of C_k, so nothing is inverted: offsets are looked at along them.

Cost: two products of 2 x 2 a point and component.
"""

import math
from typing import final

import torch
from torch import Tensor, nn

__all__ = ["Gaussians"]


@final
class Gaussians(nn.Module):
    """A mixture of K Gaussians, held in float64; answers are in the type of what is asked.

    Args:
        weights: (K,), positive; they are scaled to sum to 1.
        means: (K, 2).
        covariances: (K, 2, 2), positive definite.
        groups: the number of the group that each component belongs to, int64 (K,); by default all to group 0.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor
    axes: Tensor
    groups: Tensor

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor, groups: Tensor | None = None) -> None:
        super().__init__()
        variances, axes = torch.linalg.eigh(covariances.double())
        weights = weights.double()
        groups = torch.zeros(len(weights), dtype=torch.int64) if groups is None else groups
        held = {"weights": weights / weights.sum(), "means": means.double(), "variances": variances, "axes": axes}
        for name, value in (*held.items(), ("groups", groups)):
            self.register_buffer(name, value, persistent=False)  # they follow from the task's options

    @property
    def covariances(self) -> Tensor:
        """The components' covariances, (K, 2, 2)."""
        return (self.axes * self.variances[:, None, :]) @ self.axes.mT

    def mean(self) -> Tensor:
        """The mean of all, (2,)."""
        return self.weights @ self.means

    def covariance(self) -> Tensor:
        """The covariance of all, (2, 2)."""
        off = self.means - self.mean()
        between = (self.weights[:, None] * off).mT @ off
        return between + (self.weights[:, None, None] * self.covariances).sum(0)

    def of(self, group: int) -> "Gaussians":
        """The mixture of one group's components alone."""
        rows = self.groups == group
        return Gaussians(self.weights[rows], self.means[rows], self.covariances[rows], self.groups[rows])

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """Log p(x; sigma), (B,), of points x (B, 2); sigma a float, or (B,)."""
        return self._parts(x, sigma)[0].logsumexp(1)

    def responsibilities(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """The share of each component in p(x; sigma), (B, K)."""
        return self._parts(x, sigma)[0].softmax(1)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The expected clean points, (B, 2)."""
        logs, along, levels = self._parts(x, sigma)
        variances, axes = self.variances.to(x.dtype), self.axes.to(x.dtype)
        kept = along * (variances / (variances + levels))  # (B, K, 2), in the axes of each component
        points = self.means.to(x.dtype) + torch.einsum("kde,bke->bkd", axes, kept)
        return (logs.softmax(1)[..., None] * points).sum(1)

    def score(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """Grad log p(x; sigma), (B, 2); at level 0 too."""
        logs, along, levels = self._parts(x, sigma)
        pulled = torch.einsum("kde,bke->bkd", self.axes.to(x.dtype), along / (self.variances.to(x.dtype) + levels))
        return -(logs.softmax(1)[..., None] * pulled).sum(1)

    def place(self, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Turn draws into clean points (B, 2), float32, and their components (B,).

        Args:
            uniform: (B,) in (0, 1), which picks a component.
            normal: (B, 2) standard normal, which places the point.
        """
        chosen = torch.searchsorted(self.weights.cumsum(0), uniform.double(), right=True)
        chosen = chosen.clamp_(max=len(self.weights) - 1)  # the sum may end a rounding error below 1
        return self.place_in(chosen, normal), chosen

    def place_in(self, components: Tensor, normal: Tensor) -> Tensor:
        """Points (B, 2), float32, of given components (B,), placed by standard normal draws (B, 2)."""
        spread = (self.axes * self.variances.sqrt()[:, None, :])[components] @ normal.double()[..., None]
        return (self.means[components] + spread[..., 0]).float()

    def _parts(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log of weight times density (B, K), offsets along the axes (B, K, 2), sigma^2 as (1 or B, 1, 1)."""
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).square().reshape(-1, 1, 1)
        along = torch.einsum("bkd,kde->bke", x[:, None] - self.means.to(x.dtype), self.axes.to(x.dtype))
        wide = self.variances.to(x.dtype) + levels
        logs = -0.5 * (along.square() / wide + wide.log()).sum(2) - math.log(2 * math.pi)
        return logs + self.weights.log().to(x.dtype), along, levels
