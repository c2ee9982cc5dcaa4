"""``compare --dry-run``: the configuration, the work, the share in the store, an estimate of time."""

import math
import tomllib
from collections.abc import Iterator, Sequence

import attrs
import torch

from guideplug.cli.compare_tables import counted
from guideplug.cli.echo import echo, echo_lines
from guideplug.cli.estimate import estimated_seconds
from guideplug.cli.json_output import print_json
from guideplug.experiments.comparison import Grid, to_toml
from guideplug.experiments.comparison.stored import stored_trainings
from guideplug.experiments.comparison.trainings import iteration_of, needed_for, plain
from guideplug.recipe import Recipe
from guideplug.store import Store, identity

__all__ = ["dry_run", "pointless"]


@attrs.frozen
class _Work:
    """What a comparison has to do, and what of it is in the store.

    Args:
        trainings: of the arms and seeds, stored with these snapshots, and stored with others.
        others: trainings of references and guides, and those that are stored.
        cells: snapshots to measure, at most.
        seconds: of the trainings that are missing, one after the other; without what selectors do.
    """

    trainings: tuple[int, int, int]
    others: tuple[int, int]
    cells: int
    seconds: int


def dry_run(grid: Grid, store: Store, *, as_json: bool) -> None:
    """Print the plan of a comparison."""
    torch.set_num_threads(grid.first.threads)
    work = _work(grid, store)
    if as_json:
        _print_json(grid, work)
        return
    count, whole, short = work.trainings
    steps = ", ".join(map(str, grid.curve))
    echo_lines(to_toml(grid))
    for line in pointless(grid):
        echo(f"# {line}")
    where = f"{steps} and the budgets" if grid.request.curves else "the budgets alone"
    each = f"{len(grid.steps)} snapshots each, measured at {where}"
    echo(f"# {counted(count, 'training')} of {grid.steps[-1]:,} iterations, {each}; {_share(whole, count)}")
    if short:
        echo(f"# {counted(short, 'training')} in the store with other snapshots: done once more for these")
    if work.others[0]:
        num_others, num_stored = work.others
        echo(f"# {counted(num_others, 'training')} of references and guides; {_share(num_stored, num_others)}")
    sampled = f"{work.cells * len(grid.request.guiders):,} times {grid.first.samples:,} samples to measure"
    echo(f"# up to {sampled}")
    echo(
        f"# training takes about {work.seconds} s in one process here; what selectors do, the prices of iterations, "
        "sampling and metrics come on top"
    )


def _work(grid: Grid, store: Store) -> _Work:
    mains: list[Recipe] = list(grid.trainings.values())
    others = _others(grid)
    stored = stored_trainings(grid, store)
    missing_others = [recipe for recipe in others if store.find(identity(recipe)) is None]
    missing: list[Recipe] = [recipe for key, recipe in grid.trainings.items() if key not in stored]
    short = sum(store.find(identity(recipe)) is not None for recipe in mains) - len(stored)
    budgets = min(3, len(grid.steps))  # each may choose one that is not of the curve
    return _Work(
        trainings=(len(mains), len(stored), short),
        others=(len(others), len(others) - len(missing_others)),
        cells=len(mains) * min(len(grid.curve) + budgets if grid.request.curves else budgets, len(grid.steps)),
        seconds=math.ceil(_seconds([*missing, *missing_others])),
    )


def _print_json(grid: Grid, work: _Work) -> None:
    count, whole, short = work.trainings
    print_json(
        {
            "config": tomllib.loads(to_toml(grid)),
            "notes": pointless(grid),
            "trainings": {"count": count, "found": whole, "other_snapshots": short, "iterations": grid.steps[-1]},
            "references_and_guides": {"count": work.others[0], "found": work.others[1]},
            "measurements": work.cells * len(grid.request.guiders),
            "samples": grid.first.samples,
            "seconds": work.seconds,
        }
    )


def pointless(grid: Grid) -> list[str]:
    """Notes on what a comparison of one seed or one arm cannot give, printed before any work."""
    notes = []
    if len(grid.request.seeds) == 1:
        notes.append("one seed: no interval can be given; give --seeds 0,1,2")
    if len(grid.request.guiders) * len(grid.request.selectors) == 1:
        notes.append("one arm: there is nothing to compare it with; give --guider or --selector several times")
    return notes


def _others(grid: Grid) -> list[Recipe]:
    """The trainings under references and guides, each once, that are no arm's own."""
    mains = {identity(recipe) for recipe in grid.trainings.values()}
    recipes: dict[str, Recipe] = {}
    for recipe in _recipes(grid):
        recipes.setdefault(identity(recipe), recipe)
    return [recipe for key, recipe in recipes.items() if key not in mains]


def _recipes(grid: Grid) -> Iterator[Recipe]:
    for config in grid.configs.values():
        for recipe, _ in needed_for(config.recipes.values()).trainings:
            yield recipe


def _share(num_stored: int, count: int) -> str:
    return f"{'none' if not num_stored else 'all' if num_stored == count else num_stored} of them in the store already"


def _seconds(recipes: Sequence[Recipe]) -> float:
    """Seconds of trainings one after the other, without selection; those that do the same work are tried once."""
    each: dict[str, float] = {}
    total = 0.0
    for recipe in recipes:
        work, steps = iteration_of(plain(recipe)), recipe.iterations or 1
        if work not in each:
            each[work] = (estimated_seconds(plain(recipe)) or 0.0) / steps
        total += each[work] * steps
    return total
