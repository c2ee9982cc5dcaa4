"""The work of a comparison: trainings, prices, measurements; each is stored when done, so that a killed one resumes.

    trainings   one for each selector and seed, in the store, with a snapshot at every step of the grid; those of the
                selectors' references come before
    prices      of an iteration of each kind of training, alone and side by side: costs.json
    cells       the metrics of one selector, seed and snapshot with every guider; the guides' trainings come before:
                cells/SELECTOR-SEED-STEP.json

Results depend on the cell and the threads per process, not on where jobs run; clocked seconds do.
"""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from guideplug.executors import Executor, Job, Serial
from guideplug.executors.torchrun import refuse_torchrun
from guideplug.experiments.comparison.costs import seconds_at
from guideplug.experiments.comparison.grid import Grid
from guideplug.experiments.comparison.prices import Prices, read_prices, write_prices
from guideplug.experiments.comparison.result import BUDGETS, Comparison, Row, Training
from guideplug.experiments.comparison.shared import shared_guides, shared_references
from guideplug.experiments.comparison.stored import stored_trainings
from guideplug.experiments.comparison.trainings import needed_for
from guideplug.experiments.comparison.worker import code_of_cell, workers_of
from guideplug.experiments.engine import Engine, engine_on
from guideplug.experiments.networks import NetworkJobs
from guideplug.experiments.records import check_code, read_record
from guideplug.files.atomic import whole_file
from guideplug.files.durable import make_folder
from guideplug.files.opening import is_there
from guideplug.observe import Observers
from guideplug.registry.registry import Registry
from guideplug.run.code import measured_anew
from guideplug.run.measure import metrics_of
from guideplug.store import Store, identity
from guideplug.train import Moment, moment_at

__all__ = ["compare"]

Cell: TypeAlias = tuple[str, int, int]
"""Selector, seed, step."""
Facts: TypeAlias = Mapping[tuple[str, int], Mapping[str, Any]]
"""What the worker says of each training, by selector and seed."""


def compare(
    grid: Grid,
    registry: Registry,
    folder: Path,
    store: Store,
    *,
    executor: Executor | None = None,
    observers: Observers | None = None,
) -> Comparison:
    """Do the remaining work, and collect the results.

    Args:
        grid: what is compared.
        registry: the plugins.
        folder: where cells and costs are kept.
        store: where networks are kept.
        executor: where jobs run; None for this process.
        observers: receive ``network``, ``training``, ``price`` and ``cell``; those of this process also ``step``.

    Raises:
        GuideplugError: what failed; finished work is kept.
        Interrupted: SIGINT or SIGTERM; the comparison can be resumed.
    """
    refuse_torchrun()
    observers = observers or Observers()
    make_folder(folder / "cells")
    prices = read_prices(grid, folder)
    with engine_on(executor or Serial(), workers_of(grid, registry, store, observers)) as engine:
        driver = _Driver(grid, registry, folder, store, engine, observers)
        facts = driver.trained()
        comparison = _before_cells(grid, registry, facts, prices or driver.priced())
        cells = driver.measured(_cells_to_measure(grid, comparison))
    rows = [
        Row(guider, selector, seed, step, values["metrics"], values["evaluations"])
        for (selector, seed, step), guiders in cells.items()
        for guider, values in guiders["guiders"].items()
    ]
    failures = [
        {"selector": selector, "seed": seed, "step": step, **failure}
        for (selector, seed, step), record in cells.items()
        for failure in record.get("failures", ())
    ]
    return attrs.evolve(comparison, rows=rows, truth=next(iter(cells.values()))["truth"], failures=failures)


@attrs.frozen
class _Driver:
    """What is run of a comparison, and where its results are kept."""

    grid: Grid
    registry: Registry
    folder: Path
    store: Store
    engine: Engine
    observers: Observers
    networks: NetworkJobs = attrs.field(init=False)

    @networks.default
    def _networks(self) -> NetworkJobs:
        return NetworkJobs(self.grid.networks, self.store, self.observers)

    def trained(self) -> Facts:
        """The facts of every training."""
        trainings = self.grid.trainings
        stored = stored_trainings(self.grid, self.store)
        keys = {key: f"training of {key[0]}, seed {key[1]}" for key in trainings}
        mains = {identity(recipe): keys[key] for key, recipe in trainings.items()}
        below = {key: self.grid.networks.of[identity(recipe)].under for key, recipe in trainings.items()}
        before = self.networks.missing({inner for under in below.values() for inner in under}, mains)
        jobs = [Job(keys[key], "train", key, self.networks.before(below[key])) for key in trainings]
        facts: dict[tuple[str, int], Mapping[str, Any]] = {}
        for job, value in self.networks.watched(self.engine.run([*before, *jobs])):
            selector, seed = job.arguments
            check_code(job.key, identity(trainings[selector, seed]), value["identity"])
            facts[selector, seed] = value
            self.observers(
                "training",
                done=len(facts),
                total=len(jobs),
                which=f"{selector}, seed {seed}",
                seconds=value["seconds"],
                stored=(selector, seed) in stored,
            )
        return facts

    def priced(self) -> Prices:
        """The prices of all iterations, measured while nothing else runs, and kept."""
        ((_, value),) = self.engine.run([Job("prices of iterations", "price", alone=True)])
        prices = write_prices(self.grid, self.folder, value)
        for name, price in prices.named():
            self.observers("price", which=name, seconds=price.seconds, low=price.low, high=price.high)
        return prices

    def measured(self, cells: Sequence[Cell]) -> dict[Cell, Any]:
        """The records of cells; those that are missing, or of other code, are measured."""
        files = {cell: self._path(cell) for cell in cells}
        codes = {cell: code_of_cell(self.grid, self.registry, *cell) for cell in cells}
        kept = {cell: read_record(file) for cell, file in files.items() if is_there(file)}
        anew = [cell for cell, record in kept.items() if record.get("code") != codes[cell]]
        if anew:
            self.observers("warning", text=measured_anew(len(anew), "cell", "of networks, guiders or metrics"))
        missing = [cell for cell in cells if cell not in kept or cell in anew or "failures" in kept[cell]]
        guides = {cell: self.grid.guides(*cell) for cell in missing}
        before = self.networks.missing({key for keys in guides.values() for key in keys})
        jobs = [Job(_cell_name(cell), "measure", cell, self.networks.before(guides[cell])) for cell in missing]
        done = len(cells) - len(missing)
        for job, record in self.networks.watched(self.engine.run([*before, *jobs])):
            check_code(job.key, codes[job.arguments], record["code"])
            with whole_file(files[job.arguments]) as file:
                file.write(json.dumps(record, indent=1, allow_nan=False).encode())
            done += 1
            selector, seed, step = job.arguments
            metrics = {guider: values["metrics"] for guider, values in record["guiders"].items()}
            self.observers("cell", done=done, total=len(cells), selector=selector, seed=seed, at=step, metrics=metrics)
        return {cell: read_record(file) for cell, file in files.items()}

    def _path(self, cell: Cell) -> Path:
        selector, seed, step = cell
        return self.folder / "cells" / f"{self.grid.request.selectors.index(selector)}-{seed}-{step}.json"


