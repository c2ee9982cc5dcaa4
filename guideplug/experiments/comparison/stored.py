"""The trainings of a comparison that the store has."""

from guideplug.experiments.comparison.grid import Grid
from guideplug.recipe import Recipe
from guideplug.store import Store, identity

__all__ = ["stored_trainings"]


def stored_trainings(grid: Grid, store: Store) -> set[tuple[str, int]]:
    """The selector and seed of the main trainings that are in the store with all their snapshots."""
    return {key for key, recipe in grid.trainings.items() if _complete(recipe, grid, store)}


def _complete(recipe: Recipe, grid: Grid, store: Store) -> bool:
    """Whether a main training is in the store with a snapshot at every step of the grid."""
    entry = store.find(identity(recipe))
    return entry is not None and all(
        any(name.startswith(f"snapshot-{step}it-") for name in entry.files) for step in grid.steps[:-1]
    )
