"""The worker of a comparison: trainings, prices, cells."""

from collections.abc import Mapping
from typing import Any

import attrs
import torch

from guideplug.executors import WorkerSource
from guideplug.executors.interrupt import handle_signals
from guideplug.experiments.comparison.grid import Grid, GridRequest, resolve_grid
from guideplug.experiments.comparison.prices import measured_prices
from guideplug.experiments.comparison.trainings import needed_for
from guideplug.experiments.worker import ExperimentWorker
from guideplug.files.digest import record_digest
from guideplug.files.opened import expect, versions
from guideplug.guide import nested_guiders
from guideplug.observe import Observers
from guideplug.registry.registry import Registry
from guideplug.run.code import code_of, code_that_measures
from guideplug.run.failure import Failures
from guideplug.run.measure import Bench
from guideplug.store import Store, identity
from guideplug.train import Moment, moment_at

__all__ = ["ComparisonWorker", "code_of_cell", "workers_of"]

FACTS = ("history", "seconds", "phases", "evaluations", "effective_sample_size")


def workers_of(grid: Grid, registry: Registry, store: Store, observers: Observers) -> WorkerSource:
    """The workers of a comparison; that of this process reports the events of its trainings."""
    torch.set_num_threads(grid.first.threads)
    here = _worker(grid, registry, store, observers)
    return WorkerSource(here, _elsewhere, (versions(), grid.request, list(grid.first.plugins), store.root))


def _elsewhere(code: Mapping[str, str], request: GridRequest, plugins: list[str], root: Any) -> "ComparisonWorker":
    expect(code)
    registry = Registry.installed(plugins)
    grid = resolve_grid(request, registry)
    torch.set_num_threads(grid.first.threads)
    return _worker(grid, registry, Store(root), Observers())


def _worker(grid: Grid, registry: Registry, store: Store, observers: Observers) -> "ComparisonWorker":
    return ComparisonWorker(grid.networks, store, torch.device(grid.first.device), Bench(registry), observers, grid)


def code_of_cell(grid: Grid, registry: Registry, selector: str, seed: int, step: int) -> str:
    """The hash of the code that a cell's values depend on."""
    configs = {guider: grid.configs[guider, selector, seed] for guider in grid.request.guiders}
    hashes: list[Any] = [code_that_measures(grid.first, registry)]
    for name, config in configs.items():
        recipes = grid.at(name, selector, seed, step)
        contents = [guider.content() for guider in nested_guiders(config.guider)]
        hashes.append([code_of(config), contents, {role: identity(recipe) for role, recipe in recipes.items()}])
    return record_digest({"code": hashes})[:16]


@attrs.define
class ComparisonWorker(ExperimentWorker):
    """The jobs of a comparison beside its networks."""

    grid: Grid

    def train(self, selector: str, seed: int) -> dict[str, Any]:
        """Train a selector's network of a seed with snapshots, unless it is stored; its facts, and its references'."""
        recipe = self.grid.trainings[selector, seed]
        with handle_signals() as stop:
            builder = self.builder(stop, self.observers)
            extras = [  # of its own snapshots, and of its guides'
                extra
                for guider in self.grid.request.guiders
                for step in self.grid.steps
                for role_recipe in self.grid.at(guider, selector, seed, step).values()
                for extra in role_recipe.asks_for()
            ]
            builder.expect({f"{selector}, seed {seed}": recipe}, [*extras, *self.extras])
            references = []
            for training, until in needed_for(recipe.models.values()).trainings:
                history = [Moment(**row) for row in builder.build(training).facts["history"]]
                references.append(attrs.asdict(history[-1] if until is None else moment_at(history, until)))
            facts = builder.build(recipe).facts
            builder.complete(recipe)
            tables = sum(builder.build(table).facts["seconds"] for table in recipe.prerequisites())
        kept = {name: facts[name] for name in FACTS}
        return {**kept, "references": references, "tables": tables, "identity": identity(recipe)}

    def price(self) -> dict[str, Any]:
        """Seconds of an iteration of each kind of work."""
        with handle_signals() as stop:
            return measured_prices(self.grid, self.builder(stop))

    def measure(self, selector: str, seed: int, step: int) -> dict[str, Any]:
        """The record of a cell: the metrics of a snapshot with every guider."""
        record: dict[str, Any] = {}
        failures = Failures()
        with handle_signals() as stop:
            builder = self.builder(stop)
            for guider in self.grid.request.guiders:
                config = self.grid.configs[guider, selector, seed]
                recipes = self.grid.at(guider, selector, seed, step)
                denoiser = self.denoiser(builder, config.guider, recipes)
                _, metrics, evaluations = self.bench.sampled(config, denoiser, guider, failures, stop)
                record[guider] = {"metrics": metrics, "evaluations": evaluations}
            truth = self.bench.truth(self.grid.first, stop)
            failures.listed += truth.failures
        code = code_of_cell(self.grid, self.bench.registry, selector, seed, step)
        return {"code": code, "guiders": record, "truth": dict(truth.metrics), **failures.records()}
