"""Weights & Biases: a run's curves, metrics and figures, kept below RUN_FOLDER/wandb, sent anywhere only when asked.

    config     the run's configuration
    history    ROLE/loss, learning_rate, selected_share, effective_sample_size, seconds..., by ROLE/step
    summary    ARM/METRIC, status
    media      the figures

Offline unless the option ``mode`` or the environment's WANDB_MODE says otherwise; it can be sent later, with
``wandb sync RUN_FOLDER/wandb/offline-*``. The run's id is kept in its folder with the steps that were logged: a run
that goes on is the same one there, and logs no step twice (what it repeats has the same bits).

The library is imported when a run begins that asked for it. Its service process ends with the run, its caches stay in
the folder, and what it changes of this process (environment, exit hooks) is put back. Source: https://docs.wandb.ai.
Cost: no network calls in the sense of denoisers.
"""

import contextlib
import json
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from attrs import frozen

from guideplug import GuideplugError, Listener, Observer, RunInfo, hook, option, read_bytes

__all__ = ["WeightsAndBiases"]

Mode = Literal["offline", "online", "disabled"]


MOST_BYTES = 1024**2
"""Bytes of the notes that are kept of a run."""


@final
@frozen
class WeightsAndBiases(Observer):
    """Weights & Biases: offline below the run's folder, unless mode=online or WANDB_MODE says otherwise."""

    name = "wandb"
    extras: ClassVar[Mapping[str, str]] = {"wandb": "guideplug-wandb[wandb]"}
    project: str = option("guideplug", help="the project that the run is filed under")
    mode: Mode | None = option(None, help="offline, online or disabled; none is $WANDB_MODE, or else offline")
    entity: str | None = option(None, help="the user or team; none is the library's default")
    group: str | None = option(None, help="the group that the run belongs to")
    tags: tuple[str, ...] = option((), help="words to find the run by")

    def open(self, observed: RunInfo) -> Listener:
        return _Run(self, observed)


class _Run(Listener):
    """One run, open from the beginning to the end."""

    def __init__(self, options: WeightsAndBiases, observed: RunInfo) -> None:
        folder = observed.folder / "wandb"
        folder.mkdir(exist_ok=True)
        self._notes = folder / "guideplug.json"
        noted = _noted(self._notes)
        self._id: str = noted.get("id") or uuid.uuid4().hex[:8]
        self._rows: int = noted.get("rows", 0)
        self._steps: dict[str, int] = noted.get("steps", {})
        self._exit_code = 1
        self._note()
        mode = options.mode or os.environ.get("WANDB_MODE") or "offline"
        with _put_back(folder, mode):
            import wandb
            from wandb.sdk import wandb_setup

            self._wandb = wandb
            self._alone = getattr(wandb_setup, "_singleton", None) is None
            self._run = wandb.init(
                project=options.project,
                entity=options.entity,
                group=options.group,
                tags=list(options.tags),
                name=observed.folder.name,
                job_type=observed.kind,
                id=self._id,
                resume="allow",
                dir=str(observed.folder),
                mode=mode,  # type: ignore[arg-type]  # whatever the environment says is wandb's to judge
                config=dict(observed.config),
                settings=wandb.Settings(
                    console="off", silent=True, quiet=True, disable_git=True, disable_code=True, reinit="create_new",
                    x_disable_stats=True, x_disable_machine_info=True,
                ),
            )  # fmt: skip

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        """Log what it is about."""
        match event:
            case "train":
                self._run.define_metric(f"{data['role']}/step")
                self._run.define_metric(f"{data['role']}/*", step_metric=f"{data['role']}/step")
            case "step" if data["step"] > self._steps.get(data["role"], 0):
                self._curves(data["role"], data)
            case "preview" if self._is_new(f"{data['role']}/preview", data["step"]):
                picture = self._wandb.Image(data["path"])
                self._log({f"{data['role']}/step": data["step"], f"{data['role']}/preview": picture})
            case "training_metrics" if self._is_new(f"{data['role']}/{data['weights']}", data["step"]):
                values = _numbers(data["values"], f"{data['role']}/{data['weights']}")
                self._log({f"{data['role']}/step": data["step"], **values})
            case "metrics":
                self._run.summary.update(_numbers(data["values"], data["arm"]))
            case "figure" if str(data["path"]).endswith(".png"):
                self._log({data["name"]: self._wandb.Image(data["path"])})
            case "trial":
                self._log({"trial": data["done"], **_numbers(data["metrics"], "trials")})
            case "cell":
                self._log({"step": data["at"], "seed": data["seed"], **dict(_cells(data))})
            case "end":
                self._exit_code = 0 if data["status"] == "finished" else 1
                self._run.summary.update({"status": data["status"]})

    def _is_new(self, key: str, step: int) -> bool:
        """Whether a step is none that an earlier try logged under a key; from now on it is one."""
        new = step > self._steps.get(key, 0)
        if new:
            self._steps[key] = step
        return new

    def _curves(self, role: str, data: Mapping[str, Any]) -> None:
        curves = {
            "loss": data["loss"],
            "learning_rate": data["lr"],
            "selected_share": data["kept"],
            "effective_sample_size": data["effective_sample_size"],
            "seconds": data["seconds"],
            **{f"seconds_{phase}": seconds for phase, seconds in data["phases"].items()},
        }
        self._steps[role] = data["step"]
        self._log({f"{role}/step": data["step"], **_numbers(curves, role)})

    def _log(self, row: Mapping[str, Any]) -> None:
        """A row of the history, numbered on through all tries of the run: of rows with one number one would be lost."""
        self._run.log(dict(row), step=self._rows, commit=True)
        self._rows += 1
        self._note()

    def _note(self) -> None:
        """Keep the id and what was logged, whole or not at all."""
        aside = self._notes.with_suffix(".tmp")
        aside.write_text(json.dumps({"id": self._id, "rows": self._rows, "steps": self._steps}))
        aside.replace(self._notes)

    def close(self) -> None:
        """Finish the run, and end the library's service where nobody used it before."""
        self._run.finish(exit_code=self._exit_code)
        if self._alone:
            self._wandb.teardown()


def _numbers(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in values.items() if isinstance(value, int | float)}


def _cells(data: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for guider, values in data["metrics"].items():
        yield from _numbers(values, f"{guider}, {data['selector']}, seed {data['seed']}").items()


def _noted(path: Path) -> dict[str, Any]:
    """The notes of an earlier try; none where there was none."""
    try:
        notes = json.loads(read_bytes(path, MOST_BYTES, path.parent))
        if not isinstance(notes, dict):
            raise ValueError("it holds no JSON object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise GuideplugError(f"{path} cannot be read ({error}): remove it to log as a new run") from None
    return notes


@contextlib.contextmanager
def _put_back(folder: Path, mode: str) -> Iterator[None]:
    """Keep the library's files in a folder, and offline its reports of itself here; then put back what it changed."""
    wanted = {"WANDB_MODE": mode}
    if mode != "online":
        parts = {"WANDB_CACHE_DIR": "cache", "WANDB_DATA_DIR": "data", "WANDB_CONFIG_DIR": "config"}
        wanted |= {"WANDB_ERROR_REPORTING": "false", **{name: str(folder / part) for name, part in parts.items()}}
    before = {name: os.environ.get(name) for name in wanted}
    hooks = sys.excepthook, sys.exit
    os.environ.update(wanted)
    try:
        yield
    finally:
        sys.excepthook, sys.exit = hooks
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@hook
def guideplug_observers() -> list[type[Observer]]:
    return [WeightsAndBiases]
