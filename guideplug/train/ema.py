"""Power-function averages of weights, with several lengths in parallel.

Source: Karras, Aittala, Lehtinen, Hellsten, Aila and Laine 2024, "Analyzing and improving the training dynamics of
diffusion models", arXiv:2312.02696, eq. 127 and section C.1. After step t the average keeps the share

    beta(t) = (1 - 1/t)^(gamma + 1)

so that its profile is a power of time, whose relative width is sigma_rel ("EMA length") at every t. Counted in
examples, of which a step adds n, it is (1 - n/t)^(gamma + 1): the same where all steps have as many. gamma is the
largest real root of gamma^3 + 7 gamma^2 + (16 - sigma_rel^-2) gamma + (12 - sigma_rel^-2) = 0.

A length may also be chosen afterwards (section 3.2 and C.3 there). Averages that were stored at several steps t_i, with
several gamma_i, are integrals of the weights' path against the profiles

    p_i(s) = (gamma_i + 1) s^gamma_i / t_i^(gamma_i + 1)   for 0 < s < t_i,   else 0,

so a combination of them is the integral against the same combination of profiles. The combination used is nearest to
the target profile in least squares, with coefficients that sum to 1, so that the average of equal weights is these
weights. It needs inner products alone, with a the earlier of two moments and b the later:

    <p_a, p_b> = (gamma_a + 1) (gamma_b + 1) / (gamma_a + gamma_b + 1) * (t_a / t_b)^gamma_b / t_b

The average after t steps weights step s by the integral of its profile over (s - 1, s), so the error of sums over steps
is at most that of the profiles. Least squares on those sums, whose products have no closed form, gains little: 64
moments along 320 steps, with lengths 0.05 and 0.15, give 0.02, 0.10, 0.13 and 0.25 with errors of 1.054, 0.032, 0.014
and 0.716 % against at best 1.053, 0.032, 0.014 and 0.686 %. Only with every step stored would the sums be exact, and
the profiles are off by up to 0.3 %.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

__all__ = ["PowerAverages", "combined", "inner_product", "post_hoc_weights", "power_gamma", "profile_error"]

MAX_LENGTH = 12.0**-0.5
"""The length of a uniform average over all steps, with gamma 0."""
SMALLEST = 1e-10
"""The cutoff of differences of profiles: coefficients in the thousands would amplify float32 rounding."""


def power_gamma(length: float) -> float:
    """The exponent gamma of an EMA length sigma_rel in (0, 0.288].

    Raises:
        ValueError: the length is outside that range.
    """
    if not 0.0 < length <= MAX_LENGTH:
        raise ValueError(f"EMA length {length:g}: it must be between 0 and {MAX_LENGTH:.3f}, a share of the training")
    inverse = length**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(max(root.real for root in roots if abs(root.imag) < 1e-9))


def inner_product(
    step: ArrayLike, gamma: ArrayLike, other_step: ArrayLike, other_gamma: ArrayLike
) -> NDArray[np.float64]:
    """The integral of the product of two power profiles, each of a step and an exponent; arrays broadcast."""
    t, g, u, h = (np.asarray(value, dtype=np.float64) for value in (step, gamma, other_step, other_gamma))
    late = np.maximum(t, u)
    share = (np.minimum(t, u) / late) ** np.where(t <= u, h, g)
    return np.asarray((g + 1.0) * (h + 1.0) / (g + h + 1.0) * share / late)


def post_hoc_weights(
    stored: Sequence[tuple[int, float]], step: int, length: float, normalise: Literal["within", "after"] = "within"
) -> tuple[float, ...]:
    """The coefficients of stored averages, each a (step, length), whose combination is nearest to a target average.

    They sum to 1. A stored target has coefficient 1. For nearly equal stored profiles, the solution with the smallest
    coefficients is taken. `profile_error` measures the remaining error.

    Args:
        stored: the steps and lengths of the stored averages, each once.
        step: the target step.
        length: the target EMA length, in (0, 0.288].
        normalise: ``"within"`` for the least squares among combinations whose sum is 1; ``"after"`` for those without
            a constraint, divided by their sum, as EDM2's released code does.

    Raises:
        ValueError: nothing is stored, an average is listed twice, a step is below 1, or a length is out of range.
    """
    return _solved(tuple(stored), step, length, normalise)


def profile_error(
    stored: Sequence[tuple[int, float]], coefficients: Sequence[float], step: int, length: float
) -> float:
    """The error of a combination of profiles, relative to the norm of the target; accurate to about 1e-7."""
    gram, overlap, square = _products(stored, step, length)
    c = np.asarray(coefficients, dtype=np.float64)
    return float(np.sqrt(max(float(c @ gram @ c - 2.0 * c @ overlap) + square, 0.0) / square))


def _products(
    stored: Sequence[tuple[int, float]], step: int, length: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Inner products of the stored profiles with each other and with the target, and of the target with itself."""
    steps = np.array([at for at, _ in stored], dtype=np.float64)
    gammas = np.array([power_gamma(kept) for _, kept in stored])
    gamma = power_gamma(length)
    gram = inner_product(steps[:, None], gammas[:, None], steps, gammas)
    return gram, inner_product(steps, gammas, step, gamma), float(inner_product(step, gamma, step, gamma))


