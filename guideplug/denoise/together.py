"""Several denoisers and values evaluated together, in one pass.

    denoised, logvar = evaluate_together([network, network.output("logvar")], x, sigma)

Cost: each distinct network is called as often as in one composed denoiser of all of them; here once.
"""

from collections.abc import Sequence

from torch import Tensor

from guideplug.denoise.algebra import Denoiser
from guideplug.denoise.condition import Condition
from guideplug.denoise.evaluate import OnePass
from guideplug.denoise.plan import Plan
from guideplug.denoise.value import Value
from guideplug.denoise.weight_input import Level, Step
from guideplug.errors import DenoiserError

__all__ = ["evaluate_together"]


def evaluate_together(
    expressions: Sequence[Denoiser | Value],
    x: Tensor,
    sigma: Level,
    condition: Condition = None,
    *,
    toward: Level | None = None,
    step: Step = None,
) -> list[Tensor]:
    """The denoised samples and values of several expressions, in their order.

    Args:
        expressions: denoisers and values of one space; at least one.
        x, sigma, condition, toward, step: as of `Denoiser.forward`.

    Raises:
        ConditionError, DenoiserError: as of `Denoiser.forward`; or the expressions are of several spaces, or none.
    """
    shapes = {expression.space.shape for expression in expressions}
    if len(shapes) != 1:
        listed = " and ".join(map(str, sorted(shapes))) or "none"
        raise DenoiserError(f"expressions evaluated together are of one space, and these have the shapes {listed}")
    if len(expressions) == 1:
        return [expressions[0](x, sigma, condition, toward=toward, step=step)]
    return OnePass(x, sigma, condition, toward, step, expressions[0].space).values(expressions, Plan())
