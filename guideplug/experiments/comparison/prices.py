"""The prices of a comparison's iterations, measured once and kept in ``costs.json``.

An arm with a selector has two prices: of an iteration with the selector on, and of the same training without one.
References are priced by their own iterations, in the same rounds. Trainings that do the same work share a price.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from guideplug.config import NONE
from guideplug.errors import RunError
from guideplug.experiments.comparison.costs import Cost, Price, measure_prices
from guideplug.experiments.comparison.grid import Grid
from guideplug.experiments.comparison.trainings import iteration_of, needed_for, plain
from guideplug.experiments.records import read_record
from guideplug.files.atomic import whole_file
from guideplug.files.opening import is_there
from guideplug.recipe import Recipe
from guideplug.run.builder import StoreBuilder

__all__ = ["Prices", "measured_prices", "read_prices", "write_prices"]

PRICES = "costs.json"


@attrs.frozen
class Prices:
    """Prices by the work of an iteration (`trainings.iteration_of`), and the name of each."""

    of: Mapping[str, Price]
    names: Mapping[str, str]

    def cost(self, recipe: Recipe) -> Cost:
        """The price of a training's iterations."""
        return Cost(self.of[iteration_of(recipe)], self.of[iteration_of(plain(recipe))])

    def named(self) -> Iterator[tuple[str, Price]]:
        """Each price with the name of its work."""
        return ((self.names[key], price) for key, price in self.of.items())

    @property
    def busy(self) -> list[str]:
        """The prices measured on a busy machine, in words."""
        return [_line(name, price) for name, price in self.named() if not price.calm]


def _line(name: str, price: Price) -> str:
    seconds = (f"{1000 * value:.3g}" for value in (price.seconds, price.low, price.high))
    return "an iteration {}: {} ms ({} to {})".format(name, *seconds)


def measured_prices(grid: Grid, builder: StoreBuilder) -> dict[str, Any]:
    """The prices of all iterations of a comparison as plain data, measured now."""
    recipes, names = _works(grid)
    prices = measure_prices({key: builder.begin(recipe) for key, recipe in recipes.items()})
    return {key: {"of": names[key], **attrs.asdict(price)} for key, price in prices.items()}


def write_prices(grid: Grid, folder: Path, rows: Mapping[str, Any]) -> Prices:
    """Keep measured prices; the same as they are read again."""
    with whole_file(folder / PRICES) as file:
        file.write(json.dumps(rows, indent=1).encode())
    names = _works(grid)[1]
    return Prices(_prices(rows, names), names)


def read_prices(grid: Grid, folder: Path) -> Prices | None:
    """The prices that an earlier try measured, if they are there.

    Raises:
        RunError: the file of prices is damaged, or of another comparison.
    """
    path = folder / PRICES
    if not is_there(path):
        return None
    names = _works(grid)[1]
    advice = "remove it and resume, and iterations are measured again"
    rows = read_record(path, advice)
    try:
        return Prices(_prices(rows, names), names)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be used ({error}): {advice}") from None


def _prices(rows: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Price]:
    return {key: Price(*(float(rows[key][field]) for field in ("seconds", "low", "high"))) for key in names}


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
