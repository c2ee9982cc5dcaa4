"""Views: the same network, evaluated at another input or perturbed.

There are two kinds. A `View` evaluates any denoiser at another (x, sigma), and may change its output:

    V(x; sigma, c) = answer(D(inputs(x, sigma); level(sigma), c), x, sigma)

A view is a point. Its queries are evaluated in the same pass, and in one batch with the others if shapes agree; gates
and weights inside it take the level of the view. `perturbed` returns a denoiser with perturbed networks, for instance
with a skipped layer, if they support it (`Leaf.perturbations`): this takes a separate call, because a call is
either perturbed or not.

A view shares all parameters with its network, its calls are counted for that network, and it is not called if its
coefficient is 0. Equal views are evaluated once.

Cost: a call of the network per distinct perturbed view; an output per row of a `View`.
"""

import abc
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast, final

import torch
from torch import Tensor

from guideplug.denoise.algebra import Atom, Denoiser, Leaf, Perturbation
from guideplug.denoise.change import Change
from guideplug.denoise.condition import Condition
from guideplug.denoise.domain import Start
from guideplug.denoise.value import Value, check_is_denoiser
from guideplug.denoise.weight_input import Level, Step
from guideplug.errors import DenoiserError, nearest
from guideplug.rng import Streams

__all__ = ["LeafWrapper", "Perturbed", "SharedView", "View", "perturbed"]


@final
class View(Atom):
    """A denoiser evaluated at another (x, sigma).

    Args:
        of: any denoiser.
        change: the change of (x, sigma) and of the output.
    """

    def __init__(self, of: Denoiser, change: Change) -> None:
        super().__init__()
        check_is_denoiser(of)
        self.space = of.space
        self.of, self.change, self.points = of, change, (of,)

    def decode(self, x: Tensor) -> Tensor:
        return self.of.decode(x)

    def in_formula(self, *inner: str) -> str:
        return f"[{inner[0]} {self.change}]"

    def replaced(self, inputs: Sequence[Denoiser | Value]) -> "View":
        assert self.change is not None
        return View(cast(Denoiser, inputs[0]), self.change)

    def _renewed(self, known: dict[Denoiser, Denoiser]) -> "View":
        if self not in known:
            inner = self.of._renewed({})  # its own memories: its inputs differ from those around it
            known[self] = self if inner is self.of else self.replaced([inner])
        return cast(View, known[self])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and self.of == other.of and self.change == other.change

    def __hash__(self) -> int:
        return hash((View, self.of, self.change))


def perturbed(point: Denoiser, kind: str, **options: Any) -> Denoiser:
    """The same denoiser with perturbed networks; parameters are shared.

    Args:
        point: any denoiser; every network in it is perturbed.
        kind: the perturbation, such as "skip-layer" or "identity-attention".
        options: the options of the kind, such as ``layers``.

    Raises:
        DenoiserError: a network does not support the kind, or not with these options.
    """
    return point.mapped(lambda leaf: Perturbed(leaf, kind, options))


class LeafWrapper(Leaf):
    """A network around another one, with all its properties but another output.

    Args:
        of: the wrapped network.
    """

    def __init__(self, of: Leaf) -> None:
        super().__init__(of.space)
        self.of, self.num_labels, self.masks, self.any_type = of, of.num_labels, of.masks, of.any_type

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return self.of.null_condition(batch, device)

    @property
    def has_null(self) -> bool:
        return self.of.has_null

    def start(self, streams: Streams, sigma: float) -> Start:
        return self.of.start(streams, sigma)

    def sampler(self) -> str:
        return self.of.sampler()

    def own_levels(self, count: int, sigma_min: float, sigma_max: float) -> list[float]:
        return self.of.own_levels(count, sigma_min, sigma_max)

    def perturbations(self) -> Mapping[str, Perturbation]:
        return self.of.perturbations()

    def fits(self, shape: tuple[int, ...]) -> bool:
        return self.of.fits(shape)

    def decode(self, x: Tensor) -> Tensor:
        return self.of.decode(x)

    @property
    def is_latent(self) -> bool:
        return self.of.is_latent


class SharedView(LeafWrapper):
    """A network whose calls are made in a context, with the network's own parameters.

    Its calls are counted for the network. A subclass implements `inside`, and sets ``written``, the change in formulas.
    """

    def __init__(self, of: Leaf) -> None:
        super().__init__(of)
        self.outputs = of.outputs

    @abc.abstractmethod
    def inside(self) -> AbstractContextManager[object]:
        """The context of one call, in which the network is changed; afterwards it is as before."""

    def in_formula(self, *inner: str) -> str:
        return f"[{self.of.in_formula(*inner)} {self.written}]"

    @property
    def counted_as(self) -> Leaf:
        return self.of.counted_as

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        """One call, counted for the network itself."""
        with self.inside():
            denoised: Tensor = self.of(x, sigma, condition, toward=toward, step=step)
        return denoised

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The denoised samples of the changed network."""
        with self.inside():
            return self.of.denoise(x, sigma, condition)

    def call_named(self, x: Tensor, sigma: Level, condition: Condition, names: Sequence[str]) -> Mapping[str, Tensor]:
        """The named outputs of the changed network: one call, counted for the network itself."""
        with self.inside():
            return self.of.call_named(x, sigma, condition, names)


@final
class Perturbed(SharedView):
    """A network perturbed during its calls. Made by `perturbed`."""

    def __init__(self, of: Leaf, kind: str, options: Mapping[str, Any]) -> None:
        super().__init__(of)
        self.kind, self.options, self.written = kind, dict(options), kind
        self.role = f"{of.role} with {kind}"
        self.inside()

    def inside(self) -> AbstractContextManager[object]:
        offers = self.of.perturbations()
        if self.kind not in offers:
            known = f"it offers {', '.join(offers)}" if offers else "it offers none"
            raise DenoiserError(
                f"the network {self.counted_as.role!r}, a {type(self.counted_as).__name__}, offers no view "
                f"{self.kind!r}{nearest(self.kind, offers)}: {known}; guide another network, or let this one offer it "
                "(docs/adapters.md)"
            )
        try:
            return offers[self.kind](**self.options)
        except (ValueError, TypeError) as error:
            raise DenoiserError(f"the view {self.kind!r} of the network {self.counted_as.role!r}: {error}") from None

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Perturbed)
            and self.of == other.of
            and self.kind == other.kind
            and self.options == other.options
        )

    def __hash__(self) -> int:
        return hash((Perturbed, self.of, self.kind))
