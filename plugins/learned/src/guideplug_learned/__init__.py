"""Learned guidance weights: a guider around any affine one, and the recipes that make its weight network.

    D(x; sigma, c) = D_0(x; sigma, c) + omega(c, sigma, toward) * (D_0(x; sigma, c) - D_guide(x; sigma, c))

`guider` has the equation, `network` the weight, `fit` how it is fitted, `consistency` the losses.

Source: A. Galashov, A. Pokle, A. Doucet, A. Gretton, M. Delbracio and V. De Bortoli 2025, "Learn to guide your
diffusion model", arXiv:2510.00815.
"""

from guideplug import Guider, Recipe, hook
from guideplug_learned.errors import DivergedError, LearnedError
from guideplug_learned.fit import Fit
from guideplug_learned.fitted import Fitted
from guideplug_learned.guider import Learned
from guideplug_learned.network import WeightNetwork

__all__ = ["DivergedError", "Fit", "Fitted", "Learned", "LearnedError", "WeightNetwork"]

GUIDEPLUG_API = 2


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Learned]


@hook
def guideplug_recipes() -> list[type[Recipe]]:
    return [Fit, Fitted]
