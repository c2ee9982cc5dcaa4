"""The prices of a comparison's iterations, measured once and kept in ``costs.json``.

An arm with a selector has two prices: of an iteration with the selector on, and of the same training without one.
References are priced by their own iterations, in the same rounds. Trainings that do the same work share a price.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import torch

from guideplug.compare.costs import Cost, Price, measure_prices
from guideplug.compare.grid import Grid
from guideplug.compare.trainings import iteration_of, needed_for, plain
from guideplug.config import NONE
from guideplug.errors import RunError
from guideplug.files.atomic import check_unchanged, whole_file
from guideplug.files.reading import read_json_file
from guideplug.observe import Observers
from guideplug.recipe import Recipe
from guideplug.run.builder import StoreBuilder
from guideplug.store import Store

__all__ = ["Prices", "measured_prices"]


@attrs.frozen
class Prices:
    """Prices by the work of an iteration (`guideplug.compare.trainings.iteration_of`), and the name of each."""

    of: Mapping[str, Price]
    names: Mapping[str, str]

    def cost(self, recipe: Recipe) -> Cost:
        """The price of a training's iterations."""
        return Cost(self.of[iteration_of(recipe)], self.of[iteration_of(plain(recipe))])

    def lines(self) -> list[str]:
        """Each price in words."""
        return [
            f"an iteration {self.names[key]}: {1000 * price.seconds:.3g} ms "
            f"({1000 * price.low:.3g} to {1000 * price.high:.3g})"
            for key, price in self.of.items()
        ]

    @property
    def busy(self) -> list[str]:
        """The prices measured on a busy machine, in words."""
        return [line for line, price in zip(self.lines(), self.of.values(), strict=True) if not price.calm]


def measured_prices(grid: Grid, store: Store, folder: Path, say: Callable[[str], None]) -> Prices:
    """The prices of all iterations of a comparison, measured now unless they are stored.

    Raises:
        RunError: the file of prices is damaged, or of another comparison.
    """
    recipes, names = _works(grid)
    path = folder / "costs.json"
    if path.is_file():
        return Prices(_read(path, names), names)
    torch.set_num_threads(grid.first.threads)
    builder = StoreBuilder(store, torch.device(grid.first.device), Observers())
    prices = Prices(measure_prices({key: builder.begin(recipe) for key, recipe in recipes.items()}), names)
    rows = {key: {"of": names[key], **attrs.asdict(price)} for key, price in prices.of.items()}
    with whole_file(path) as file:
        file.write(json.dumps(rows, indent=1).encode())
    for line in prices.lines():
        say(line)
    return prices


def _works(grid: Grid) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The work to measure, with names; all seeds do the same work."""
    recipes: dict[str, Recipe] = {}
    names: dict[str, str] = {}

    def add(recipe: Recipe, name: str) -> None:
        key = iteration_of(recipe)
        recipes.setdefault(key, recipe)
        names.setdefault(key, name)

    first = {selector: recipe for (selector, seed), recipe in grid.trainings.items() if seed == grid.request.seeds[0]}
    for selector, recipe in first.items():
        add(plain(recipe), "without selection")
        add(recipe, "without selection" if selector == NONE else f"with {selector}")
    for recipe in first.values():
        for role, inner in recipe.models.items():
            for training, _ in needed_for([inner]).trainings:
                add(plain(training), f"of the reference {role}")
                add(training, f"of the reference {role} with its selector")
    return recipes, names


def _read(path: Path, names: Mapping[str, str]) -> dict[str, Price]:
    advice = "remove it and resume, and iterations are measured again"
    check_unchanged(path, advice)
    try:
        rows = read_json_file(path)
        return {key: Price(*(float(rows[key][field]) for field in ("seconds", "low", "high"))) for key in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be used ({error}): {advice}") from None
