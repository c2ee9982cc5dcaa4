"""Self-consuming loops: models trained on their own samples, generation after generation."""

from guideplug import Recipe, hook
from guideplug_mad.auxiliary import Auxiliary
from guideplug_mad.generation import Generation

__all__ = ["Auxiliary", "Generation"]


@hook
def guideplug_recipes() -> list[type[Recipe]]:
    return [Generation, Auxiliary]
