"""Guidance by gradients of log-densities: classifiers, and posterior sampling for linear measurements."""

from guideplug import Guider, hook
from guideplug_gradient.classifier import Classifier
from guideplug_gradient.measurement import LinearMeasurement, Measurement
from guideplug_gradient.posterior import Posterior

__all__ = ["Classifier", "LinearMeasurement", "Measurement", "Posterior"]

GUIDEPLUG_API = 2


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Classifier, Posterior]
