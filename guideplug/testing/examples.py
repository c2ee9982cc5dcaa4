"""Instances of strategies for laws, from `Strategy.example`, defaults, and toys.

Required options that `example` leaves out are filled in by type: strategies from `guideplug.testing.toys`, numbers by
1, 2, ... in order.
"""

import itertools
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin

import attrs

from guideplug.config import Strategy
from guideplug.errors import PluginError
from guideplug.recipe import Recipe
from guideplug.recipes import Train
from guideplug.task import Network, Task
from guideplug.testing.toys import TOYS, Line, Normal
from guideplug.train import TrainOptions

__all__ = ["examples_of", "required", "suited"]


def required(cls: type[Strategy]) -> list["attrs.Attribute[Any]"]:
    """The required options of a class."""
    attrs.resolve_types(cast(Any, cls))
    return [a for a in attrs.fields(cast(Any, cls)) if a.init and a.default is attrs.NOTHING]


def examples_of(cls: type[Strategy], folder: Path, others: Sequence[Strategy] = ()) -> Iterator[Strategy]:
    """Instances of a class, at least one.

    Args:
        cls: the class.
        folder: where `Strategy.example` may write files.
        others: further instances for options that require a strategy, beside the toys.

    Raises:
        PluginError: the class cannot be instantiated; the reason, and a value for `example`.
    """
    options = dict(cls.example(folder))
    missing = [attribute for attribute in required(cls) if attribute.name not in options]
    numbers = itertools.count(1)
    choices = [list(_values(attribute, others, numbers)) for attribute in missing]
    for attribute, values in zip(missing, choices, strict=True):
        if not values:
            raise PluginError(
                f"{cls.name} has the option {attribute.name!r} without a default: return a value for it from the "
                f"class method example, as in {{{attribute.name!r}: ...}}"
            )
    refused, succeeded = "", False
    for chosen in itertools.islice(itertools.product(*choices), 64):
        try:
            instance = cls(**options, **dict(zip((a.name for a in missing), chosen, strict=True)))
        except Exception as error:  # a constructor may raise anything; try the next values
            refused = refused or " ".join(f"{type(error).__name__}: {error}".split())
        else:
            succeeded = True
            yield instance
    if not succeeded:
        raise PluginError(f"{cls.name} refuses the values that were tried ({refused}): return others from example")


def _values(attribute: "attrs.Attribute[Any]", others: Iterable[Strategy], numbers: Iterator[int]) -> Iterator[Any]:
    for kind in _parts(attribute.type):
        if get_origin(kind) is tuple:
            several = [toy for known, toys in TOYS.items() if known is get_args(kind)[0] for toy in toys]
            if several:
                yield tuple(several)
        elif get_origin(kind) in (dict, Mapping):
            yield {}
        elif isinstance(kind, type) and issubclass(kind, Recipe):
            yield Train(task=Normal(), denoiser=Line(), options=TrainOptions(duration=cast(Any, "8it"), batch=8))
            yield from (other for other in others if isinstance(other, kind))
        elif isinstance(kind, type) and issubclass(kind, Strategy):
            yield from TOYS.get(kind, ())
            yield from (other for other in others if isinstance(other, kind))
        elif kind is TrainOptions:
            yield TrainOptions(duration=cast(Any, "8it"), batch=8)
        elif kind in (int, float):
            yield kind(next(numbers))


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def suited(network: Network, tasks: Iterable[Task]) -> Task:
    """The first of some tasks, or of the toys, that a network builds a denoiser for.

    Raises:
        PluginError: there is none.
    """
    refused = ""
    for task in (*tasks, Normal(), Normal(shape=(1, 8, 8))):
        try:
            network.build(task)
        except Exception as error:  # a network may refuse a task by any exception
            refused = refused or " ".join(str(error).split())
        else:
            return task
    raise PluginError(f"{network.name} builds a denoiser for no task that is here ({refused})")
