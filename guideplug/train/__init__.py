"""Training with data selection: the loop, its data, losses, options, counters and history."""

from guideplug.train.counters import Counters, Moment, moment_at
from guideplug.train.dataset import FiniteData
from guideplug.train.loop_state import LoopState
from guideplug.train.loss import Denoising
from guideplug.train.options import TrainOptions
from guideplug.train.schedule import Constant, Cosine, InverseSqrt, Schedule
from guideplug.train.training import CHECK_EVERY, Training

__all__ = [
    "CHECK_EVERY",
    "Constant",
    "Cosine",
    "Counters",
    "Denoising",
    "FiniteData",
    "InverseSqrt",
    "LoopState",
    "Moment",
    "Schedule",
    "TrainOptions",
    "Training",
    "moment_at",
]
