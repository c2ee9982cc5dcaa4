"""Studies of guidance: what papers claim, as grids of runs."""

from guideplug import Study, hook
from guideplug_studies.figure_one import FigureOne
from guideplug_studies.learned import Learned
from guideplug_studies.weights import Weights

__all__ = ["FigureOne", "Learned", "Weights"]


@hook
def guideplug_studies() -> list[type[Study]]:
    return [FigureOne, Learned, Weights]
