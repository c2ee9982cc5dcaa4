"""A `guideplug.Builder` with a store: modules are read from the store, or made and stored.

Other processes that need a module being made wait for it. Progress and checkpoints of a module being made are in
`guideplug.run.making`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from guideplug.config import Duration, rewrite_inner
from guideplug.denoise import Leaf
from guideplug.errors import StoreError
from guideplug.files.tensors import fill_module
from guideplug.observe import Observers
from guideplug.recipe import Extra, Observable, Recipe, Resumable, extras_under
from guideplug.registry.loaded import loaded_plugins
from guideplug.run.made import built_by, made_by
from guideplug.run.making import Making
from guideplug.run.old_workshop import OldWorkshop, without_recipe
from guideplug.store import Entry, Store, describe, identity

__all__ = ["Built", "StoreBuilder"]


@attrs.frozen
class Built:
    """A module made by a recipe, with its provenance."""

    module: nn.Module
    recipe: Recipe
    identity: str
    found: bool
    facts: Mapping[str, Any]


class StoreBuilder(OldWorkshop):
    """A `guideplug.Builder` with a store.

    Args:
        store: where networks are kept.
        device: where modules are put.
        observers: receive every event.
        fresh: make every network anew, once, even if it is stored.
        stop: called after every step; an exception from it ends the work between two steps, with the state saved.
        along: of a role and its work, what is called after each of its steps.
    """

    def __init__(
        self,
        store: Store,
        device: torch.device,
        observers: Observers,
        *,
        fresh: bool = False,
        stop: Callable[[], None] = lambda: None,
        along: Callable[[str, Observable], Callable[[], None]] | None = None,
    ) -> None:
        self._store, self._device, self._observers = store, device, observers
        self._fresh, self._stop, self._along = fresh, stop, along
        self._built: dict[str, Built] = {}
        self._reached: list[tuple[Recipe, Recipe]] = []
        self._making: list[Making] = []
        self._extras: list[Extra] = []
        self._roles: dict[str, str] = {}

    def expect(self, recipes: Mapping[str, Recipe], extras: Iterable[Extra] = ()) -> None:
        """Announce recipes: names for messages, and further files to keep beside modules."""
        for role, recipe in recipes.items():
            self._roles.setdefault(identity(recipe), role)
            self._extras += extras_under(recipe)
        self._extras += extras

    def build(self, recipe: Recipe) -> Built:
        """The module of a recipe, and whether it was found."""
        before, recipe = recipe, self._settled(recipe)
        key = identity(recipe)
        if recipe != before and identity(before) in self._roles:
            self._roles.setdefault(key, self._roles[identity(before)])
        if recipe.title:
            self._roles.setdefault(key, recipe.title)
        if key not in self._built:
            built = self._stored(recipe, key) if recipe.stored else self._unstored(recipe, key)
            built.module.eval()
            for parameter in built.module.parameters():
                parameter.requires_grad_(False)
            if isinstance(built.module, Leaf):
                built.module.role = self._role(key)
            self._built[key] = self._built[built.identity] = built
        return self._built[key]

    def identities(self) -> list[str]:
        """The identities of the stored networks that have been built so far, each once."""
        return list(dict.fromkeys(built.identity for built in self._built.values() if built.recipe.stored))

    def begin(self, recipe: Recipe) -> Any:
        """The training of a recipe at its first step; nothing is stored."""
        with self._making_of(identity(recipe)):
            return recipe.begin(self)

    def complete(self, recipe: Recipe) -> None:
        """Make the missing ones of the further files expected of a recipe's module."""
        self._with_extras(recipe, ())

    def _role(self, key: str) -> str:
        return self._roles.get(key, f"helper {key[:6]}")

    def _settled(self, recipe: Recipe) -> Recipe:
        """The recipe with the durations of time-limited trainings replaced by the iterations reached."""
        for before, reached in self._reached:
            if recipe == before:
                return reached
        return rewrite_inner(recipe, self._timed, Recipe)

    def _timed(self, recipe: Recipe) -> Recipe:
        return self.build(recipe).recipe if recipe.open_ended else self._settled(recipe)

    def _unstored(self, recipe: Recipe, key: str) -> Built:
        with self._making_of(key):
            module = built_by(recipe) if recipe.viewed is None else recipe.view(self.obtain(recipe.viewed))
            facts = made_by(recipe, module, self)
        self._observers("found", role=self._role(key), recipe=recipe.name, **facts)
        return Built(module.to(self._device), recipe, key, True, facts)

    def _stored(self, recipe: Recipe, key: str) -> Built:
        with self._held(key):
            entry = None if self._fresh else self._store.find(key)
            if entry is not None:
                module = built_by(recipe)
                fill_module(module, entry.tensors(), str(entry.folder))
                self._observers("found", role=self._role(key), folder=str(entry.folder), **entry.facts)
                return Built(module.to(self._device), recipe, key, True, entry.facts)
            if self._fresh:  # what is stored stays until the new network takes its place
                self._store.remove_unfinished(key)
            module = built_by(recipe).to(self._device)
            with ExitStack() as until_stored:
                with self._making_of(key, self._store.workplace(key), until_stored):
                    facts = made_by(recipe, module, self)
                reached = recipe
                if recipe.open_ended:
                    reached = recipe.with_duration(Duration(facts["iterations"], "it"))
                    self._reached.append((recipe, reached))
                entry = self._store.finish(
                    key, identity(reached), module.state_dict(), describe(reached), facts, loaded_plugins()
                )
            self._stop()
            return Built(module, reached, entry.identity, False, facts)

    @contextmanager
    def _making_of(self, key: str, place: Path | None = None, until_stored: ExitStack | None = None) -> Iterator[None]:
        making = Making(self._role(key), self._observers, self._stop, self._along, place, until_stored or ExitStack())
        self._making.append(making)
        try:
            yield
            making.ended()
        finally:
            self._making.pop()

    @contextmanager
    def _held(self, key: str) -> Iterator[None]:
        """Lock an entry of the store; emit ``wait`` once if another process holds it."""
        reported = False

        def waiting() -> None:
            nonlocal reported
            if not reported:
                self._observers("wait", role=self._role(key))
            reported = True
            self._stop()

        with self._store.locked(key, waiting):
            self._store.tidy(key)
            yield

    # The interface for recipes: `guideplug.Builder`

    @property
    def device(self) -> torch.device:
        """Where modules are put."""
        return self._device

    @property
    def role(self) -> str:
        """The name in messages of the module being made."""
        return self._making[-1].role

    def obtain(self, recipe: Recipe) -> nn.Module:
        """The module of a recipe."""
        return self.build(recipe).module

    def checkpoint(self, work: Resumable) -> bool:
        """Save the state of resumable work from now on, and restore that of an earlier try."""
        return self._making[-1].checkpoint(work)

    def progress(self, *arguments: Any, **details: Any) -> None:
        """Report the progress of the module being made: (step, total, loss)."""
        self._making[-1].progress(*without_recipe(arguments), **details)

    def stop_if_asked(self) -> None:
        """End the work here if a stop was requested."""
        self._stop()

    def keep(self, file: str, tensors: Mapping[str, Tensor]) -> Path:
        """Keep a further file beside the module being made."""
        return self._making[-1].keep(file, tensors)

    def expected(self, recipe: Recipe) -> Sequence[Extra]:
        """The further files that other recipes need of a recipe's module."""
        return [extra for extra in self._extras if extra.of == recipe]

    def stored(self, extras: Sequence[Extra]) -> Iterator[Mapping[str, Tensor]]:
        """The tensors of further files of one stored module, read lazily."""
        entry = self._with_extras(extras[0].of, extras)
        return (entry.tensors(extra.file) for extra in extras)

    def _with_extras(self, recipe: Recipe, extras: Sequence[Extra]) -> Entry:
        """The entry of a recipe with further files; if one is missing, all missing ones are made."""
        entry = self._entry(recipe)
        extras_of = {extra.file: extra for extra in (*self.expected(recipe), *recipe.extras(), *extras)}
        urgent = [extra.file for extra in extras] or extras_of
        if all(file in entry.files for file in urgent):
            return entry
        missing = [extra for file, extra in extras_of.items() if file not in entry.files]
        with self._making_of(identity(recipe)):
            recipe.make_extras(missing, self, lambda file, tensors: self._store.add(self._entry(recipe), file, tensors))
        return self._entry(recipe)

    def _entry(self, recipe: Recipe) -> Entry:
        entry = self._store.find(self.build(recipe).identity)
        if entry is None:
            raise StoreError(f"the store lost {recipe.name!r} while a snapshot of it was wanted: run again")
        return entry