@functools.lru_cache(maxsize=64)
def _solved(
    stored: tuple[tuple[int, float], ...], step: int, length: float, normalise: Literal["within", "after"]
) -> tuple[float, ...]:
    if not stored:
        raise ValueError("no averages are stored: there is nothing to combine")
    if len(set(stored)) < len(stored):
        raise ValueError("an average is stored twice: give each step and length once")
    if min(step, *(at for at, _ in stored)) < 1:
        raise ValueError("an average is of step 1 or later")
    gram, overlap, _ = _products(stored, step, length)
    if (step, length) in stored:
        return tuple(float(one == (step, length)) for one in stored)
    norms = np.sqrt(np.diag(gram))
    nearest = int(np.argmax(overlap / norms))
    if len(stored) == 1:
        return (1.0,)
    if normalise == "after":
        free = np.linalg.lstsq(gram / np.outer(norms, norms), overlap / norms, rcond=SMALLEST)[0] / norms
        return tuple((free / free.sum()).tolist())
    # c = e_nearest + sum over the others of x_i (e_i - e_nearest), which sums to 1 whatever x is
    others = np.delete(np.arange(len(stored)), nearest)
    matrix = (
        gram[np.ix_(others, others)] - gram[others, nearest] - gram[nearest, others][:, None] + gram[nearest, nearest]
    )
    right = overlap[others] - overlap[nearest] - gram[others, nearest] + gram[nearest, nearest]
    scale = norms[others]
    solution = np.linalg.lstsq(matrix / np.outer(scale, scale), right / scale, rcond=SMALLEST)[0] / scale
    coefficients = np.zeros(len(stored))
    coefficients[others] = solution
    coefficients[nearest] = 1.0 - solution.sum()
    return tuple(coefficients.tolist())


def combined(
    parts: Iterable[tuple[Mapping[str, Tensor], float]], averaged: Iterable[str], dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """The combination of stored states, summed in float64; other tensors are those of the last state.

    One state is in memory at a time, beside the sums.

    Args:
        parts: each state with its coefficient.
        averaged: the names of the combined tensors.
        dtype: of the combined tensors; None for that of the last state.
    """
    sums: dict[str, Tensor] = {}
    others: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    names = dict.fromkeys(averaged)
    for state, coefficient in parts:
        for name in names:
            term = coefficient * state[name].double()
            sums[name] = sums[name].add_(term) if name in sums else term
            dtypes[name] = state[name].dtype
        others = {name: tensor for name, tensor in state.items() if name not in names}
        del state  # before the next one is read
    return others | {name: total.to(dtype or dtypes[name]) for name, total in sums.items()}


@final
class PowerAverages:
    """Averages of a module's parameters over training, one per length.

    Args:
        module: the averaged module; its parameters are read at each update.
        lengths: EMA lengths sigma_rel, as shares of the training so far, in whatever unit `update` counts it.
    """

    def __init__(self, module: nn.Module, lengths: Sequence[float]) -> None:
        self.lengths = tuple(lengths)
        self._gammas = [power_gamma(length) for length in lengths]
        self._names = [name for name, _ in module.named_parameters()]
        self._live: list[Tensor] = [parameter for _, parameter in module.named_parameters()]
        order = {id(parameter): place for place, parameter in enumerate(self._live)}
        self._places = {name: order[id(one)] for name, one in module.named_parameters(remove_duplicate=False)}
        self._averages = [[parameter.detach().clone() for parameter in self._live] for _ in lengths]

    @torch.no_grad()
    def update(self, reached: int, last: int = 1) -> None:
        """Add the parameters after an optimiser step; the first replaces the average.

        Args:
            reached: the training so far, the step included: steps from 1, or examples.
            last: how much of it the step was: 1, or its examples.
        """
        for gamma, averages in zip(self._gammas, self._averages, strict=True):
            torch._foreach_lerp_(averages, self._live, 1.0 - (1.0 - last / reached) ** (gamma + 1.0))

    def parameters(self, length: float) -> Mapping[str, Tensor]:
        """The averaged parameters of one length, by name; tied ones under each of their names.

        Raises:
            KeyError: the length is none of the averages.
        """
        if length not in self.lengths:
            raise KeyError(length)
        averages = self._averages[self.lengths.index(length)]
        return {name: averages[place] for name, place in self._places.items()}

    def load(self, length: float, parameters: Mapping[str, Tensor]) -> None:
        """Restore the averages from `parameters`."""
        for name, average in zip(self._names, self._averages[self.lengths.index(length)], strict=True):
            average.copy_(parameters[name])
