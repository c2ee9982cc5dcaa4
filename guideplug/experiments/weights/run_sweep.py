"""A sweep from plan to folder: its events, results, tables and figures."""

import platform
import time
from collections.abc import Sequence

import attrs
import tomli_w
import torch

from guideplug.executors.interrupt import StopToken
from guideplug.experiments.weights.result import WeightSweep
from guideplug.experiments.weights.sweep import SAMPLES, draw_sweep
from guideplug.experiments.weights.sweep_plan import SweepPlan
from guideplug.experiments.weights.write_report import write_report
from guideplug.files.atomic import at_work_in
from guideplug.observe import Listener, RunInfo
from guideplug.run.carried import carried
from guideplug.run.event_scope import event_scope
from guideplug.run.folder import EventLog, RunFolder
from guideplug.run.resolve import observers_table, to_table
from guideplug.store import Store

__all__ = ["PARTS", "run_sweep"]

PARTS = (SAMPLES, "figures")
"""The folders in a sweep's folder."""


def run_sweep(
    plan: SweepPlan,
    folder: RunFolder,
    store: Store,
    stop: StopToken,
    listeners: Sequence[Listener] = (),
    command: str = "",
) -> WeightSweep:
    """Carry out a sweep, and write its files.

    Args:
        plan: the sweep.
        folder: a new folder with `PARTS`.
        store: of networks.
        stop: raises if a stop was requested.
        listeners: receive events beside the event log and the observers.
        command: the command or the call, for the record.

    Raises:
        GuideplugError: what failed; the samples that were drawn are kept.
    """
    config = plan.config
    torch.set_num_threads(config.threads)
    info = RunInfo(folder.path, "sample", {**observers_table(config), **to_table(config)})
    arms = ["unguided", *(f"{plan.option} {weight:g}" for weight in plan.weights)]
    planned = {"task": config.task.name, "guider": plan.expression, "arms": arms, "samples": config.samples,
               "roles": list(config.recipes)}  # fmt: skip
    with at_work_in(folder.path):
        table = {**info.config, "guider": plan.expression}
        folder.write_text(folder.path / "weights.toml", tomli_w.dumps(carried(folder.path, table)))
        with event_scope([EventLog(folder.events), *listeners], config.observers, info, planned) as observers:
            sweep, kept = draw_sweep(plan, folder, store, observers, stop)
            versions = {"guideplug": plan.registry.plugin("core").version, "torch": torch.__version__}
            record = {"command": command, "ended": time.time(), "versions": versions, "device": config.device,
                      "platform": platform.platform(), **sweep.record}  # fmt: skip
            return write_report(attrs.evolve(sweep, record=record), kept, folder.path)
