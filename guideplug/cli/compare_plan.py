"""``compare --dry-run``: the configuration, the work, the share in the store, an estimate of time."""

import math
from collections.abc import Iterator, Sequence

import torch

from guideplug.cli.compare_tables import counted
from guideplug.cli.echo import echo, echo_lines
from guideplug.cli.estimate import estimated_seconds
from guideplug.experiments.comparison import Grid, to_toml
from guideplug.experiments.comparison.stored import stored_trainings
from guideplug.experiments.comparison.trainings import iteration_of, needed_for, plain
from guideplug.recipe import Recipe
from guideplug.store import Store, identity

__all__ = ["dry_run", "pointless"]


def dry_run(grid: Grid, store: Store) -> None:
    """Print the plan of a comparison."""
    torch.set_num_threads(grid.first.threads)
    mains: list[Recipe] = list(grid.trainings.values())
    others = _others(grid)
    steps = ", ".join(map(str, grid.curve))
    echo_lines(to_toml(grid))
    for line in pointless(grid):
        echo(f"# {line}")
    where = f"{steps} and the budgets" if grid.request.curves else "the budgets alone"
    each = f"{len(grid.steps)} snapshots each, measured at {where}"
    ends = f"{counted(len(mains), 'training')} of {grid.steps[-1]:,} iterations, {each}"
    stored = stored_trainings(grid, store)
    whole = len(stored)
    echo(f"# {ends}; {_share(whole, len(mains))}")
    if short := sum(store.find(identity(recipe)) is not None for recipe in mains) - whole:
        echo(f"# {counted(short, 'training')} in the store with other snapshots: done once more for these")
    if others:
        num_stored = sum(store.find(identity(recipe)) is not None for recipe in others)
        echo(f"# {counted(len(others), 'training')} of references and guides; {_share(num_stored, len(others))}")
    budgets = min(3, len(grid.steps))  # each may choose one that is not of the curve
    cells = len(mains) * min(len(grid.curve) + budgets if grid.request.curves else budgets, len(grid.steps))
    sampled = f"{cells * len(grid.request.guiders):,} times {grid.first.samples:,} samples to measure"
    echo(f"# up to {sampled}")
    missing: list[Recipe] = [recipe for key, recipe in grid.trainings.items() if key not in stored]
    missing += [recipe for recipe in others if store.find(identity(recipe)) is None]
    echo(
        f"# training takes about {math.ceil(_seconds(missing))} s in one process here; what selectors do, the prices "
        "of iterations, sampling and metrics come on top"
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
