"""Guidance away from another point than the guider's own: what most shapes are.

A guider of weight w over the base D_c steers away from its own answer at weight 0, D_u:

    D_w = D_c + (w - 1) * (D_c - D_u)

A shape replaces D_u with a point that it makes of both, D_u', and leaves the rest:

    D = D_c + (w - 1) * (D_c - D_u'),    D_u' = D_c - (what the shape makes of D_c - D_u)

So every such shape is affine in w, is the base at w = 1 (and calls nothing else there), and its cost is the guider's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from guideplug import Combine, Denoiser, GuideplugError, Guider, Level, opposite, per_row, strategy, weight_of

__all__ = ["Reshaped", "cfg", "inner", "length", "steered", "weighted"]

Reshaped: TypeAlias = Callable[[Tensor, Tensor, Tensor, Level], Tensor]
"""(D_c, D_u, x, sigma) -> D_u', all tensors (B, *)."""


def cfg() -> Guider:
    """Classifier-free guidance, around which shapes go where no guider is named."""
    return strategy("cfg", Guider)


def weighted(instance: object, attribute: Any, value: Guider) -> None:
    """Refuse a guider without an option ``weight``: a validator of options."""
    try:
        weight_of(value)
    except GuideplugError as error:
        raise ValueError(str(error)) from None


def steered(
    shape: str, guider: Guider, base: Denoiser, models: Mapping[str, Denoiser], begin: Callable[[], Reshaped]
) -> Denoiser:
    """The base guided with the guider's weight away from the reshaped opposite.

    Args:
        shape: what formulas call D_u', a function of D_c and D_u.
        guider: one with an option ``weight``.
        base, models: as `Guider.guide` takes them.
        begin: makes the function that reshapes the opposite; asked for one at the beginning of each trajectory.
    """

    def fresh() -> Callable[[Sequence[Tensor], Tensor, Level], Tensor]:
        reshaped = begin()
        return lambda outputs, x, sigma: reshaped(outputs[0], outputs[1], x, sigma).to(outputs[0].dtype)

    away = Combine([base, opposite(guider, base, models)], begin=fresh, written=f"{shape}({{}})")
    return base + (weight_of(guider) - 1) * (base - away)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each sample of a (B, *) with that of b, in float32 at least, as (B, 1, ...)."""
    wide = torch.promote_types(a.dtype, torch.float32)
    return per_row(torch.linalg.vecdot(a.flatten(1).to(wide), b.flatten(1).to(wide)), a)


def length(a: Tensor) -> Tensor:
    """The Euclidean norm of each sample of a (B, *), as (B, 1, ...)."""
    wide = torch.promote_types(a.dtype, torch.float32)
    return per_row(torch.linalg.vector_norm(a.flatten(1), dim=1, dtype=wide), a)
