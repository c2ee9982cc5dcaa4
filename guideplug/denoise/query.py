"""What is asked of a network: itself, under which condition."""

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import torch
from attrs import field, frozen

from guideplug.denoise.condition import Condition, on_device
from guideplug.denoise.weight import Polynomial

if TYPE_CHECKING:
    from guideplug.denoise.algebra import Atom

__all__ = ["Fixed", "Query", "Slot", "Terms"]


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


@frozen
class Query:
    """One network under one condition: the unit that is evaluated at most once."""

    source: "Atom"
    condition: Slot | Fixed = Slot.GIVEN


Terms: TypeAlias = Mapping[Query, Polynomial]
"""A normal form: distinct queries and their coefficients."""
