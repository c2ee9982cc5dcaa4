"""Is a network what it is said to be: its error on real examples, and what else it may be."""

from guideplug.check.diagnosis import check_denoiser, glance
from guideplug.check.result import Alternative, Check, Level

__all__ = ["Alternative", "Check", "Level", "check_denoiser", "glance"]
