"""The recipes of the core: networks, sets of samples and tables of losses."""

from guideplug.recipes.augmented import Augmented
from guideplug.recipes.data import DataModule, DataRecipe
from guideplug.recipes.degraded import Degraded
from guideplug.recipes.fine_tune import FineTune
from guideplug.recipes.load import Load
from guideplug.recipes.planned import PlannedBatch, PlannedSampling
from guideplug.recipes.post_hoc import PostHoc
from guideplug.recipes.python_ref import PythonRef
from guideplug.recipes.reference_losses import ReferenceLosses
from guideplug.recipes.resampled import Resampled
from guideplug.recipes.snapshot import Snapshot
from guideplug.recipes.synthetic import SampleSet, Synthetic
from guideplug.recipes.train import Train
from guideplug.recipes.views import ViewRecipe, WithoutLayers
from guideplug.recipes.weaker import half_width, weaker

__all__ = [
    "Augmented",
    "DataModule",
    "DataRecipe",
    "Degraded",
    "FineTune",
    "Load",
    "PlannedBatch",
    "PlannedSampling",
    "PostHoc",
    "PythonRef",
    "ReferenceLosses",
    "Resampled",
    "SampleSet",
    "Snapshot",
    "Synthetic",
    "Train",
    "ViewRecipe",
    "WithoutLayers",
    "half_width",
    "weaker",
]
