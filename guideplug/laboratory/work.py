"""The work of a study: networks, then trials; each is stored when done, so that a killed study resumes.

    networks    every distinct network of the trials, in the store
    trials      samples and their metrics: trials/NUMBER.json, and NUMBER.npz if a figure needs the samples

Both run in ``jobs`` processes. Results depend on the trial and the threads per process, not on the number of processes.
"""

import functools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import nn

from guideplug.compare.workers import Run, asked_to_leave, workers
from guideplug.config import Reader
from guideplug.denoise import Condition, as_arrays
from guideplug.errors import DivergenceError, RunError
from guideplug.files.atomic import check_unchanged, whole_file
from guideplug.files.reading import read_arrays
from guideplug.laboratory.study_plan import Plan, fingerprint, planned
from guideplug.observe import Observers
from guideplug.recipe import Extra, extras_under
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.run.code import code_that_measures, measured_anew
from guideplug.run.folder import read_json
from guideplug.run.measure import Bench, metrics_of
from guideplug.run.preflight import denoiser_of, guided
from guideplug.run.resolve import RunConfig
from guideplug.store import Store, identity
from guideplug.study import Findings, Measured, Study
from guideplug.task import Arm

__all__ = ["TRIALS", "run_study"]

TRIALS = "trials"


def run_study(
    plan: Plan,
    registry: Registry,
    folder: Path,
    store: Store,
    *,
    jobs: int = 1,
    observers: Observers | None = None,
) -> Findings:
    """Do the remaining work, and collect the results.

    Args:
        plan: the study.
        registry: the plugins.
        folder: the study's folder, with a folder ``trials``.
        store: where networks are kept.
        jobs: processes at a time.
        observers: receive ``network`` and ``trial``; with one process also the events of trainings.

    Raises:
        GuideplugError: what failed; finished work is kept.
        Interrupted: SIGINT or SIGTERM; the study can be resumed.
    """
    tell = Observers() if observers is None else observers
    files = [_path(folder, number) for number in range(len(plan.trials))]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    anew = []
    for number in sorted({*range(len(files))} - {*missing}):
        trial_result = _same(plan, number, files[number])
        if plan.trials[number].keep and not trial_result["failed"] and not files[number].with_suffix(".npz").is_file():
            missing.append(number)
        elif trial_result.get("measures") != code_that_measures(plan.configs[number], registry):
            anew.append(number)
    if anew:
        tell("warning", text=measured_anew(len(anew), "trial", "of metrics"))
    missing = sorted([*missing, *anew])
    if missing:
        with _work(plan, registry, folder, store, jobs, tell) as run:
            named = plan.networks
            numbers = sorted(set[int]().union(*(plan.needs[number] for number in missing)))
            unmade = [number for number in numbers if store.find(identity(named[number][1])) is None]
            for done, (number, seconds) in enumerate(run("make", unmade), len(numbers) - len(unmade) + 1):
                tell("network", done=done, total=len(numbers), which=named[number][0], seconds=seconds)
            for done, (number, seconds) in enumerate(run("measure", missing), len(files) - len(missing) + 1):
                tell(
                    "trial",
                    done=done,
                    total=len(files),
                    which=str(plan.trials[number]),
                    axes=dict(plan.trials[number].axes),
                    metrics=read_json(files[number])["metrics"],
                    seconds=seconds,
                )
    return _gathered(plan, registry, folder, store)


def _path(folder: Path, number: int) -> Path:
    return folder / TRIALS / f"{number}.json"


def _read(path: Path) -> dict[str, Any]:
    """The record of a trial."""
    check_unchanged(path, "remove it and resume, and it is measured again")
    return read_json(path)


def _same(plan: Plan, number: int, path: Path) -> dict[str, Any]:
    """The record of an earlier trial; refused if its run has other options, networks, or code."""
    trial, record = plan.trials[number], _read(path)
    if record.get("axes") != dict(trial.axes) or record.get("run") != fingerprint(plan.configs[number]):
        raise RunError(
            f"{path} is not of the run that {trial} is now: the study, a plugin, or a version has changed since; "
            f"remove {path.parent} and resume, or start the study anew in another folder"
        )
    return record


def _gathered(plan: Plan, registry: Registry, folder: Path, store: Store) -> Findings:
    rows = []
    bench = Bench(registry)
    for number, (trial, config) in enumerate(zip(plan.trials, plan.configs, strict=True)):
        record = _read(_path(folder, number))
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
            )
        )
    better = {metric.name: metric.better for config in plan.configs for metric in metrics_of(config.task, registry)}
    return Findings(rows, better)


