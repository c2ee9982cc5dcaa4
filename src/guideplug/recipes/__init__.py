"""The recipes of the core: train, fine-tune, load, snapshot, data, and losses that are computed once."""

from guideplug.recipes.augmented import Augmented
from guideplug.recipes.data import DataModule, DataRecipe
from guideplug.recipes.fine_tune import FineTune
from guideplug.recipes.load import Load
from guideplug.recipes.options import Options
from guideplug.recipes.planned import Planned, PlannedBatch, PlannedSampling
from guideplug.recipes.reference_losses import ReferenceLosses
from guideplug.recipes.resampled import Resampled
from guideplug.recipes.schedule import Constant, Cosine, InverseSqrt, Schedule
from guideplug.recipes.snapshot import Snapshot, stored_averages
from guideplug.recipes.synthetic import SampleSet, Synthetic
from guideplug.recipes.train import Train

__all__ = [
    "Augmented",
    "Constant",
    "Cosine",
    "DataModule",
    "DataRecipe",
    "FineTune",
    "InverseSqrt",
    "Load",
    "Options",
    "Planned",
    "PlannedBatch",
    "PlannedSampling",
    "ReferenceLosses",
    "Resampled",
    "SampleSet",
    "Schedule",
    "Snapshot",
    "Synthetic",
    "Train",
    "stored_averages",
]
