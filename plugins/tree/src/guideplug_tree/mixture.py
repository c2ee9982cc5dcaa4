"""The 2D tree: a fractal of Gaussians whose density, score and samples are exact at every noise level.

The data set of Karras et al., "Guiding a Diffusion Model with a Bad Version of Itself" (2024, arXiv:2406.02507,
appendix C): two classes of 127 branches each, eight Gaussians a branch. Noise of standard deviation sigma only widens
the Gaussians:

    p(x; sigma) = sum_i phi_i N(x; mu_i, Sigma_i + sigma^2 I)

The textbook sum costs one exponential and one 2 x 2 solve a component. Here it costs three exponentials a *branch*: the
eight components of a branch share Sigma, so also its eigenvectors at every sigma, and their means are
m + tau c with tau = -3.5, -2.5 ... 3.5. With P = (Sigma + sigma^2 I)^-1, d = x - m and

    A = c'Pc,   B = c'Pd,   C = d'Pd,   q = exp(-A),   r = exp(-|B|)

the eight exponents are a quadratic in tau; counted from the end of the branch nearest to x it gives a polynomial in r:

    sum_tau exp(tau B - tau^2 A/2 - C/2) = exp(3.5|B| - A/8 - C/2) S(r)
    S(r) = q^6 + q^3 r + q r^2 + r^3 + r^4 + q r^5 + q^3 r^6 + q^6 r^7
    E[tau | x, branch] = sign(B) (3.5 - r S'(r) / S(r))
    score = - sum_branch responsibility P (d - c E[tau])

By construction of the tree A <= 4.2, so S lies in [exp(-25.2), 8] and neither overflows nor vanishes.
Cost: no network calls.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["COMPONENTS_PER_BRANCH", "TreeClasses", "TreeMixture", "tree_mixture"]

TreeClasses = Literal["A", "B", "AB"]

COMPONENTS_PER_BRANCH = 8
_MAX_DEPTH = 6
_SEED = 2
_ORIGIN = (0.0030, 0.0325)
_SCALE = (1.3136, 1.3844)
_CLASS_ANGLES = {"A": math.pi / 4, "B": 5 * math.pi / 4}
_END = (COMPONENTS_PER_BRANCH - 1) / 2  # tau of a branch's last component, in steps from its middle

# All exponentials are powers of two (torch's exp2 is three times faster than its exp): lengths are measured in units in
# which a squared Mahalanobis distance comes out multiplied by log2(e).
_LOG2_E = math.log2(math.e)
# (exponent floor relative to the row's largest, floor of log2 r). Below them a term no longer counts in that precision;
# without them exponentials would fall among the denormals, where they are about a hundred times slower.
_FLOORS = {torch.float32: (-72.0, -42.0), torch.float64: (-600.0, -80.0)}
_CPU_ROWS = 1024  # rows a block: few enough for the caches, enough to keep two threads busy between two barriers
_GPU_ROWS = 65536

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Branches:
    """Branches in float64, depth first (K = number of branches): the source every `TreeMixture` is built from."""

    means: _Array  # (K, 8, 2)
    covariances: _Array  # (K, 2, 2)
    masses: _Array  # (K,), relative weight of each component of the branch
    classes: npt.NDArray[np.str_]  # (K,)
    depths: npt.NDArray[np.int64]  # (K,)

    def select(self, keep: npt.NDArray[np.bool_]) -> "_Branches":
        return _Branches(
            self.means[keep], self.covariances[keep], self.masses[keep], self.classes[keep], self.depths[keep]
        )


@functools.cache
def _grow() -> _Branches:
    """Grow both classes from one random stream: all of A, then all of B; a branch before its children."""
    stream = np.random.RandomState(_SEED)
    scale = np.array(_SCALE)
    fractions = np.linspace(0.07, 0.93, COMPONENTS_PER_BRANCH)
    means, covariances, masses, classes, depths = [], [], [], [], []

    def grow(class_name: str, depth: int, position: _Array, angle: float) -> None:
        direction = np.array([math.cos(angle), math.sin(angle)])
        along = np.outer(direction, direction)
        length = 0.292 * 0.8**depth * (1 + 0.2 * stream.randn())
        thickness = 0.2 * 0.8**depth / length
        size = scale * length * 0.06
        means.append((position + direction * length * fractions[:, None]) * scale)
        covariances.append((along + (np.eye(2) - along) * thickness**2) * np.outer(size, size))
        masses.append(length * 0.5**depth)
        classes.append(class_name)
        depths.append(depth)
        for sign in (1, -1):
            turn = sign * 0.7**depth * (1 + 0.2 * stream.randn())  # drawn at the tips too: it moves the stream on
            if depth < _MAX_DEPTH:
                grow(class_name, depth + 1, position + direction * length, angle + turn)

    for class_name, angle in _CLASS_ANGLES.items():
        grow(class_name, 0, np.array(_ORIGIN), angle)
    return _Branches(
        np.stack(means), np.stack(covariances), np.array(masses), np.array(classes), np.array(depths, dtype=np.int64)
    )


@dataclass(frozen=True, eq=False)
class _Tables:
    """What the fast sum needs of each of K branches; variances are multiplied by ln 2, so exponents are those of 2."""

    middle: Tensor  # (2, K, 1), m, by coordinate
    axes: Tensor  # (2, 2, K, 1), [coordinate, eigenvector]
    variances: Tensor  # (2, K, 1), eigenvalues of Sigma, times ln 2
    step: Tensor  # (2, K, 1), c in the eigenbasis
    mass: Tensor  # (K, 1), weight of one component
    back: Tensor  # (2, 2K), from the eigenbases of all branches to the score


class TreeMixture:
    """The tree smoothed by Gaussian noise, exactly. Immutable; make one with `tree_mixture`.

    Points are x (B, 2). sigma is in data units (class A has standard deviation .34 a coordinate, A and B together
    .50) and is a number, a scalar tensor, or (B,) for one level a point; 0 is the clean tree. Component i belongs to
    branch i // 8. Nothing here builds an autograd graph. Methods raise ValueError for points or levels of another
    shape, and for points that are not in the mixture's dtype and on its device.
    """

    component_means: Tensor  # (M, 2)
    component_covariances: Tensor  # (M, 2, 2), of the clean tree
    component_weights: Tensor  # (M,), sum 1
    component_branches: Tensor  # (M,) int64, 0 ... num_branches - 1
    component_depths: Tensor  # (M,) int64, 0 (trunk) ... 6
    branch_classes: tuple[str, ...]  # "A" or "B", one a branch
    dtype: torch.dtype
    device: torch.device

    def __init__(self, branches: _Branches, device: torch.device, dtype: torch.dtype) -> None:
        if dtype not in _FLOORS:
            raise ValueError(f"the tree is computed in float32 or float64, not in {dtype}")

        def table(values: npt.NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

        count = COMPONENTS_PER_BRANCH
        weights = np.repeat(branches.masses / (count * branches.masses.sum()), count)
        variances, axes = np.linalg.eigh(branches.covariances)  # (K, 2), (K, 2 coordinates, 2 eigenvectors)
        step = np.einsum("kc,kce->ek", branches.means[:, 1] - branches.means[:, 0], axes)
        by_coordinate = axes.transpose(1, 2, 0)  # (2 coordinates, 2 eigenvectors, K)
        self._branches = branches
        self._tables = _Tables(
            middle=table(branches.means.mean(axis=1).T[..., None]),
            axes=table(by_coordinate[..., None]),
            variances=table(variances.T[..., None] / _LOG2_E),
            step=table(step[..., None]),
            mass=table(weights[::count, None]),
            back=table(by_coordinate.reshape(2, -1) / -_LOG2_E),
        )
        self._cumulative_weights = torch.from_numpy(np.cumsum(weights)).to(device)
        self._component_factors = table(np.repeat(np.linalg.cholesky(branches.covariances), count, axis=0))
        self.component_means = table(branches.means.reshape(-1, 2))
        self.component_covariances = table(np.repeat(branches.covariances, count, axis=0))
        self.component_weights = table(weights)
        self.component_branches = torch.arange(len(branches.masses), device=device).repeat_interleave(count)
        self.component_depths = torch.from_numpy(np.repeat(branches.depths, count)).to(device)
        self.branch_classes = tuple(str(name) for name in branches.classes)
        self.dtype = dtype
        self.device = self.component_means.device

    @property
    def num_components(self) -> int:
        """M: 1016 for a class, 2032 for both."""
        return len(self.component_weights)

    @property
    def num_branches(self) -> int:
        """K: 127 for a class, 254 for both."""
        return len(self.branch_classes)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "TreeMixture":
        """Return the same mixture elsewhere, rounded anew from float64; `self` when nothing changes."""
        new_device = self.device if device is None else torch.device(device)
        new_dtype = self.dtype if dtype is None else dtype
        if (new_device, new_dtype) == (self.device, self.dtype):
            return self
        return _build(self._branches, new_device, new_dtype)

    def log_prob(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """Return log p(x; sigma) (B,), in nats."""
        return self._evaluate(x, sigma)[1]

    def score(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Return the gradient of log p(x; sigma) with respect to x, (B, 2)."""
        return self._evaluate(x, sigma)[0]

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Return the expected clean point x + sigma^2 score, (B, 2)."""
        with torch.no_grad():
            score, _, levels = self._evaluate(x, sigma)
            return torch.addcmul(x, levels.square()[:, None], score)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw clean points (count, 2) on the generator's device."""
        return self.sample_components(count, generator)[0]

    @torch.no_grad()
    def sample_components(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw clean points (count, 2) and the components (count,) they are from, on the generator's device."""
        device = generator.device
        uniform = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
        normal = torch.randn(count, 2, generator=generator, device=device, dtype=self.dtype)
        here = self.to(device)
        index = here._components(uniform)
        return here._placed(index, normal), index

    @torch.no_grad()
    def sample_from(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """Turn draws into clean points (B, 2): uniform (B,) on [0, 1) picks components, normal (B, 2) places points."""
        if uniform.ndim != 1 or normal.shape != (len(uniform), 2):
            raise ValueError(
                f"expected uniform (B,) and normal (B, 2), got {tuple(uniform.shape)} and {tuple(normal.shape)}"
            )
        return self._placed(self._components(uniform), normal)

    def _components(self, uniform: Tensor) -> Tensor:
        index = torch.searchsorted(self._cumulative_weights, uniform.double(), right=True)
        return index.clamp_(max=self.num_components - 1)  # the cumulative sum may end a rounding error below 1

    def _placed(self, index: Tensor, normal: Tensor) -> Tensor:
        spread = self._component_factors[index] @ normal.to(self.dtype)[..., None]
        return self.component_means[index] + spread[..., 0]

    @torch.no_grad()
    def assign(self, x: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """Return the index (B,) int64 of the component most responsible for each point."""
        parts = self._split(x, self._levels(x, sigma))
        return torch.cat([self._component_exponents(*part).argmax(dim=1) for part in parts])

    def _levels(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Check x and sigma; return sigma as (B,) or (1,)."""
        if x.ndim != 2 or x.shape[1] != 2 or (x.dtype, x.device) != (self.dtype, self.device):
            raise ValueError(
                f"expected x (B, 2) of {self.dtype} on {self.device}, got {tuple(x.shape)} of {x.dtype} on {x.device}"
            )
        levels = torch.as_tensor(sigma, dtype=self.dtype, device=self.device)
        if levels.ndim == 0:
            return levels[None]
        if levels.shape != x.shape[:1]:
            raise ValueError(f"expected sigma to be a scalar or ({len(x)},), got {tuple(levels.shape)}")
        return levels

    def _split(self, x: Tensor, levels: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Cut points and levels into blocks of rows."""
        rows = _GPU_ROWS if x.is_cuda else _CPU_ROWS
        blocks = [slice(start, start + rows) for start in range(0, max(len(x), 1), rows)]
        return [(x[block], levels[block] if len(levels) > 1 else levels) for block in blocks]

    def _component_exponents(self, x: Tensor, levels: Tensor) -> Tensor:
        """Return log of weight times density of each component, up to the constant log 2 pi; x (B, 2) to (B, M)."""
        tables = self._tables
        offset = x[:, None, :] - self.component_means  # (B, M, 2)
        variances = tables.variances[..., 0].T * _LOG2_E + levels.square()[:, None, None]  # (B or 1, K, 2)
        axes = tables.axes[..., 0].permute(2, 0, 1).repeat_interleave(COMPONENTS_PER_BRANCH, dim=0)  # (M, 2, 2)
        along = torch.einsum("bmc,mce->bme", offset, axes)
        wide = variances.repeat_interleave(COMPONENTS_PER_BRANCH, dim=1)
        return self.component_weights.log() - 0.5 * (along.square() / wide + wide.log()).sum(dim=2)

    @torch.no_grad()
    def _evaluate(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return score (B, 2), log density (B,) and sigma as (B,) or (1,)."""
        levels = self._levels(x, sigma)
        squares = levels.square() / _LOG2_E
        coordinates = x.T.contiguous()
        score, log_prob = torch.empty_like(x), x.new_empty(len(x))
        rows = min(_GPU_ROWS if x.is_cuda else _CPU_ROWS, max(len(x), 1))
        shared = len(levels) == 1
        spread_buffers = x.new_empty(9, self.num_branches, 1 if shared else rows)
        point_buffers = x.new_empty(7, self.num_branches, rows)
        spread = self._spread(squares, spread_buffers) if shared else None
        for start in range(0, len(x), rows):
            block = slice(start, min(start + rows, len(x)))
            size = block.stop - block.start
            here = spread or self._spread(squares[block], _narrow(spread_buffers, size))
            score[block], log_prob[block] = self._sum(coordinates[:, block], here, _narrow(point_buffers, size))
        return score, log_prob, levels

    def _spread(self, squares: Tensor, buffers: Tensor) -> "_Spread":
        """Return what depends on sigma alone; squares (R,) = sigma^2 ln 2, buffers (9, K, R)."""
        tables = self._tables
        variances, precisions = buffers[0:2], buffers[2:4]
        curvature, peaks, q, q3, q6 = buffers[4:].unbind()
        torch.add(tables.variances, squares, out=variances)
        torch.mul(variances[0], variances[1], out=peaks).rsqrt_()
        torch.mul(peaks, peaks, out=q)  # 1 / determinant
        torch.mul(variances[1], q, out=precisions[0])
        torch.mul(variances[0], q, out=precisions[1])
        peaks.mul_(tables.mass)
        pulls = torch.mul(precisions, tables.step, out=variances)
        torch.mul(pulls[0], tables.step[0], out=curvature).addcmul_(pulls[1], tables.step[1])
        torch.neg(curvature, out=q).exp2_()
        torch.mul(q, q, out=q3).mul_(q)
        torch.mul(q3, q3, out=q6)
        return _Spread(precisions, pulls, curvature, peaks, q, q3, q6)

    def _sum(self, coordinates: Tensor, spread: "_Spread", buffers: Tensor) -> tuple[Tensor, Tensor]:
        """Sum over the branches; coordinates (2, R), buffers (7, K, R). Return score (R, 2) and log density (R,).

        Letters in comments are the module docstring's. Buffers are written over as soon as their content is spent.
        """
        tables = self._tables
        exponent_floor, r_floor = _FLOORS[self.dtype]
        offset, forces = buffers[0:2], buffers[2:4]
        lean, ratio, series = buffers[4:].unbind()

        # d in each branch's eigenbasis (offset), then B (lean), P d (forces) and C (energy)
        torch.sub(coordinates[0], tables.middle[0], out=ratio)
        torch.sub(coordinates[1], tables.middle[1], out=series)
        torch.mul(ratio, tables.axes[0], out=offset).addcmul_(series, tables.axes[1])
        torch.mul(spread.pulls[0], offset[0], out=lean).addcmul_(spread.pulls[1], offset[1])
        torch.mul(spread.precisions, offset, out=forces)
        energy = offset[0].mul_(forces[0]).addcmul_(offset[1], forces[1])

        # weights: exp(3.5|B| - A/8 - C/2 - the row's largest), times the determinant and the branch's mass; then r
        torch.abs(lean, out=ratio)
        weights = torch.sub(ratio, energy, alpha=0.5 / _END, out=offset[1]).sub_(spread.curvature, alpha=0.125 / _END)
        largest = weights.amax(dim=0)
        weights.sub_(largest).mul_(_END).clamp_min_(exponent_floor).exp2_().mul_(spread.peaks)
        ratio.neg_().clamp_min_(r_floor).exp2_()

        # S(r) and its derivative by Horner's rule
        slope = offset[0]
        torch.addcmul(spread.q3, ratio, spread.q6, out=series)
        torch.addcmul(series, ratio, spread.q6, out=slope)
        for coefficient in (spread.q, 1.0, 1.0, spread.q, spread.q3):
            series.mul_(ratio).add_(coefficient)
            slope.mul_(ratio).add_(series)
        series.mul_(ratio).add_(spread.q6)

        # sum of responsibility * P (d - c E[tau]), then back from the eigenbases
        series.mul_(weights)
        slope.mul_(ratio).mul_(weights)
        shift = torch.sub(series, slope, alpha=1 / _END, out=slope).mul_(lean.sign_())
        forces.mul_(series).addcmul_(spread.pulls, shift, value=-_END)
        total = series.sum(dim=0)
        score = (tables.back @ forces.flatten(0, 1)).div_(total)
        log_prob = total.log_().add_(largest, alpha=_END / _LOG2_E).sub_(math.log(2 * math.pi * _LOG2_E))
        return score.T, log_prob


@dataclass(frozen=True, eq=False)
class _Spread:
    """The sums' factors that depend on sigma but not on x: one column per row of x, or one for all."""

    precisions: Tensor  # (2, K, R), eigenvalues of P
    pulls: Tensor  # (2, K, R), P c in the eigenbasis
    curvature: Tensor  # (K, R), A
    peaks: Tensor  # (K, R), component weight times sqrt(det P)
    q: Tensor  # (K, R)
    q3: Tensor
    q6: Tensor


def _narrow(buffers: Tensor, rows: int) -> Tensor:
    """Return the front of buffers (N, K, R) as a contiguous (N, K, rows)."""
    count, branches, most = buffers.shape
    if most in (1, rows):
        return buffers
    return buffers.view(-1)[: count * branches * rows].view(count, branches, rows)


@functools.cache
def _build(branches: _Branches, device: torch.device, dtype: torch.dtype) -> TreeMixture:
    """Build a mixture once for each device and precision: `to` is called at every network call."""
    return TreeMixture(branches, device, dtype)


@functools.cache
def tree_mixture(classes: TreeClasses = "A", min_depth: int = 0) -> TreeMixture:
    """Return the tree of class A, of class B, or of both, in float32 on the CPU.

    min_depth keeps only the branches of that depth (0 ... 6) or deeper; weights always sum to 1 over what is kept.
    Raises ValueError for an unknown class set or a depth no branch has.
    """
    if classes not in ("A", "B", "AB"):
        raise ValueError(f"classes must be 'A', 'B' or 'AB', not {classes!r}")
    if not 0 <= min_depth <= _MAX_DEPTH:
        raise ValueError(f"min_depth must be from 0 to {_MAX_DEPTH}, not {min_depth}")
    branches = _grow()
    keep = np.isin(branches.classes, list(classes)) & (branches.depths >= min_depth)
    return _build(branches.select(keep), torch.device("cpu"), torch.float32)
