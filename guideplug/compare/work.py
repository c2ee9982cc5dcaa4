"""The work of a comparison: trainings, costs, measurements; each is stored when done, so that a killed one resumes.

    trainings   one for each selector and seed, in the store, with a snapshot at every step of the grid
    prices      of an iteration of each kind of training, alone and side by side: costs.json
    cells       the metrics of one selector, seed and snapshot with every guider: cells/SELECTOR-SEED-STEP.json

Trainings and cells run in ``jobs`` processes. Results depend on the cell and the threads per process, not on the number
of processes; clocked seconds do.
"""

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import torch

from guideplug.compare.costs import seconds_at
from guideplug.compare.grid import Grid, GridRequest, resolve_grid
from guideplug.compare.prices import Prices, measured_prices
from guideplug.compare.result import BUDGETS, Comparison, Row, Training
from guideplug.compare.shared import shared_guides, shared_references
from guideplug.compare.trainings import needed_for
from guideplug.compare.workers import Cell, Run, asked_to_leave, workers
from guideplug.denoise import Leaf
from guideplug.errors import RunError
from guideplug.files.atomic import check_unchanged, whole_file
from guideplug.files.digest import record_digest
from guideplug.files.reading import read_json_file
from guideplug.guide import nested_guiders
from guideplug.observe import Observers
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.run.code import code_of, code_that_measures, measured_anew
from guideplug.run.measure import Bench, metrics_of
from guideplug.run.preflight import denoiser_of, guided
from guideplug.store import Store, identity
from guideplug.train import Moment, moment_at

__all__ = ["compare"]

Say: TypeAlias = Callable[[str], None]


def compare(
    grid: Grid,
    registry: Registry,
    folder: Path,
    store: Store,
    *,
    jobs: int = 1,
    say: Say = lambda line: None,
    observers: Observers | None = None,
) -> Comparison:
    """Do the remaining work, and collect the results.

    Args:
        grid: what is compared.
        registry: the plugins.
        folder: where cells and costs are kept.
        store: where networks are kept.
        jobs: processes at a time.
        say: receives a line per finished piece of work.
        observers: receive ``training`` and ``cell``; with one process also the steps of trainings.

    Raises:
        GuideplugError: what failed; finished work is kept.
        Interrupted: SIGINT or SIGTERM; the comparison can be resumed.
    """
    (folder / "cells").mkdir(exist_ok=True)
    tell = Observers() if observers is None else observers
    facts: dict[tuple[str, int], Mapping[str, Any]] = {}
    with _work(grid, registry, store, jobs, tell) as run:
        for (selector, seed, _), trained in run("train", [(*key, grid.steps[-1]) for key in grid.trainings]):
            facts[selector, seed] = trained
            say(f"trained {len(facts)} of {len(grid.trainings)}: {selector}, seed {seed}, {trained['seconds']:.1f} s")
            which = f"{selector}, seed {seed}"
            tell("training", done=len(facts), total=len(grid.trainings), which=which, seconds=trained["seconds"])
    prices = measured_prices(grid, store, folder, say)
    trainings = [snapshot for key in grid.trainings for snapshot in _snapshots(grid, *key, facts[key], prices)]
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
    cells_wanted = _cells_to_measure(grid, plan)
    present = [cell for cell in cells_wanted if _path(grid, folder, cell).is_file()]
    anew = [cell for cell in present if _read(_path(grid, folder, cell)).get("code") != _code(grid, registry, cell)]
    if anew:
        text = measured_anew(len(anew), "cell", "of networks, guiders or metrics")
        say(f"warning: {text}")
        tell("warning", text=text)
    missing = [cell for cell in cells_wanted if cell not in present or cell in anew]
    done = len(cells_wanted) - len(missing)
    with _work(grid, registry, store, jobs, tell) as run:
        for cell, values in run("measure", missing) if missing else ():
            with whole_file(_path(grid, folder, cell)) as file:
                file.write(json.dumps(values, indent=1, allow_nan=False).encode())
            done += 1
            say(f"measured {done} of {len(cells_wanted)}: {cell[0]}, seed {cell[1]}, step {cell[2]}")
            metrics = {guider: record["metrics"] for guider, record in values["guiders"].items()}
            tell(
                "cell", done=done, total=len(cells_wanted), selector=cell[0], seed=cell[1], at=cell[2], metrics=metrics
            )
    cells = {cell: _read(_path(grid, folder, cell)) for cell in cells_wanted}
    rows = [
        Row(guider, selector, seed, step, values["metrics"], values["evaluations"])
        for (selector, seed, step), guiders in cells.items()
        for guider, values in guiders["guiders"].items()
    ]
    return attrs.evolve(plan, rows=rows, truth=next(iter(cells.values()))["truth"])


