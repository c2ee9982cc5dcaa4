"""Previews: samples of the network in training, from the same noise at every moment, as a PNG.

    preview = the task's figure of true samples, and of D(x; sigma) with the raw weights and with each average

Cost per moment: one sampling of ``samples`` samples per set of weights, none of it counted as training.
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

__all__ = ["Preview"]


@final
@frozen
class Preview(Observer):
    """Samples of the raw and the averaged weights as a PNG, at moments of the training."""

    name = "preview"
    every: Duration = option(help="training between two previews: 512it, 1Mex or 60s", converter=Duration.of)
    samples: int = option(64, help="samples of each set of weights", validator=at_least(2))
    roles: tuple[str, ...] = option(("main",), help="the networks whose trainings are followed", validator=min_len(1))

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        return {"every": Duration(4, "it")}

    def open(self, observed: RunInfo) -> Listener:
        return _Previews(observed, self)


class _Previews(Along):
    def __init__(self, observed: RunInfo, preview: Preview) -> None:
        super().__init__(observed, preview.every, preview.roles)
        self.samples = preview.samples

    def at(self, moment: TrainingMoment) -> None:
        begin = time.perf_counter()
        folder = self.folder / "previews"
        folder.mkdir(exist_ok=True)
        path = folder / f"{moment.role}-{moment.number:04d}.png"
        moment.draw([moment.sample(weights, self.samples) for weights in moment.weights], path)
        seconds = round(time.perf_counter() - begin, 3)
        moment.emit("preview", path=str(path), weights=list(moment.weights), samples=self.samples, seconds=seconds)
