"""The work of a comparison: trainings, costs, measurements; each kept when it is done, so that a killed one goes on.

    trainings   one for each selector and seed, in the store, with a snapshot at every step of the grid
    costs       of an iteration with each selector, alone and side by side: costs.json
    cells       the metrics of one selector, seed and snapshot with every guider: cells/SELECTOR-SEED-STEP.json

Trainings and cells run in ``jobs`` processes. What a process computes depends on its cell and on the threads of each,
so the number of processes changes no number but clocked seconds.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import torch

from guideplug.compare.costs import Cost, measure_costs, seconds_at
from guideplug.compare.grid import Grid, GridRequest, resolve_grid
from guideplug.compare.result import BUDGETS, Comparison, Row, Training
from guideplug.denoise import Leaf
from guideplug.errors import RunError
from guideplug.observe import Observers
from guideplug.recipes import Snapshot
from guideplug.registry import Registry
from guideplug.run.arms import draw_arms
from guideplug.run.interrupt import asked_to_stop
from guideplug.run.measure import measured, metrics_of
from guideplug.run.rehearsal import denoiser_of, guided
from guideplug.run.workshop import StoreWorkshop
from guideplug.store import Store
from guideplug.task import Context
from guideplug.tensors import whole_file
from guideplug.train import Moment, moment_at

__all__ = ["compare"]

Say: TypeAlias = Callable[[str], None]
Cell: TypeAlias = tuple[str, int, int]
"""Selector, seed, step."""


def compare(
    grid: Grid, registry: Registry, folder: Path, store: Store, *, jobs: int = 1, say: Say = lambda line: None
) -> Comparison:
    """Do what is not done yet, and gather it.

    Args:
        grid: what is compared.
        registry: the plugins.
        folder: where cells and costs are kept.
        store: where networks are kept.
        jobs: processes at a time.
        say: told of each thing that is done.

    Raises:
        GuideplugError: what failed; what was done before is kept.
        Interrupted: SIGINT or SIGTERM; the comparison can be resumed.
    """
    (folder / "cells").mkdir(exist_ok=True)
    facts: dict[tuple[str, int], Mapping[str, Any]] = {}
    with _workers(grid, registry, store, jobs) as run:
        for (selector, seed, _), found in run("train", [(*key, grid.steps[-1]) for key in grid.trainings]):
            facts[selector, seed] = found
            say(f"trained {len(facts)} of {len(grid.trainings)}: {selector}, seed {seed}, {found['seconds']:.1f} s")
    costs = _costs(grid, store, folder, say)
    trainings = [
        _training(grid, selector, seed, step, facts[selector, seed], costs[selector])
        for selector, seed in grid.trainings
        for step in grid.steps
    ]
    request = grid.request
    plan = Comparison(
        guiders=request.guiders,
        selectors=request.selectors,
        seeds=request.seeds,
        trainings=trainings,
        rows=(),
        truth={},
        metrics={
            metric.name: {"better": metric.better, "aspect": metric.aspect}
            for metric in metrics_of(grid.first.task, registry)
        },
        charge_reference=request.charge_reference,
        costs={selector: attrs.asdict(cost) for selector, cost in costs.items()},
    )
    wanted = _wanted(grid, plan)
    missing = [cell for cell in wanted if not _path(grid, folder, cell).is_file()]
    done = len(wanted) - len(missing)
    with _workers(grid, registry, store, jobs) as run:
        for cell, values in run("measure", missing) if missing else ():
            with whole_file(_path(grid, folder, cell)) as file:
                file.write(json.dumps(values, indent=1, allow_nan=False).encode())
            done += 1
            say(f"measured {done} of {len(wanted)}: {cell[0]}, seed {cell[1]}, step {cell[2]}")
    cells = {cell: _read(_path(grid, folder, cell)) for cell in wanted}
    rows = [
        Row(guider, *cell, metrics=values["metrics"], evaluations=values["evaluations"])
        for cell, guiders in cells.items()
        for guider, values in guiders["guiders"].items()
    ]
    return attrs.evolve(plan, rows=rows, truth=next(iter(cells.values()))["truth"])


def _wanted(grid: Grid, found: Comparison) -> list[Cell]:
    """The snapshots to measure: all, or those that a budget chooses."""
    if grid.request.curves:
        chosen = found.trainings
    else:
        chosen = list(dict.fromkeys(one for budget in BUDGETS for one in found.chosen(budget).values()))
    return [(training.selector, training.seed, training.step) for training in chosen]


def _path(grid: Grid, folder: Path, cell: Cell) -> Path:
    selector, seed, step = cell
    return folder / "cells" / f"{grid.request.selectors.index(selector)}-{seed}-{step}.json"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): remove it and resume, and it is measured again") from None


def _training(grid: Grid, selector: str, seed: int, step: int, facts: Mapping[str, Any], cost: Cost) -> Training:
    """What a training had cost at a step."""
    moment = moment_at([Moment(**row) for row in facts["history"]], step)
    recipe = grid.trainings[selector, seed]
    return Training(
        selector=selector,
        seed=seed,
        step=step,
        seconds=seconds_at(moment, cost, recipe.options.batch),
        clocked=moment.seconds,
        reference=facts["reference"],
        seen=moment.seen,
        scored=moment.scored,
        backpropagated=moment.backpropagated,
    )


# Costs


def _costs(grid: Grid, store: Store, folder: Path, say: Say) -> dict[str, Cost]:
    """The cost of an iteration with each selector: measured now, unless it was before."""
    path = folder / "costs.json"
    if path.is_file():
        return {name: Cost(**{**row, "quartiles": tuple(row["quartiles"])}) for name, row in _read(path).items()}
    torch.set_num_threads(grid.first.threads)
    shop = StoreWorkshop(store, torch.device(grid.first.device), Observers())
    seed = grid.request.seeds[0]
    recipes = {selector: recipe for (selector, of), recipe in grid.trainings.items() if of == seed}
    plain = attrs.evolve(next(iter(recipes.values())), selector=None, models={})
    found = measure_costs({name: shop.training(recipe) for name, recipe in recipes.items()}, shop.training(plain))
    with whole_file(path) as file:
        file.write(json.dumps({name: attrs.asdict(cost) for name, cost in found.items()}, indent=1).encode())
    for name, cost in found.items():
        low, high = cost.quartiles
        say(f"an iteration with {name}: {1000 * cost.iteration:.1f} ms ({1000 * low:.1f} to {1000 * high:.1f})")
    return found


# Processes


@attrs.define
class _Desk:
    """What a process works with."""

    grid: Grid
    registry: Registry
    store: Store
    truth: "tuple[Context, Mapping[str, float | None]] | None" = None

    def train(self, cell: Cell) -> dict[str, Any]:
        """Train, or find trained, a selector's network of a seed, with its snapshots; where it stood at each."""
        selector, seed, _ = cell
        config, recipe = (
            self.grid.configs[self.grid.request.guiders[0], selector, seed],
            self.grid.trainings[selector, seed],
        )
        with asked_to_stop() as stop:
            shop = StoreWorkshop(self.store, torch.device(config.device), Observers(), stop=stop)
            snapshots: list[Snapshot] = []  # its own, and those that guide it
            for guider in self.grid.request.guiders:
                for step in self.grid.steps:
                    for one in self.grid.at(guider, selector, seed, step).values():
                        if isinstance(one, Snapshot) and one.of == recipe and one not in snapshots:
                            snapshots.append(one)
            shop.expect({"main": recipe, **{f"snapshot {number}": one for number, one in enumerate(snapshots)}})
            references = sum(shop.made(inner).facts["seconds"] for inner in recipe.models.values())
            facts = shop.made(recipe).facts
            for snapshot in snapshots:
                shop.obtain(snapshot)
        return {"history": facts["history"], "reference": references, "seconds": facts["seconds"]}

    def measure(self, cell: Cell) -> dict[str, Any]:
        """The metrics of a snapshot with every guider."""
        selector, seed, step = cell
        config = self.grid.configs[self.grid.request.guiders[0], selector, seed]
        task, sampler, metrics = config.task, config.sampler, metrics_of(config.task, self.registry)
        found: dict[str, Any] = {}
        with asked_to_stop() as stop:
            if self.truth is None:
                arms = task.truth(config.samples, sampler, config.sample_seed)
                context = Context(task, {arm.name: arm for arm in arms}, sampler, config.sample_seed)
                self.truth = context, measured(arms[0], metrics, context, stop)
            shop = StoreWorkshop(self.store, torch.device(config.device), Observers(), stop=stop)
            for guider in self.grid.request.guiders:
                config = self.grid.configs[guider, selector, seed]
                recipes = self.grid.at(guider, selector, seed, step)
                models: dict[str, Leaf] = {role: denoiser_of(shop.obtain(one), role) for role, one in recipes.items()}
                point = models["main"] if config.guider is None else guided(config.guider, models)
                drawn, tallies = draw_arms(
                    {guider: point},
                    task,
                    sampler,
                    count=config.samples,
                    seed=config.sample_seed,
                    batch=config.sample_batch,
                    device=torch.device(config.device),
                    each=lambda arm, done, total: stop(),
                )
                context = attrs.evolve(self.truth[0], cache=dict(self.truth[0].cache))
                outputs = sum(count.outputs for count in tallies[guider].counts.values())
                found[guider] = {
                    "metrics": measured(drawn[guider], metrics, context, stop),
                    "evaluations": outputs / config.samples,
                }
        return {"guiders": found, "truth": self.truth[1]}


