"""TensorBoard: a run's curves, metrics and figures, written below RUN_FOLDER/tensorboard as it goes on.

    training/ROLE    loss, learning_rate, selected_share, effective_sample_size, seconds/PHASE; by optimiser step
    arms/...         the curves of a comparison: each metric by step, one folder a guider, selector and seed
    .                metrics/ARM/METRIC, figures, the configuration as a text and as hyperparameters

A training that goes on from an earlier state says so to TensorBoard (``purge_step``), which then shows no step twice.
What was written is on disk as soon as the state that a killed run goes on from.

TensorBoard is imported when a run begins that asked for it. Source: https://www.tensorflow.org/tensorboard. Cost: no
network calls.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from attrs import frozen

from guideplug import Listener, Observer, RunInfo, hook, option, positive, read_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoard"]

ROOT = "."
MOST_BYTES = 64 * 1024**2
"""Bytes of a figure."""


@final
@frozen
class TensorBoard(Observer):
    """TensorBoard files below the run's folder: tensorboard --logdir RUN_FOLDER."""

    name = "tensorboard"
    extras: ClassVar[Mapping[str, str]] = {"tensorboard": "guideplug-tensorboard[tensorboard]"}
    flush: float = option(10.0, help="longest time between two writes", unit="seconds", validator=positive)

    def open(self, observed: RunInfo) -> Listener:
        from torch.utils.tensorboard import SummaryWriter  # noqa: F401 - what is wrong with it is told before the run begins

        return _Writers(observed, self.flush)


class _Writers(Listener):
    """A writer for each folder, opened when there is something to write."""

    def __init__(self, observed: RunInfo, flush: float) -> None:
        self._folder, self._flush = observed.folder / "tensorboard", flush
        self._observed = observed
        self._writers: dict[str, SummaryWriter] = {}
        self._step = 0
        self._metrics: dict[str, dict[str, float]] = {}

    def _writer(self, *parts: str, purge: int | None = None) -> "SummaryWriter":
        """The writer of a folder; ``purge`` is the first step that it writes anew, where it is opened."""
        from torch.utils.tensorboard import SummaryWriter

        place = "/".join(re.sub(r"[^\w.,=()+ -]|^\.", "_", part) for part in parts) or ROOT
        if place not in self._writers:
            self._writers[place] = SummaryWriter(
                str(self._folder / place), purge_step=purge, max_queue=1000, flush_secs=self._flush
            )
        return self._writers[place]

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        """Write what it is about."""
        match event:
            case "run":
                text = json.dumps(dict(self._observed.config), indent=1, default=str)
                self._writer(purge=0 if self._observed.resumed and self._observed.kind in ("run", "sample") else None)
                self._writer().add_text("config", "\n".join(f"    {line}" for line in text.splitlines()), 0)
            case "train":
                self._close("training", data["role"])
                self._writer("training", data["role"], purge=data["step"] + 1 if data["step"] else 0)
            case "step":
                self._curves(data)
            case "preview":
                writer, name = self._writer("training", data["role"]), "preview"
                writer.add_image(name, _pixels(Path(data["path"])), data["step"], dataformats="HWC")
            case "training_metrics":
                for name, value in _numbers(data["values"]).items():
                    writer = self._writer("training", data["role"])
                    writer.add_scalar(f"metrics/{data['weights']}/{name}", value, data["step"])
            case "checkpoint" | "trained":
                self._writer("training", data["role"]).flush()
                self._note_step(data["role"], data["step"])
            case "found":
                self._note_step(data["role"], data.get("iterations"))
            case "metrics":
                self._metrics[data["arm"]] = found = _numbers(data["values"])
                for name, value in found.items():
                    self._writer().add_scalar(f"metrics/{data['arm']}/{name}", value, self._step)
            case "figure" if str(data["path"]).endswith(".png"):
                self._writer().add_image(data["name"], _pixels(Path(data["path"])), self._step, dataformats="HWC")
            case "trial":
                for name, value in _numbers(data["metrics"]).items():
                    self._writer().add_scalar(f"trials/{name}", value, data["done"])
            case "cell":
                for guider, values in data["metrics"].items():
                    writer = self._writer("arms", f"{guider}, {data['selector']}, seed {data['seed']}")
                    for name, value in _numbers(values).items():
                        writer.add_scalar(name, value, data["at"])
            case "end":
                self._hyperparameters()

    def _note_step(self, role: str, step: int | None) -> None:
        """What is measured is measured at the last step of the main network."""
        if role == "main" and step is not None:
            self._step = step

    def _curves(self, data: Mapping[str, Any]) -> None:
        writer, step = self._writer("training", data["role"]), data["step"]
        curves = {
            "loss": data["loss"],
            "learning_rate": data["lr"],
            "selected_share": data["kept"],
            "effective_sample_size": data["effective_sample_size"],
            "seconds/total": data["seconds"],
            **{f"seconds/{phase}": seconds for phase, seconds in data["phases"].items()},
        }
        for name, value in _numbers(curves).items():
            writer.add_scalar(name, value, step)

    def _hyperparameters(self) -> None:
        """The configuration beside the metrics of the guided arm, or of the only one, for TensorBoard's table."""
        from torch.utils.tensorboard.summary import hparams

        arm = next((name for name in ("guided", "unguided") if name in self._metrics), None)
        if arm is None:
            return
        measured = {f"metrics/{arm}/{name}": value for name, value in self._metrics[arm].items()}
        file: Any = self._writer().file_writer  # `add_hparams` would open a folder of its own for them
        summaries = hparams(dict(_flat(self._observed.config)), measured)  # type: ignore[no-untyped-call]
        for summary in summaries:
            file.add_summary(summary)

    def _close(self, *parts: str) -> None:
        writer = self._writers.pop("/".join(parts), None)
        if writer is not None:
            writer.close()

    def close(self) -> None:
        """Close every file, and with it the thread that writes it."""
        while self._writers:
            self._writers.popitem()[1].close()


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str | float | bool]]:
    """Every option under a name with dots; lists as texts."""
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{path}{name}.")
        else:
            yield f"{path}{name}", item if isinstance(item, str | int | float | bool) else str(item)


def _pixels(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(read_bytes(path, MOST_BYTES))) as image:
        return np.asarray(image.convert("RGB"))


@hook
def guideplug_observers() -> list[type[Observer]]:
    return [TensorBoard]
