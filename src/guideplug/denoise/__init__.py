"""The algebra of denoisers, and its evaluation in one pass."""

from guideplug.denoise.algebra import Affine, Combine, Denoiser, Direction, Leaf
from guideplug.denoise.condition import Condition, concatenate, expand, on_device, select_rows
from guideplug.denoise.formula import calls, formula
from guideplug.denoise.query import Fixed, Query, Slot
from guideplug.denoise.space import Space
from guideplug.denoise.tally import Count, Tally, tally
from guideplug.denoise.weight import Level, Polynomial, Weight

__all__ = [
    "Affine",
    "Combine",
    "Condition",
    "Count",
    "Denoiser",
    "Direction",
    "Fixed",
    "Leaf",
    "Level",
    "Polynomial",
    "Query",
    "Slot",
    "Space",
    "Tally",
    "Weight",
    "calls",
    "concatenate",
    "expand",
    "formula",
    "on_device",
    "select_rows",
    "tally",
]