def _cells_to_measure(grid: Grid, comparison: Comparison) -> list[Cell]:
    """The snapshots to measure: those chosen by budgets, and for curves those of the moments."""
    chosen = {training for budget in BUDGETS for training in comparison.chosen(budget).values()}
    if grid.request.curves:
        chosen |= {training for training in comparison.trainings if training.step in grid.moments}
    return [
        (training.selector, training.seed, training.step) for training in comparison.trainings if training in chosen
    ]


def _path(grid: Grid, folder: Path, cell: Cell) -> Path:
    selector, seed, step = cell
    return folder / "cells" / f"{grid.request.selectors.index(selector)}-{seed}-{step}.json"


def _code(grid: Grid, registry: Registry, cell: Cell) -> str:
    """The hash of the code that a cell's values depend on."""
    selector, seed, step = cell
    configs = {guider: grid.configs[guider, selector, seed] for guider in grid.request.guiders}
    hashes: list[Any] = [code_that_measures(grid.first, registry)]
    for name, config in configs.items():
        recipes = grid.at(name, selector, seed, step)
        contents = [guider.content() for guider in nested_guiders(config.guider)]
        hashes.append([code_of(config), contents, {role: identity(recipe) for role, recipe in recipes.items()}])
    return record_digest({"code": hashes})[:16]


def _read(path: Path) -> Any:
    advice = "remove it and resume, and it is measured again"
    check_unchanged(path, advice)
    try:
        return read_json_file(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): {advice}") from None


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


# Processes


@attrs.define
class _Worker:
    """The state of a worker process."""

    grid: Grid
    registry: Registry
    store: Store
    bench: Bench
    observers: Observers

    def train(self, cell: Cell) -> dict[str, Any]:
        """Train a selector's network of a seed with snapshots, unless it is stored; its facts, and its references'."""
        selector, seed, _ = cell
        config, recipe = (
            self.grid.configs[self.grid.request.guiders[0], selector, seed],
            self.grid.trainings[selector, seed],
        )
        with asked_to_leave() as stop:
            builder = StoreBuilder(self.store, torch.device(config.device), self.observers, stop=stop)
            extras = [  # of its own snapshots, and of its guides'
                extra
                for guider in self.grid.request.guiders
                for step in self.grid.steps
                for role_recipe in self.grid.at(guider, selector, seed, step).values()
                for extra in role_recipe.asks_for()
            ]
            builder.expect({f"{selector}, seed {seed}": recipe}, extras)
            references = []
            for training, until in needed_for(recipe.models.values()).trainings:
                history = [Moment(**row) for row in builder.build(training).facts["history"]]
                references.append(attrs.asdict(history[-1] if until is None else moment_at(history, until)))
            facts = builder.build(recipe).facts
            builder.complete(recipe)
            tables = sum(builder.build(table).facts["seconds"] for table in recipe.prerequisites())
        kept = {name: facts[name] for name in ("history", "seconds", "phases", "evaluations", "effective_sample_size")}
        return {**kept, "references": references, "tables": tables}

    def measure(self, cell: Cell) -> dict[str, Any]:
        """The metrics of a snapshot with every guider."""
        selector, seed, step = cell
        record: dict[str, Any] = {}
        with asked_to_leave() as stop:
            builder = StoreBuilder(self.store, torch.device(self.grid.first.device), Observers(), stop=stop)
            for guider in self.grid.request.guiders:
                config = self.grid.configs[guider, selector, seed]
                recipes = self.grid.at(guider, selector, seed, step)
                models: dict[str, Leaf] = {
                    role: denoiser_of(builder.obtain(recipe), role) for role, recipe in recipes.items()
                }
                point = models["main"] if config.guider is None else guided(config.guider, models)
                _, metrics, evaluations = self.bench.sampled(config, point, guider, stop)
                record[guider] = {"metrics": metrics, "evaluations": evaluations}
            truth = self.bench.truth(self.grid.first, stop).metrics
        return {"code": _code(self.grid, self.registry, cell), "guiders": record, "truth": truth}


def _worker_of(request: GridRequest, plugins: Sequence[str], root: str) -> _Worker:
    """The worker of another process."""
    registry = Registry.installed(plugins)
    grid = resolve_grid(request, registry)
    torch.set_num_threads(grid.first.threads)
    return _Worker(grid, registry, Store(Path(root)), Bench(registry), Observers())


@contextmanager
def _work(grid: Grid, registry: Registry, store: Store, jobs: int, observers: Observers) -> Iterator[Run]:
    """A function that runs a worker's method on cells, in this process or in several, and yields each result."""
    if jobs > 1:
        arguments = grid.request, list(grid.first.plugins), str(store.root)
        with workers(jobs, _worker_of, arguments, label=lambda cell: f"{cell[0]}, seed {cell[1]}") as run:
            yield run
        return
    torch.set_num_threads(grid.first.threads)
    worker = _Worker(grid, registry, store, Bench(registry), observers)
    yield lambda method, cells: ((cell, getattr(worker, method)(cell)) for cell in cells)
