"""Networks that trainings of different seeds share: the guides of guiders, the references of selectors.

By default a network has the seed of its training, and an interval over seeds covers trainings and guides together. If
one guide serves several trainings (``--set models.weak.seed=0``, ``--model weak=FILE``), guide and training are
crossed: the interval is about that guide alone. A fine-tuned copy of a shared network counts as shared.
"""

from collections.abc import Iterable, Mapping

from guideplug.config import walk
from guideplug.experiments.comparison.grid import Grid
from guideplug.experiments.comparison.trainings import plain
from guideplug.recipe import Recipe
from guideplug.run.resolve import RunConfig
from guideplug.store import identity

__all__ = ["shared_guides", "shared_references"]


def shared_guides(grid: Grid) -> dict[str, tuple[str, ...]]:
    """The roles per guider whose networks trainings of several seeds share; guiders with none are left out."""
    by_guider: dict[str, dict[int, RunConfig]] = {}
    for (guider, selector, seed), config in grid.configs.items():
        if config.guider is not None and selector == grid.request.selectors[0]:
            by_guider.setdefault(guider, {})[seed] = config
    return _with_some({guider: _shared(map(_guides, of.values())) for guider, of in by_guider.items()})


def shared_references(grid: Grid) -> dict[str, tuple[str, ...]]:
    """The roles per selector whose networks trainings of several seeds share; selectors with none are left out."""
    by_selector: dict[str, list[Mapping[str, set[str]]]] = {}
    for (selector, _), main in grid.trainings.items():
        own = _networks(plain(main))
        roles = {role: _networks(recipe) - own for role, recipe in main.models.items()}
        by_selector.setdefault(selector, []).append(roles)
    return _with_some({selector: _shared(roles) for selector, roles in by_selector.items()})


def _with_some(of: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: roles for name, roles in of.items() if roles}


def _guides(config: RunConfig) -> Mapping[str, set[str]]:
    """The networks of a run's guider beside the main one, by role."""
    assert config.guider is not None  # by `shared_guides`
    roles = {*config.guider.needs(config.task, config.main), *config.guider.may_use()}
    own = _networks(plain(config.main))
    return {role: _networks(recipe, config.main) - own for role, recipe in config.models.items() if role in roles}


def _shared(trainings: Iterable[Mapping[str, set[str]]]) -> tuple[str, ...]:
    """The roles in which two trainings have the same network, in order."""
    met: dict[str, set[str]] = {}
    shared: dict[str, None] = {}
    for roles in trainings:
        for role, networks in roles.items():
            if met.setdefault(role, set()) & networks:
                shared[role] = None
            met[role] |= networks
    return tuple(shared)


def _networks(recipe: Recipe, but: Recipe | None = None) -> set[str]:
    """The identities of a recipe's network and its prerequisites, except ``but`` and its prerequisites."""
    parts = walk(recipe, Recipe, into=lambda part: part != but)
    return {identity(part) for part in parts if part != but and not part.gives_data}
