"""What the evaluation knows of a denoiser: a node of an expression, the query of a node, and the normal form.

The algebra builds nodes and the planner reads them; neither needs the other's file. A `Point` has a normal form, a
`Node` is a point that a query names, and a `NetworkNode` is one that is called rather than computed of other points.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

import torch
from attrs import field, frozen
from torch import Tensor

from guideplug.denoise.change import Change
from guideplug.denoise.condition import Condition, on_device
from guideplug.denoise.space import Space
from guideplug.denoise.weight import Polynomial
from guideplug.denoise.weight_input import Level

__all__ = ["Fixed", "NetworkNode", "Node", "Point", "Query", "Slot", "Terms"]


class Slot(enum.Enum):
    """Which condition a network is asked under, where it is not a fixed one."""

    GIVEN = "given"
    NULL = "null"


@frozen(eq=False)
class Fixed:
    """A condition that was put in place of the given one, such as a negative prompt. Equal when the same object."""

    value: Condition
    _moved: dict[torch.device, Condition] = field(factory=dict, init=False, repr=False)

    def on(self, device: torch.device) -> Condition:
        """The condition on a device, copied there once: a copy in each evaluation would wait for the device."""
        if device not in self._moved:
            self._moved[device] = on_device(self.value, device)
        return self._moved[device]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


class Point(Protocol):
    """Anything with a normal form."""

    space: Space

    @property
    def terms(self) -> "Terms":
        """The normal form: distinct queries and their coefficients, which sum to one."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The parameters of every network and weight in it."""


class Node(Point, Protocol):
    """A point that a query can name: a network, or a function of other points."""

    @property
    def points(self) -> Sequence[Point]:
        """The points it is a function of; none for a network."""

    @property
    def change(self) -> Change | None:
        """Where it asks its point, if that is elsewhere than it is asked itself."""

    @property
    def takes_gradient(self) -> bool:
        """Whether it takes a gradient in x."""

    @property
    def through(self) -> bool:
        """Whether that gradient goes through its points, whose networks are then evaluated with a graph."""

    @property
    def has_null(self) -> bool:
        """Whether there is a null condition."""

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        """The condition that means none, for ``batch`` samples."""

    def combined(self, outputs: Sequence[Tensor], x: Tensor, sigma: Level, condition: Condition) -> Tensor:
        """The function of the points' outputs, where there are points."""

    def in_formula(self, inner: str) -> str:
        """How formulas write it, around the text of its points, or that of the network where it has none."""


class NetworkNode(Node, Protocol):
    """A node without points, which is called."""

    role: str
    """What it is for in a run, in messages."""

    @property
    def counted_as(self) -> "NetworkNode":
        """Whose calls its calls are: itself, or what it is a perturbed view of."""

    def __call__(self, x: Tensor, sigma: Level, condition: Condition) -> Tensor:
        """The denoised samples (B, *), from x (B, *) at ``sigma``."""


@frozen
class Query:
    """One node under one condition: the unit that is evaluated at most once."""

    source: Node
    condition: Slot | Fixed = Slot.GIVEN


Terms: TypeAlias = Mapping[Query, Polynomial]
"""A normal form: distinct queries and their coefficients."""
