"""The worker of a study: trials."""

import time
from collections.abc import Mapping
from typing import Any

import attrs
import torch

from guideplug.config import Reader
from guideplug.denoise import as_arrays
from guideplug.errors import DivergenceError
from guideplug.executors import WorkerSource
from guideplug.executors.interrupt import handle_signals
from guideplug.experiments.studies.study_plan import Plan, fingerprint, planned
from guideplug.experiments.worker import ExperimentWorker
from guideplug.files.opened import expect, versions
from guideplug.observe import Observers
from guideplug.registry.registry import Registry
from guideplug.run.code import code_that_measures
from guideplug.run.failure import Failures
from guideplug.run.measure import Bench
from guideplug.store import Store
from guideplug.study import Study
from guideplug.task import Arm

__all__ = ["StudyWorker", "workers_of"]


def workers_of(plan: Plan, registry: Registry, store: Store, observers: Observers) -> WorkerSource:
    """The workers of a study; that of this process reports the events of its trainings."""
    first = plan.configs[0]
    torch.set_num_threads(first.threads)
    here = _worker(plan, registry, store, observers)
    return WorkerSource(
        here, _elsewhere, (versions(), plan.expression, dict(plan.common), list(first.plugins), store.root)
    )


def _elsewhere(
    code: Mapping[str, str], expression: str, common: Mapping[str, object], plugins: list[str], root: Any
) -> "StudyWorker":
    expect(code)
    registry = Registry.installed(plugins)
    plan = planned(Reader(registry).expression(expression, Study, "study"), registry, common)
    torch.set_num_threads(plan.configs[0].threads)
    return _worker(plan, registry, Store(root), Observers())


def _worker(plan: Plan, registry: Registry, store: Store, observers: Observers) -> "StudyWorker":
    return StudyWorker(plan.networks, store, torch.device(plan.configs[0].device), Bench(registry), observers, plan)


@attrs.define
class StudyWorker(ExperimentWorker):
    """The jobs of a study beside its networks; a trial is known by its number."""

    plan: Plan

    def measure(self, number: int) -> dict[str, Any]:
        """Sample and measure a trial: its record, the samples if they are kept, and the seconds spent."""
        begin = time.perf_counter()
        trial, config = self.plan.trials[number], self.plan.configs[number]
        arrays: dict[str, Any] = {}
        failures = Failures()
        with handle_signals() as stop:
            denoiser = self.denoiser(self.builder(stop), config.guider, config.recipes)
            truth = self.bench.truth(config, stop)
            failures.listed += truth.failures
            record: dict[str, Any] = {
                "axes": dict(trial.axes),
                "run": fingerprint(config),
                "measures": code_that_measures(config, self.bench.registry),
                "truth": dict(truth.metrics),
                "failed": "",
            }
            try:
                arm, metrics, evaluations = self.bench.sampled(config, denoiser, str(trial), failures, stop)
            except DivergenceError as error:  # a result as well: the weight may be too large
                record |= {"metrics": dict.fromkeys(truth.metrics), "evaluations": 0.0, "failed": str(error)}
            else:
                record |= {"metrics": metrics, "evaluations": evaluations}
                arrays = _arrays(arm) if trial.keep else {}
        record |= failures.records()
        return {"record": record, "arrays": arrays, "seconds": time.perf_counter() - begin}


def _arrays(arm: Arm) -> dict[str, Any]:
    return {"samples": arm.samples.numpy(), **as_arrays(arm.condition)}
