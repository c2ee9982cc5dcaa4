"""The grid of a comparison: guiders, selectors and seeds over one run's configuration.

Each selector and seed is one training, each guider a way of sampling from it. The configuration is a run's, with lists
in place of the guider, the selector and the seed:

    guiders = ["none", "autoguidance(weight=1.5:3:0.5)"]      a range is an arm for each of its numbers
    selectors = ["none", "early-jest"]
    seeds = [0, 1, 2]
    snapshots = 100                                           along each training; 8 of them are measured for curves
"""

import itertools
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import Any

import attrs

from guideplug.config import NONE, Duration, expand_ranges, rewrite_inner, short
from guideplug.errors import ConfigError, RecipeError, UsageError, nearest
from guideplug.experiments.comparison.result import BUDGETS
from guideplug.experiments.lengths import check_lengths
from guideplug.experiments.networks import Networks
from guideplug.recipe import MainRecipe, Recipe
from guideplug.registry.registry import Registry
from guideplug.run.measure import metrics_of
from guideplug.run.preflight import preflight
from guideplug.run.resolve import Request, RunConfig, resolve

__all__ = ["CURVE", "MOST_RUNS", "Grid", "GridRequest", "Published", "prepare_grid", "resolve_grid"]

SNAPSHOTS, MOST_BYTES = 100, 10**9
CURVE = 8
"""Snapshots along each training that are measured for the curves."""
MOST_RUNS = 10_000


@attrs.frozen
class Published:
    """A published number for a cell of a table: mean and standard deviation over seeds."""

    budget: str
    guider: str
    selector: str
    metric: str
    mean: float
    std: float


@attrs.frozen
class GridRequest:
    """The request of a comparison.

    Args:
        run: the values common to all runs; guider, selector and seed come from the grid.
        guiders, selectors: expressions, "none" for none; ranges are expanded.
        seeds: of the trainings.
        snapshots: number of snapshots per training that budgets choose from; None for 100, or as many as take 1 GB.
        curves: whether 8 snapshots along each training are measured, or only those that the tables need.
        charge_reference: whether the training of a selector's reference counts as its time.
        published: numbers to print beside the results.
    """

    run: Request
    guiders: Sequence[str] = (NONE,)
    selectors: Sequence[str] = (NONE,)
    seeds: Sequence[int] = (0,)
    snapshots: int | None = None
    curves: bool = True
    charge_reference: bool = False
    published: Sequence[Published] = ()


@attrs.frozen
class Grid:
    """A comparison, resolved.

    Args:
        request: the request, its expressions in short form, ranges expanded.
        configs: the run of each (guider, selector, seed).
        steps: the snapshots along each training, in optimiser steps; the last is its end.
        curve: the snapshots that are measured for the curves.
    """

    request: GridRequest
    configs: Mapping[tuple[str, str, int], RunConfig]
    steps: tuple[int, ...]
    curve: tuple[int, ...]

    @property
    def trainings(self) -> dict[tuple[str, int], MainRecipe]:
        """The main recipe of each selector and seed."""
        recipes: dict[tuple[str, int], MainRecipe] = {}
        for (_, selector, seed), config in self.configs.items():
            assert isinstance(config.main, MainRecipe)  # by `resolve_grid`
            recipes[selector, seed] = config.main
        return recipes

    @cached_property
    def networks(self) -> Networks:
        """All stored networks of the runs, prerequisites first."""
        networks = Networks()
        for (_, selector, seed), config in self.configs.items():
            for role, recipe in config.recipes.items():
                networks.add(f"{selector if role == 'main' else role}, seed {seed}", recipe)
        return networks

    def guides(self, selector: str, seed: int, step: int) -> Set[str]:
        """The identities of the networks of all runs that sampling from a snapshot takes."""
        needed = Networks()
        for guider in self.request.guiders:
            for role, recipe in self.at(guider, selector, seed, step).items():
                needed.add(role, recipe)
        return needed.of.keys() & self.networks.of.keys()

    @property
    def first(self) -> RunConfig:
        """The first run, for values common to all."""
        return next(iter(self.configs.values()))

    def at(self, guider: str, selector: str, seed: int, step: int) -> dict[str, Recipe]:
        """A run's recipes with a snapshot as its main network, "main" first; recipes based on main use the snapshot."""
        config = self.configs[guider, selector, seed]
        main = config.main
        snapshot: Recipe = main if step == self.steps[-1] else main.moment(Duration(step, "it"))
        others = {role: _of_snapshot(recipe, main, snapshot, step) for role, recipe in config.models.items()}
        return {"main": snapshot, **others}


def _of_snapshot(recipe: Recipe, main: Recipe, snapshot: Recipe, step: int) -> Recipe:
    """A recipe with the main one replaced by its snapshot; a snapshot of main must not be of a later moment."""
    if recipe == main:
        return snapshot
    earlier = recipe.at_most(main, Duration(step, "it"))
    if earlier is not None:
        return recipe if snapshot == main else earlier
    return rewrite_inner(recipe, lambda inner: _of_snapshot(inner, main, snapshot, step), Recipe)


def prepare_grid(request: GridRequest, registry: Registry) -> Grid:
    """The comparison of a request, with every run resolved, and every arm tried on untrained networks.

    Raises:
        GuideplugError: what is wrong, where, and what to do; nothing has been run.
    """
    grid = resolve_grid(request, registry)
    for guider, selector in itertools.product(grid.request.guiders, grid.request.selectors):
        preflight(grid.configs[guider, selector, grid.request.seeds[0]], registry)
    return grid


