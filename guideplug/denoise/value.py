"""A named value of a network in an expression, such as its log-variance or logits (`guideplug.denoise.output`).

A value is no point: it is read by functions (`guideplug.Combine`), log-densities (`guideplug.GradientGuided`) and
objectives, in the same call of the network as its other outputs.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast, final

from torch import Tensor, nn

from guideplug.denoise.condition import Condition
from guideplug.denoise.evaluate import OnePass
from guideplug.denoise.node import Fixed, Query, Slot, Terms
from guideplug.denoise.plan import Plan
from guideplug.denoise.queries import leaves_of, mapped_query, under
from guideplug.denoise.space import Space
from guideplug.denoise.weight import Polynomial, polynomial
from guideplug.denoise.weight_input import Level, Step
from guideplug.errors import DenoiserError

__all__ = ["Value", "check_is_denoiser"]


@final
class Value(nn.Module):
    """A value of a network. Made by ``network.output(name)``."""

    def __init__(self, query: Query, space: Space) -> None:
        super().__init__()
        self.space = space
        self._query = query
        self.source = cast(nn.Module, query.source)  # registered, for .to() and .parameters()

    @property
    def terms(self) -> Terms:
        """The one query, with coefficient 1."""
        one: Mapping[Query, Polynomial] = {self._query: polynomial(1.0)}
        return one

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        """The value alone, (B, ...): one call of the network. Arguments as of `Denoiser.forward`."""
        return OnePass(x, sigma, condition, toward, step, self.space).values([self], Plan())[0]

    def under(self, condition: Condition) -> "Value":
        """The value under a fixed condition that replaces the given one."""
        return Value(under(self._query, Fixed(condition)), self.space)

    def unconditional(self) -> "Value":
        """The value under the network's null condition.

        Raises:
            ConditionError: the network has no null condition.
        """
        return Value(under(self._query, Slot.NULL), self.space)

    def mapped(self, change: Callable[[Any], Any]) -> "Value":
        """The same output of ``change`` of the network."""
        return Value(mapped_query(self._query, change), self.space)

    def leaves(self) -> list[Any]:
        """The network; a perturbed view stands for its network."""
        return leaves_of(self._query)

    def _renewed(self, known: Any) -> "Value":
        return self

    def _refuse(self, *_: object) -> NoReturn:
        """Refuse the value where denoised samples are needed.

        Raises:
            DenoiserError: always.
        """
        raise DenoiserError(
            f"{self} is a value, not denoised samples, so it cannot be combined with denoisers, sampled or guided: "
            "read it in a function (Combine), a log-density (GradientGuided) or an objective"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = decode = trajectory = output = _refuse

    def __str__(self) -> str:
        return f"the output {self._query.output!r} of a {type(self.source).__name__}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self._query == other._query

    def __hash__(self) -> int:
        return hash((Value, self._query))


def check_is_denoiser(of: object) -> None:
    """Refuse a value where denoised samples are needed.

    Raises:
        DenoiserError: it is a value.
    """
    if isinstance(of, Value):
        of._refuse()