def _cell_name(cell: Cell) -> str:
    selector, seed, step = cell
    return f"cell of {selector}, seed {seed}, step {step}"


def _before_cells(grid: Grid, registry: Registry, facts: Facts, prices: Prices) -> Comparison:
    """The comparison without its measurements."""
    request = grid.request
    return Comparison(
        guiders=request.guiders,
        selectors=request.selectors,
        seeds=request.seeds,
        trainings=[snapshot for key in grid.trainings for snapshot in _snapshots(grid, *key, facts[key], prices)],
        rows=(),
        truth={},
        metrics={
            metric.name: {"better": metric.better, "aspect": metric.aspect, "formula": metric.formula}
            for metric in metrics_of(grid.first.task, registry)
        },
        charge_reference=request.charge_reference,
        costs={selector: prices.cost(recipe) for (selector, _), recipe in grid.trainings.items()},
        unknown={
            selector: needed_for(recipe.models.values()).unknown for (selector, _), recipe in grid.trainings.items()
        },
        busy=prices.busy,
        phases={name: _phases([facts[name, seed] for seed in request.seeds]) for name in request.selectors},
        needs_end=_needs_end(grid),
        shared_guides=shared_guides(grid),
        shared_references=shared_references(grid),
    )


def _cells_to_measure(grid: Grid, comparison: Comparison) -> list[Cell]:
    """The snapshots to measure: those chosen by budgets, and for curves those of the grid."""
    chosen = {training for budget in BUDGETS for training in comparison.chosen(budget).values()}
    if grid.request.curves:
        chosen |= {training for training in comparison.trainings if training.step in grid.curve}
    return [
        (training.selector, training.seed, training.step) for training in comparison.trainings if training in chosen
    ]


def _snapshots(grid: Grid, selector: str, seed: int, facts: Mapping[str, Any], prices: Prices) -> Iterator[Training]:
    """The costs of a training and its references at each step of the grid."""
    recipe = grid.trainings[selector, seed]
    history = [Moment(**row) for row in facts["history"]]
    references = [Moment(**row) for row in facts["references"]]
    needed = [training for training, _ in needed_for(recipe.models.values()).trainings]
    paid = sum(seconds_at(moment, prices.cost(training)) for training, moment in zip(needed, references, strict=True))
    cost = prices.cost(recipe)
    for step in grid.steps:
        moment = moment_at(history, step)
        yield Training(
            selector=selector,
            seed=seed,
            step=step,
            seconds=seconds_at(moment, cost),
            clocked=moment.seconds,
            reference=paid + facts["tables"],
            reference_clocked=sum(moment.seconds for moment in references) + facts["tables"],
            seen=moment.seen,
            scored=moment.scored,
            backpropagated=moment.backpropagated,
        )


def _phases(trainings: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The share of each phase in the clocked time of trainings, and facts of selection: means over the trainings.

    ``evaluations`` in scoring; ``selecting``, the share of iterations with the selector on; for random selection,
    ``effective``, the effective sample size.
    """
    shares = [
        {name: taken / max(sum(training["phases"].values()), 1e-12) for name, taken in training["phases"].items()}
        for training in trainings
    ]
    means = {name: statistics.fmean(share[name] for share in shares) for name in shares[0]}
    ends = [training["history"][-1] for training in trainings]
    means["evaluations"] = statistics.fmean(training["evaluations"] for training in trainings)
    means["selecting"] = statistics.fmean(end["selecting"] / end["step"] for end in ends)
    sizes = [training["effective_sample_size"] for training in trainings]
    return means if None in sizes else {**means, "effective": statistics.fmean(sizes)}


def _needs_end(grid: Grid) -> str | None:
    schedule = next(iter(grid.trainings.values())).options.schedule
    return schedule.name if schedule.needs_end else None