def _kept(path: Path, trial: str) -> Arm:
    """The samples of a trial, from its file."""
    advice = "remove it and resume, and it is measured again"
    check_unchanged(path, advice)
    try:
        arrays = {name: torch.from_numpy(array) for name, array in read_arrays(path).items()}
    except FileNotFoundError:
        raise ValueError(f"the samples of {trial} were not kept: say Trial(..., keep=True)") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): {advice}") from None
    if "samples" not in arrays:
        raise RunError(f"{path} is damaged (it has no samples): {advice}")
    condition: Condition = arrays.get("condition")
    parts = {name.removeprefix("condition."): part for name, part in arrays.items() if name.startswith("condition.")}
    return Arm(trial, arrays["samples"], parts or condition)


def _references(bench: Bench, config: RunConfig) -> Sequence[Arm]:
    return bench.truth(config).arms


def _obtained(store: Store, recipes: Mapping[str, Any], device: str, role: str) -> nn.Module:
    """The module of a trial's role, from the store."""
    return StoreBuilder(store, torch.device(device), Observers()).obtain(recipes[role])


# Processes


@attrs.define
class _Worker:
    """The state of a worker process; trials and networks are known by their indices."""

    plan: Plan
    folder: Path
    store: Store
    bench: Bench
    observers: Observers

    @cached_property
    def extras(self) -> list[Extra]:
        """All further files that the study's networks need of each other, kept during training."""
        return [extra for _, recipe in self.plan.networks for extra in extras_under(recipe)]

    def make(self, number: int) -> float:
        """Make a network unless it is stored; the seconds spent."""
        begin = time.perf_counter()
        name, recipe = self.plan.networks[number]
        with asked_to_leave() as stop:
            builder = StoreBuilder(self.store, self._device, self.observers, stop=stop)
            builder.expect({name: recipe}, self.extras)
            builder.obtain(recipe)
        return time.perf_counter() - begin

    def measure(self, number: int) -> float:
        """Sample and measure a trial, and write its record; the seconds spent."""
        begin = time.perf_counter()
        trial, config = self.plan.trials[number], self.plan.configs[number]
        path = _path(self.folder, number)
        with asked_to_leave() as stop:
            builder = StoreBuilder(self.store, self._device, Observers(), stop=stop)
            models = {role: denoiser_of(builder.obtain(recipe), role) for role, recipe in config.recipes.items()}
            point = models["main"] if config.guider is None else guided(config.guider, models)
            truth = self.bench.truth(config, stop).metrics
            record: dict[str, Any] = {
                "axes": dict(trial.axes),
                "run": fingerprint(config),
                "measures": code_that_measures(config, self.bench.registry),
                "truth": dict(truth),
                "failed": "",
            }
            try:
                arm, metrics, evaluations = self.bench.sampled(config, point, str(trial), stop)
            except DivergenceError as error:  # a result as well: the weight may be too large
                record |= {"metrics": dict.fromkeys(truth), "evaluations": 0.0, "failed": str(error)}
            else:
                record |= {"metrics": metrics, "evaluations": evaluations}
                if trial.keep:
                    with whole_file(path.with_suffix(".npz")) as file:
                        np.savez(file, **_arrays(arm))
        with whole_file(path) as file:
            file.write((json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
        return time.perf_counter() - begin

    @property
    def _device(self) -> torch.device:
        return torch.device(self.plan.configs[0].device)


def _arrays(arm: Arm) -> dict[str, Any]:
    return {"samples": arm.samples.numpy(), **as_arrays(arm.condition)}


def _worker_of(
    expression: str, common: Mapping[str, object], plugins: Sequence[str], folder: str, root: str
) -> _Worker:
    """The worker of another process."""
    registry = Registry.installed(plugins)
    plan = planned(Reader(registry).expression(expression, Study, "study"), registry, common)
    torch.set_num_threads(plan.configs[0].threads)
    return _Worker(plan, Path(folder), Store(Path(root)), Bench(registry), Observers())


@contextmanager
def _work(plan: Plan, registry: Registry, folder: Path, store: Store, jobs: int, observers: Observers) -> Iterator[Run]:
    """A function that runs a worker's method on networks or trials, in this process or in several."""
    if jobs > 1:
        plugins = plan.configs[0].plugins
        arguments = plan.expression, dict(plan.common), list(plugins), str(folder), str(store.root)
        with workers(jobs, _worker_of, arguments, label=lambda number: f"number {number}") as run:
            yield run
        return
    torch.set_num_threads(plan.configs[0].threads)
    worker = _Worker(plan, folder, store, Bench(registry), observers)
    yield lambda method, numbers: ((number, getattr(worker, method)(number)) for number in numbers)
