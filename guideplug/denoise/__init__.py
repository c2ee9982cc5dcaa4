"""The algebra of denoisers, and its evaluation in one pass."""

from guideplug.denoise.algebra import Affine, Combine, Denoiser, Direction, Leaf, Perturbation
from guideplug.denoise.built import fault_of_leaf, fault_of_module
from guideplug.denoise.change import Change
from guideplug.denoise.condition import (
    Condition,
    as_arguments,
    equal_conditions,
    expand,
    form_of,
    in_type,
    is_condition,
    labels_of,
    mapped,
    mixed_rows,
    on_device,
    parts_of,
    same_form,
    select_rows,
    with_parts,
)
from guideplug.denoise.condition_batch import concatenate, why_apart
from guideplug.denoise.condition_file import as_arrays, from_arrays, is_part
from guideplug.denoise.domain import Domain, NoiseDomain, Start
from guideplug.denoise.formula import apart, calls, formula, switched_off, taken
from guideplug.denoise.gate import Gate
from guideplug.denoise.gradient import GradientGuided, LogDensity
from guideplug.denoise.node import Fixed, NetworkNode, Query, Slot, Terms
from guideplug.denoise.noisy import check_noisy, wide
from guideplug.denoise.output import Output, PointOutput, ValueOutput
from guideplug.denoise.rows import per_row
from guideplug.denoise.sample_weights import SampleWeights, WeightColumn, numbered
from guideplug.denoise.space import Space
from guideplug.denoise.tally import Count, Tally, tally
from guideplug.denoise.together import evaluate_together
from guideplug.denoise.unwritten import unwritten
from guideplug.denoise.value import Value
from guideplug.denoise.view import LeafWrapper, Perturbed, SharedView, View, perturbed
from guideplug.denoise.weight import Polynomial, Weight, WeightSchedule
from guideplug.denoise.weight_input import Level, LinearStep, Step, WeightInput

__all__ = [
    "Affine",
    "Change",
    "Combine",
    "Condition",
    "Count",
    "Denoiser",
    "Direction",
    "Domain",
    "Fixed",
    "Gate",
    "GradientGuided",
    "Leaf",
    "LeafWrapper",
    "Level",
    "LinearStep",
    "LogDensity",
    "NetworkNode",
    "NoiseDomain",
    "Output",
    "Perturbation",
    "Perturbed",
    "PointOutput",
    "Polynomial",
    "Query",
    "SampleWeights",
    "SharedView",
    "Slot",
    "Space",
    "Start",
    "Step",
    "Tally",
    "Terms",
    "Value",
    "ValueOutput",
    "View",
    "Weight",
    "WeightColumn",
    "WeightInput",
    "WeightSchedule",
    "apart",
    "as_arguments",
    "as_arrays",
    "calls",
    "check_noisy",
    "concatenate",
    "equal_conditions",
    "evaluate_together",
    "expand",
    "fault_of_leaf",
    "fault_of_module",
    "form_of",
    "formula",
    "from_arrays",
    "in_type",
    "is_condition",
    "is_part",
    "labels_of",
    "mapped",
    "mixed_rows",
    "numbered",
    "on_device",
    "parts_of",
    "per_row",
    "perturbed",
    "same_form",
    "select_rows",
    "switched_off",
    "taken",
    "tally",
    "unwritten",
    "why_apart",
    "wide",
    "with_parts",
]
