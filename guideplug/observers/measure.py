"""Metrics of the task on the way: few samples of the network in training, from the same noise at every moment.

Metrics of few samples are biased, most of them by an amount that depends on their number: they show the course of a
training, and are compared with each other, not with those of a finished run.

Cost per moment: one sampling of ``samples`` samples per set of weights, and the metrics; not counted as training.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from attrs import frozen
from attrs.validators import min_len

from guideplug.config import Duration, at_least, option
from guideplug.observe import Listener, Observer, RunInfo, TrainingMoment
from guideplug.observers.along import Along

__all__ = ["Measure"]


@final
@frozen
class Measure(Observer):
    """Metrics of few samples of the raw and the averaged weights, at moments of the training."""

    name = "measure"
    every: Duration = option(help="training between two measurements: 512it, 1Mex or 60s", converter=Duration.of)
    samples: int = option(256, help="samples of each set of weights", validator=at_least(2))
    metrics: tuple[str, ...] = option((), help="names of the task's metrics; empty for all")
    roles: tuple[str, ...] = option(("main",), help="the networks whose trainings are followed", validator=min_len(1))

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"every": Duration(4, "it")}

    def open(self, observed: RunInfo) -> Listener:
        return _Measurements(observed, self)


class _Measurements(Along):
    def __init__(self, observed: RunInfo, measure: Measure) -> None:
        super().__init__(observed, measure.every, measure.roles)
        self.measure = measure

    def at(self, moment: TrainingMoment) -> None:
        for weights in moment.weights:
            begin = time.perf_counter()
            values = moment.measure(moment.sample(weights, self.measure.samples), self.measure.metrics)
            seconds = round(time.perf_counter() - begin, 3)
            moment.emit(
                "training_metrics", weights=weights, samples=self.measure.samples, values=values, seconds=seconds
            )