def resolve_grid(request: GridRequest, registry: Registry) -> Grid:
    """The comparison of a request, with every run resolved.

    Raises:
        UsageError: what is wrong, where, and what to do; nothing has been run.
    """
    if not (request.guiders and request.selectors and request.seeds):
        raise ConfigError("a comparison needs at least one guider, one selector and one seed; none is a guider too")
    if request.snapshots is not None and request.snapshots < 1:
        raise ConfigError(f"snapshots is {request.snapshots}: give at least 1, which keeps the end of each training")
    if any(type(seed) is not int or seed < 0 for seed in request.seeds):
        raise ConfigError(f"seeds are {list(request.seeds)}: give whole numbers of at least 0")
    if len(set(request.seeds)) < len(request.seeds):
        raise ConfigError(f"seeds are {list(request.seeds)}: each once")
    guiders, selectors = _spread(request.guiders), _spread(request.selectors)
    count = len(guiders) * len(selectors) * len(request.seeds)
    if count > MOST_RUNS:
        raise ConfigError(
            f"{len(guiders):,} guiders, {len(selectors):,} selectors and {len(request.seeds):,} seeds are {count:,} "
            f"runs: a comparison has at most {MOST_RUNS:,}"
        )
    configs: dict[tuple[str, str, int], RunConfig] = {}
    called: dict[str, str] = {}
    threads: dict[str, int] = {}
    for seed in request.seeds:
        for selector in selectors:
            for guider in guiders:
                values = {**threads, **request.run.values, "guider": guider, "selector": selector, "seed": seed}
                config = resolve(attrs.evolve(request.run, values=values, spare_roles=True), registry)
                key = (_named(config.guider), _named(config.selector), seed)
                if key in configs:
                    raise ConfigError(f"guider {key[0]!r} with selector {key[1]!r} is there twice: each arm once")
                configs[key] = config
                called |= {guider: key[0], selector: key[1]}
                threads = {"threads": config.threads}  # all trainings are of one network
    _check_roles(request, configs)
    main = next(iter(configs.values())).main
    if not isinstance(main, MainRecipe):
        raise UsageError(
            f"a comparison trains its main network, and --model main is a {main.name!r} recipe: leave it out"
        )
    steps = main.options.steps
    if steps is None:
        raise ConfigError(f"duration is {main.options.duration}: a comparison counts iterations; give 4096it, say")
    for config in configs.values():
        check_lengths(config.recipes)
    settled = attrs.evolve(
        request,
        run=attrs.evolve(request.run, values={**threads, **request.run.values}),
        guiders=tuple(dict.fromkeys(guider for guider, _, _ in configs)),
        selectors=tuple(dict.fromkeys(selector for _, selector, _ in configs)),
        published=tuple(_settled(row, called) for row in request.published),
    )
    known = {
        "budget": BUDGETS,
        "guider": settled.guiders,
        "selector": settled.selectors,
        "metric": [metric.name for metric in metrics_of(next(iter(configs.values())).task, registry)],
    }
    for row in settled.published:
        for name, names in known.items():
            if (value := getattr(row, name)) not in names:
                raise ConfigError(
                    f"published: this comparison has no {name} {value!r}{nearest(value, names)}: {', '.join(names)}"
                )
    snapshots = _evenly(steps, _many(main) if request.snapshots is None else request.snapshots)
    curve = tuple(snapshots[number - 1] for number in _evenly(len(snapshots), CURVE))
    grid = Grid(settled, configs, snapshots, curve)
    lacking = set()
    for key in configs:
        for step in grid.steps:
            try:
                grid.at(*key, step)
            except ValueError as error:  # no snapshot exists so early, for a role
                if step in curve or request.snapshots is not None:
                    raise RecipeError(f"after {step} of {steps} iterations: {error}") from None
                lacking.add(step)
    return attrs.evolve(grid, steps=tuple(step for step in grid.steps if step not in lacking))


def _spread(texts: Sequence[str]) -> list[str]:
    """Expressions with their ranges expanded."""
    expressions: list[str] = []
    for text in texts:
        expressions += expand_ranges(text)
        if len(expressions) > MOST_RUNS:
            raise ConfigError(f"the ranges of {text} and of those before it stand for more than {MOST_RUNS:,} arms")
    return expressions


def _evenly(steps: int, count: int) -> tuple[int, ...]:
    """At most ``count`` of the numbers from 1 to ``steps``, evenly spaced; the last is ``steps``."""
    count = min(count, steps)
    return tuple(-(-steps * number // count) for number in range(1, count + 1))


def _many(main: MainRecipe) -> int:
    """Default number of snapshots: 100, or as many as take 1 GB."""
    size: int = sum(tensor.numel() * tensor.element_size() for tensor in main.build().state_dict().values())
    return max(min(SNAPSHOTS, MOST_BYTES // max(size, 1)), 1)


def _settled(row: Published, called: Mapping[str, str]) -> Published:
    """A published number under the grid's names of its arm."""
    return attrs.evolve(row, guider=called.get(row.guider, row.guider), selector=called.get(row.selector, row.selector))


def _named(strategy: Any) -> str:
    return NONE if strategy is None else short(strategy)


def _check_roles(request: GridRequest, configs: Mapping[tuple[str, str, int], RunConfig]) -> None:
    """Refuse a role that no run of the grid has, as in a single run."""
    known = {"main", *(role for config in configs.values() for role in config.models)}
    roles = [*request.run.models, *(key.split(".")[1] for key, _ in request.run.sets if key.startswith("models."))]
    for role in roles:
        if role not in known:
            raise RecipeError(
                f"nothing in this comparison has a role {role!r}; its roles are {', '.join(sorted(known))}"
            )
