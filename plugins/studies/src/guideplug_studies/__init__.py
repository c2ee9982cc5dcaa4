"""Studies of guidance: what papers claim, as grids of runs."""

from guideplug import Study, hook
from guideplug_studies.budget import Budget
from guideplug_studies.degradations import Degradations
from guideplug_studies.figure_one import FigureOne
from guideplug_studies.learned import Learned
from guideplug_studies.mad import Mad
from guideplug_studies.shift import Shift
from guideplug_studies.weights import Weights

__all__ = ["Budget", "Degradations", "FigureOne", "Learned", "Mad", "Shift", "Weights"]


@hook
def guideplug_studies() -> list[type[Study]]:
    return [Budget, Degradations, FigureOne, Learned, Mad, Shift, Weights]