_desk: _Desk | None = None
"""What this process works with, where it is one of several."""


def _sit_down(request: GridRequest, plugins: Sequence[str], root: str) -> None:
    """Prepare a process."""
    global _desk
    registry = Registry.installed(plugins)
    grid = resolve_grid(request, registry)
    torch.set_num_threads(grid.first.threads)
    _desk = _Desk(grid, registry, Store(Path(root)))


def _work(what: str, cell: Cell) -> dict[str, Any]:
    assert _desk is not None
    found: dict[str, Any] = getattr(_desk, what)(cell)
    return found


Run: TypeAlias = Callable[[str, Sequence[Cell]], Iterator[tuple[Cell, dict[str, Any]]]]


@contextmanager
def _workers(grid: Grid, registry: Registry, store: Store, jobs: int) -> Iterator[Run]:
    """What works on cells, in this process or in several, and gives each when it is done."""
    if jobs == 1:
        torch.set_num_threads(grid.first.threads)
        desk = _Desk(grid, registry, store)
        yield lambda what, cells: ((cell, getattr(desk, what)(cell)) for cell in cells)
        return
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_sit_down,
        initargs=(grid.request, list(grid.first.plugins), str(store.root)),
    )

    def run(what: str, cells: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, Any]]]:
        futures = {pool.submit(_work, what, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], future.result()

    try:
        yield run
    except BaseException:
        for process in list(pool._processes.values()):  # the executor has no way of its own to stop what is running
            if process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)
        raise
    finally:
        pool.shutdown(cancel_futures=True)
