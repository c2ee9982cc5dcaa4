"""The core's own observers of moments along trainings: previews and metrics on the way."""

from guideplug.observers.measure import Measure
from guideplug.observers.preview import Preview

__all__ = ["Measure", "Preview"]
