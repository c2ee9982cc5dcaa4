"""Training with data selection: one loop, its data, losses and options, what it counts, and where it stood when."""

from guideplug.train.counters import Counters, Moment, moment_at
from guideplug.train.dataset import FiniteData
from guideplug.train.options import TrainOptions
from guideplug.train.schedule import Constant, Cosine, InverseSqrt, Schedule
from guideplug.train.training import CHECK_EVERY, Training

__all__ = [
    "CHECK_EVERY",
    "Constant",
    "Cosine",
    "Counters",
    "FiniteData",
    "InverseSqrt",
    "Moment",
    "Schedule",
    "TrainOptions",
    "Training",
    "moment_at",
]
