"""Self-consistency: a guided step from level t to level s should give what noise of level s gives.

From a clean sample x0 come m particles x_t = x0 + t e and m particles x_s = x0 + s e', the noise e and e' independent.
A guided deterministic step takes each x_t to

    x~_s = D_w + (s/t) (x_t - D_w) = u + omega v,   D_w = D_0 + omega Delta
    u = D_0 + (s/t) (x_t - D_0),   v = (1 - s/t) Delta

and the loss compares the two clouds by an energy distance (beta in (0, 2), lambda 1: a proper score),

    L = 1/n sum_i [ 1/m^2 sum_jk |x~^j - x^k|^beta  -  lambda / (2 m (m - 1)) sum_{j != k} |x~^j - x~^k|^beta ]

or by squares (beta 2, lambda 0). Every |a + omega b|^2 = |a|^2 + 2 omega <a, b> + omega^2 |b|^2, so the networks are
evaluated once per batch, without gradients, and what is differentiated is a function of one number per clean sample.

The paper's formula has alphas. With z_t = alpha_t x0 + sigma_t e,

    z~_s = alpha_s D_w + (sigma_s / sigma_t) (z_t - alpha_t D_w)

Divide by alpha_s and write x = z / alpha for samples and sigma / alpha for levels, which are ours: that is the step
above. So the paper's loss at a pair of levels is alpha_s^beta times ours. That factor is kept, for it weighs levels,
though it moves no minimum at any (c, s, t): with variance preserved and data of standard deviation sigma_data, alpha_s
is sigma_data / sqrt(sigma_data^2 + s^2), and we divide distances by sqrt(sigma_data^2 + s^2).

By squares the minimum is known, for noise e' that is independent of e (at each c, s, t):

    omega* = max(0, -E<v, u - x_s> / E|v|^2)

With shared noise e' = e and one particle, x~_s - x_s = (1 - s/t) (D_w - x0): the squares are guided score matching,
whose omega* is 0 wherever D_0 is exact. With independent noise it is not: of exact networks under a label and under
none, it is s / (t - s) by squares, averaged over labels: what is nearest to x_s in the mean has no noise left.

Source: A. Galashov et al. 2025, "Learn to guide your diffusion model", arXiv:2510.00815.
Cost: m outputs of each network a clean sample.
"""

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Combine, Condition, Denoiser, per_row, select_rows

__all__ = ["Particles", "paired", "particles"]

SMALLEST = 1e-12
"""Squared distances below this count as this: a power below 2 has no slope at 0."""


def paired(base: Denoiser, opposite: Denoiser) -> Combine:
    """A denoiser that answers both in one pass, (B, 2, *): each network in them is called once."""
    return Combine([base, opposite], lambda outputs, x, sigma: torch.stack(list(outputs), 1))


@frozen(eq=False)
class Particles:
    """The particles of n clean samples, m each, as rows of d numbers.

    Args:
        u, v: (n, m, d), the step is u + omega v.
        noisy: (n, m, d), what it is compared with.
        clean, away: (n, m, d), the unguided clean prediction D_0 and the direction Delta.
        scale: (n,), what distances are divided by.
    """

    u: Tensor
    v: Tensor
    noisy: Tensor
    clean: Tensor
    away: Tensor
    scale: Tensor

    def loss(self, omega: Tensor, beta: float, diversity: float) -> Tensor:
        """L for weights omega (n,), a scalar; ``diversity`` is lambda."""
        m = self.u.shape[1]
        gaps = torch.stack([self.u[:, j, None] - self.noisy for j in range(m)], 1)  # (n, m, m, d)
        cross = _powers(omega, gaps, self.v[:, :, None], beta).mean((1, 2))
        total = cross
        if diversity > 0.0:
            first, second = torch.triu_indices(m, m, 1, device=self.u.device)
            own = _powers(omega, self.u[:, first] - self.u[:, second], self.v[:, first] - self.v[:, second], beta)
            total = cross - 0.5 * diversity * own.mean(1)
        return (total / self.scale**beta).mean()

    def predicted(self, omega: Tensor) -> Tensor:
        """The guided clean predictions, (n, m, d)."""
        return self.clean + omega[:, None, None] * self.away


def _powers(omega: Tensor, at: Tensor, along: Tensor, beta: float) -> Tensor:
    """|at + omega along|^beta over the last axis; omega (n,), the others (n, ..., d)."""
    own = (at * at).sum(-1)
    rows = per_row(omega, own)
    squared = own + 2 * rows * (at * along).sum(-1) + rows**2 * (along * along).sum(-1)
    return squared.clamp_min(SMALLEST) ** (beta / 2)


@torch.no_grad()
def particles(
    pair: Denoiser, clean: Tensor, condition: Condition, sigma: Tensor, toward: Tensor, noise: Tensor, other: Tensor
) -> Particles:
    """The particles of clean samples.

    Args:
        pair: what `paired` gives.
        clean: x0, (n, *).
        condition: (n, ...), or None.
        sigma, toward: t and s, (n,).
        noise, other: e and e', each (n, m, *) and independent.
    """
    count, m = noise.shape[:2]
    t, s = per_row(sigma, noise), per_row(toward, noise)
    x = clean[:, None] + t * noise  # (n, m, *)
    rows = torch.arange(count, device=clean.device).repeat_interleave(m)
    both = pair(x.flatten(0, 1), sigma[rows], select_rows(condition, rows), toward=toward[rows])
    here, there = both.unflatten(0, (count, m)).unbind(2)
    away = here - there
    ratio = s / t
    flat = (count, m, -1)
    scale = (pair.space.sigma_data**2 + toward**2) ** 0.5
    return Particles(
        u=(here + ratio * (x - here)).reshape(flat),
        v=((1 - ratio) * away).reshape(flat),
        noisy=(clean[:, None] + s * other).reshape(flat),
        clean=here.reshape(flat),
        away=away.reshape(flat),
        scale=scale,
    )
