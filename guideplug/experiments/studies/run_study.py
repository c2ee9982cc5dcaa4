"""The work of a study: networks, then trials; each is stored when done, so that a killed study resumes.

    networks    every distinct network of the trials, in the store
    trials      samples and their metrics: trials/NUMBER.json, and NUMBER.npz if a figure needs the samples

A trial begins when its networks are there. Results depend on the trial and the threads per process, not on where jobs
run.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from guideplug.denoise import from_arrays
from guideplug.errors import RunError
from guideplug.executors import Executor, Job, Serial
from guideplug.executors.torchrun import refuse_torchrun
from guideplug.experiments.engine import engine_on
from guideplug.experiments.networks import NetworkJobs
from guideplug.experiments.records import AGAIN, check_code, read_record
from guideplug.experiments.studies.study_plan import Plan, fingerprint
from guideplug.experiments.studies.worker import workers_of
from guideplug.files.atomic import check_unchanged, whole_file
from guideplug.files.display import display_path
from guideplug.files.opening import is_there
from guideplug.files.reading import read_arrays
from guideplug.observe import Observers
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.run.code import code_that_measures, measured_anew
from guideplug.run.measure import Bench, metrics_of
from guideplug.run.resolve import RunConfig
from guideplug.store import Store
from guideplug.study import Findings, Measured
from guideplug.task import Arm

__all__ = ["TRIALS", "run_study"]

TRIALS = "trials"


def run_study(
    plan: Plan,
    registry: Registry,
    folder: Path,
    store: Store,
    *,
    executor: Executor | None = None,
    observers: Observers | None = None,
) -> Findings:
    """Do the remaining work, and collect the results.

    Args:
        plan: the study.
        registry: the plugins.
        folder: the study's folder, with a folder ``trials``.
        store: where networks are kept.
        executor: where jobs run; None for this process.
        observers: receive ``network`` and ``trial``; those of this process also the events of trainings.

    Raises:
        GuideplugError: what failed; finished work is kept.
        Interrupted: SIGINT or SIGTERM; the study can be resumed.
    """
    refuse_torchrun()
    observers = observers or Observers()
    if missing := _missing(plan, registry, folder, observers):
        networks = NetworkJobs(plan.networks, store, observers)
        before = networks.missing({key for number in missing for key in plan.needs[number]})
        jobs = [
            Job(f"trial {number}, {plan.trials[number]}", "measure", (number,), networks.before(plan.needs[number]))
            for number in missing
        ]
        done = len(plan.trials) - len(missing)
        with engine_on(executor or Serial(), workers_of(plan, registry, store, observers)) as engine:
            for job, value in networks.watched(engine.run([*before, *jobs])):
                (number,) = job.arguments
                record, config = value["record"], plan.configs[number]
                expected = fingerprint(config), code_that_measures(config, registry)
                check_code(job.key, expected, (record["run"], record["measures"]))
                _write(folder, number, value)
                done += 1
                observers(
                    "trial",
                    done=done,
                    total=len(plan.trials),
                    which=str(plan.trials[number]),
                    axes=dict(plan.trials[number].axes),
                    metrics=record["metrics"],
                    seconds=value["seconds"],
                )
    return _gathered(plan, registry, folder, store)


def _missing(plan: Plan, registry: Registry, folder: Path, observers: Observers) -> list[int]:
    """The trials to measure: those without a whole record, and those that were measured with other code."""
    missing, anew = [], []
    for number, trial in enumerate(plan.trials):
        file = _path(folder, number)
        if not is_there(file):
            missing.append(number)
            continue
        record = _same(plan, number, file)
        unkept = trial.keep and not record["failed"] and not is_there(file.with_suffix(".npz"))
        if unkept or "failures" in record:
            missing.append(number)
        elif record.get("measures") != code_that_measures(plan.configs[number], registry):
            anew.append(number)
    if anew:
        observers("warning", text=measured_anew(len(anew), "trial", "of metrics"))
    return sorted([*missing, *anew])


def _write(folder: Path, number: int, value: Mapping[str, Any]) -> None:
    """Keep the record of a trial, after its samples if they are kept."""
    path = _path(folder, number)
    if value["arrays"]:
        with whole_file(path.with_suffix(".npz")) as file:
            np.savez(file, **value["arrays"])
    with whole_file(path) as file:
        file.write((json.dumps(value["record"], indent=1, allow_nan=False) + "\n").encode())


def _path(folder: Path, number: int) -> Path:
    return folder / TRIALS / f"{number}.json"


def _same(plan: Plan, number: int, path: Path) -> dict[str, Any]:
    """The record of an earlier trial; refused if its run has other options, networks, or code."""
    trial, record = plan.trials[number], read_record(path)
    if record.get("axes") != dict(trial.axes) or record.get("run") != fingerprint(plan.configs[number]):
        raise RunError(
            f"{display_path(path)} is not of the run that {trial} is now: the study, a plugin, or a version has "
            f"changed since; remove {display_path(path.parent)} and resume, or start the study anew in another folder"
        )
    return record


def _gathered(plan: Plan, registry: Registry, folder: Path, store: Store) -> Findings:
    rows = []
    bench = Bench(registry)
    for number, (trial, config) in enumerate(zip(plan.trials, plan.configs, strict=True)):
        record = read_record(_path(folder, number))
        rows.append(
            Measured(
                axes=trial.axes,
                task=config.task,
                metrics=record["metrics"],
                truth=record["truth"],
                evaluations=record["evaluations"],
                samples=functools.partial(_kept, _path(folder, number).with_suffix(".npz"), str(trial)),
                references=functools.partial(_references, bench, config),
                obtain=functools.partial(_obtained, store, config.recipes, config.device),
                failed=record["failed"],
                failures={failure["name"]: failure["reason"] for failure in record.get("failures", ())},
            )
        )
    better = {metric.name: metric.better for config in plan.configs for metric in metrics_of(config.task, registry)}
    return Findings(rows, better)


def _kept(path: Path, trial: str) -> Arm:
    """The samples of a trial, from its file."""
    check_unchanged(path, AGAIN)
    try:
        arrays = read_arrays(path, path.parent)
    except FileNotFoundError:
        raise ValueError(f"the samples of {trial} were not kept: say Trial(..., keep=True)") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): {AGAIN}") from None
    if "samples" not in arrays:
        raise RunError(f"{path} is damaged (it has no samples): {AGAIN}")
    return Arm(trial, torch.from_numpy(arrays["samples"]), from_arrays(arrays))


def _references(bench: Bench, config: RunConfig) -> Sequence[Arm]:
    return bench.truth(config).arms


def _obtained(store: Store, recipes: Mapping[str, Any], device: str, role: str) -> nn.Module:
    """The module of a trial's role, from the store."""
    return StoreBuilder(store, torch.device(device), Observers()).obtain(recipes[role])
