"""The networks that an experiment needs: each distinct one is a job, which those that it is made of come before."""

from collections.abc import Iterable, Iterator, Mapping, Set
from types import MappingProxyType
from typing import Any

import attrs

from guideplug.executors import Job
from guideplug.observe import Observers
from guideplug.recipe import Recipe
from guideplug.store import Store, identity

__all__ = ["Network", "NetworkJobs", "Networks"]


@attrs.frozen
class Network:
    """A stored network.

    Args:
        key: its identity.
        name: its name in messages.
        recipe: its recipe.
        under: the identities of the stored networks that it is made of.
    """

    key: str
    name: str
    recipe: Recipe
    under: Set[str]


@attrs.define
class Networks:
    """The distinct stored networks of recipes by identity, prerequisites first."""

    of: dict[str, Network] = attrs.field(factory=dict)

    def __iter__(self) -> Iterator[Network]:
        return iter(self.of.values())

    def __len__(self) -> int:
        return len(self.of)

    def add(self, name: str, recipe: Recipe) -> Set[str]:
        """Add the stored networks of a recipe, with those that they are made of; the identities of the former."""
        if not recipe.stored or recipe.gives_data:
            return self._add_parts(name, recipe)
        key = identity(recipe)
        if key not in self.of:
            under = self._add_parts(name, recipe)
            self.of[key] = Network(key, name, recipe, under)
        return frozenset({key})

    def _add_parts(self, name: str, recipe: Recipe) -> Set[str]:
        roles = dict(_roles(recipe))
        parts = [part for part, _ in recipe.rests_on()]
        return frozenset(key for part in parts for key in self.add(f"{roles.get(id(part), part.name)} of {name}", part))


@attrs.define
class NetworkJobs:
    """The jobs that make an experiment's missing networks.

    Args:
        networks: the networks.
        store: where they are kept.
        observers: receive ``network`` for each that is made.
    """

    networks: Networks
    store: Store
    observers: Observers
    _jobs: dict[str, str] = attrs.field(factory=dict, init=False)
    _done: int = attrs.field(default=0, init=False)
    _total: int = attrs.field(default=0, init=False)

    def missing(self, keys: Set[str], others: Mapping[str, str] = MappingProxyType({})) -> list[Job]:
        """A job for each network that the store lacks of those of some identities, prerequisites first.

        Args:
            keys: the identities.
            others: the keys of jobs that make further networks, by identity.
        """
        self._jobs |= others
        needed: list[Network] = []

        def need(key: str) -> None:
            if key not in self._jobs and self.store.find(key) is None:
                network = self.networks.of[key]
                for inner in network.under:
                    need(inner)
                self._jobs[key] = f"network {len(self._jobs)}, {network.name}"
                needed.append(network)

        for key in self.networks.of:
            if key in keys:
                need(key)
        self._done, self._total = 0, len(needed)
        return [Job(self._jobs[each.key], "make", (each.key,), self.before(each.under)) for each in needed]

    def before(self, keys: Iterable[str]) -> frozenset[str]:
        """The keys of the jobs that make networks of some identities, for those that are made."""
        return frozenset(self._jobs[key] for key in keys if key in self._jobs)

    def watched(self, results: Iterator[tuple[Job, Any]]) -> Iterator[tuple[Job, Any]]:
        """The results of other jobs; those of networks are reported to the observers."""
        for job, value in results:
            if job.method == "make":
                self._done += 1
                which = self.networks.of[job.arguments[0]].name
                self.observers("network", done=self._done, total=self._total, which=which, seconds=value)
            else:
                yield job, value


def _roles(recipe: Recipe) -> Iterator[tuple[int, str]]:
    """The roles under which a recipe refers to others, by the object's id."""
    for field in attrs.fields(type(recipe)):  # type: ignore[arg-type]
        value = getattr(recipe, field.name)
        if isinstance(value, Mapping):
            yield from ((id(part), role) for role, part in value.items())
