"""Training with data selection: one loop, what it counts, and where it stood when."""

from guideplug.train.counters import Counters, Moment, moment_at
from guideplug.train.training import CHECK_EVERY, Training

__all__ = ["CHECK_EVERY", "Counters", "Moment", "Training", "moment_at"]
