"""The evaluation's view of a denoiser: nodes of an expression, queries of nodes, and the normal form.

The algebra builds nodes and the planner reads them; neither imports the other. A `Point` has a normal form, a `Node` is
a point that a query names, and a `NetworkNode` is a node that is called instead of computed from other points.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from guideplug.denoise.change import Change
from guideplug.denoise.condition import Condition, on_device
from guideplug.denoise.output import DENOISED, Output
from guideplug.denoise.space import Space
from guideplug.denoise.weight import Polynomial
from guideplug.denoise.weight_input import Level

__all__ = ["Fixed", "NetworkNode", "Node", "Point", "Query", "Slot", "Terms"]


class Slot(enum.Enum):
    """The condition of a query that is not fixed: the given or the null condition."""

    GIVEN = "given"
    NULL = "null"


@frozen(eq=False)
class Fixed:
    """A condition that replaces the given one, such as a negative prompt; compared by identity."""

    value: Condition
    _moved: dict[torch.device, Condition] = field(factory=dict, init=False, repr=False)

    def on(self, device: torch.device) -> Condition:
        """The condition on a device, copied once: a copy per evaluation would synchronise with the device."""
        if device not in self._moved:
            self._moved[device] = on_device(self.value, device)
        return self._moved[device]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


class Point(Protocol):
    """An expression with a normal form."""

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
        """The inputs of the function; empty for a network."""

    @property
    def change(self) -> Change | None:
        """The change of (x, sigma) at which its input is evaluated, if any."""

    @property
    def takes_gradient(self) -> bool:
        """Whether it takes a gradient in x."""

    @property
    def traced(self) -> Sequence[Point]:
        """The inputs that the gradient goes through, whose networks are then evaluated with a graph."""

    @property
    def has_null(self) -> bool:
        """Whether there is a null condition."""

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        """The null condition of ``batch`` samples."""

    def combined(self, outputs: Sequence[Tensor], x: Tensor, sigma: Level, condition: Condition) -> Tensor:
        """The function applied to the outputs of its inputs; for nodes with inputs."""

    def in_formula(self, *inner: str) -> str:
        """The text in formulas, around those of its inputs, or around that of the network if it has none."""


class NetworkNode(Node, Protocol):
    """A node without inputs, which is called."""

    role: str
    """Its role in a run, for messages."""

    outputs: Mapping[str, Output]
    """Its named outputs besides the denoised samples."""

    masks: Mapping[str, str]
    """The names of the masks that its conditions may have, by those of the sequences that they belong to."""

    @property
    def counted_as(self) -> "NetworkNode":
        """The network that its calls are counted for: itself, or the network of a perturbed view."""

    def __call__(self, x: Tensor, sigma: Level, condition: Condition) -> Tensor:
        """The denoised samples (B, *), from x (B, *) at ``sigma``."""

    def call_named(self, x: Tensor, sigma: Level, condition: Condition, names: Sequence[str]) -> Mapping[str, Tensor]:
        """The outputs ``names``, of which "denoised" may be one, from one call."""


@frozen
class Query:
    """One output of one node under one condition: evaluated at most once per pass."""

    source: Node
    condition: Slot | Fixed = Slot.GIVEN
    output: str = DENOISED

    @property
    def rows(self) -> "Query":
        """The query of the node's own output: all outputs of a node under a condition come from the same rows."""
        return self if self.output == DENOISED else evolve(self, output=DENOISED)


Terms: TypeAlias = Mapping[Query, Polynomial]
"""A normal form: distinct queries and their coefficients."""
