"""Checks before work: of a network against its declared wrapping, and of training data."""

from guideplug.check.diagnosis import check_denoiser, glance
from guideplug.check.result import Alternative, Check, Level
from guideplug.check.training_data import check_data

__all__ = ["Alternative", "Check", "Level", "check_data", "check_denoiser", "glance"]
