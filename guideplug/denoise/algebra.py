"""Denoisers as points, their differences as directions.

Denoisers of one space, at one (x, sigma, condition), are points of an affine space:

    point - point = direction      number * direction = direction      point + direction = point

and two points cannot be added. A guided denoiser is therefore a denoiser, samplers and losses treat it as one, and an
affine guider is written as its equation, for instance autoguidance (Karras et al. 2024, arXiv:2406.02507, eq. 6 with
one guide):

    guided = base + (w - 1) * (base - weak)

Every such expression has a normal form: a sum over distinct (network, condition) pairs of a coefficient times the
network's output, with coefficients that sum to one. The normal form determines the network calls
(`guideplug.denoise.plan`), their cost, and the formula that `guideplug explain` prints.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, cast, final, overload

import torch
from attrs import evolve
from torch import Tensor, nn

from guideplug.config import Strategy, described, named
from guideplug.denoise.api1 import adapt_denoiser
from guideplug.denoise.change import Change
from guideplug.denoise.condition import Condition, expand, for_networks
from guideplug.denoise.domain import DEFAULT_SAMPLER, NoiseDomain, Start
from guideplug.denoise.evaluate import OnePass
from guideplug.denoise.node import Fixed, Query, Slot, Terms
from guideplug.denoise.noisy import check_noisy, wide
from guideplug.denoise.output import DENOISED, Output, ValueOutput, checked_outputs, declared
from guideplug.denoise.plan import Plan
from guideplug.denoise.queries import leaves_of, mapped_query, under
from guideplug.denoise.space import Space
from guideplug.denoise.tally import record
from guideplug.denoise.unwritten import unwritten
from guideplug.denoise.value import Value, check_is_denoiser
from guideplug.denoise.weight import Polynomial, Scalar, Weight, WeightSchedule, polynomial
from guideplug.denoise.weight_input import Level, Step
from guideplug.errors import ConditionError, DenoiserError
from guideplug.rng import Streams

__all__ = ["Affine", "Atom", "Combine", "Denoiser", "Direction", "Leaf", "Perturbation"]

Perturbation: TypeAlias = Callable[..., AbstractContextManager[object]]
Outputs: TypeAlias = Sequence[Tensor]
Function: TypeAlias = Callable[[Outputs, Tensor, Level], Tensor]


class Denoiser(nn.Module, abc.ABC):
    """A point: an estimator of the expected clean sample E[x0 | x, sigma, condition]."""

    space: Space

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        adapt_denoiser(cls)

    _plan: Plan | None = None
    """The plan kept along a trajectory; None for independent evaluations."""

    @property
    @abc.abstractmethod
    def terms(self) -> Terms:
        """The normal form: distinct queries and their coefficients, which sum to one."""

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        """The denoised samples, (B, *) like ``x``.

        Args:
            x: noisy samples (B, *), clean ones plus sigma times unit noise.
            sigma: noise level in data units, a float or a tensor, scalar or (B,). With a float, terms of weight 0
                are not evaluated; the values of a tensor are never read on the host.
            condition: None, a tensor, or a mapping or list of conditions, batch first.
            toward: the next level below this one on the sampler's grid (0 at the end), for weights that depend on it.
            step: the levels at the start and end of the sampler's step, for decisions made once per step.

        Raises:
            ConditionError: the condition's batch does not match, or a network lacks the null condition it needs.
            DenoiserError: x is not of a floating-point type; a network returned something else than samples like x;
                along a trajectory, a function too; a compiler traces it.
            DivergenceError: a coefficient is more than the type of the samples holds.
        """
        if torch.compiler.is_compiling():  # imported here, since it imports the compiler: seconds for every command
            from guideplug.denoise.uncompiled import refuse_compiler

            refuse_compiler()
        with unwritten(self.breach, x=x):
            denoised = OnePass(x, sigma, condition, toward, step, self.space).values([self], self._plan or Plan())[0]
        if self._plan is not None and (fault := _unlike(denoised, x)):  # a function may gather outputs off a trajectory
            raise self.breach(fault)
        return denoised

    def breach(self, contract: str) -> DenoiserError:
        """The error of a composed denoiser that breaks its contract."""
        roles = " and ".join(dict.fromkeys(leaf.role for leaf in self.leaves()))
        return DenoiserError(f"the denoiser composed of {roles} {contract}")

    def under(self, condition: Condition) -> "Denoiser":
        """This denoiser with a fixed condition that replaces the given one (a negative prompt, another label)."""
        return _point(_all_under(self.terms, Fixed(condition)), self.space)

    def unconditional(self) -> "Denoiser":
        """This denoiser under its own null condition.

        Raises:
            ConditionError: a network in it has no null condition.
        """
        return _point(_all_under(self.terms, Slot.NULL), self.space)

    def output(self, name: str) -> "Denoiser | Value":
        """A named output of the network, from the same call as its other outputs (`guideplug.denoise.output`).

        A point is a denoiser; a value is read by functions, log-densities and objectives, or evaluated alone.

        Raises:
            DenoiserError: the network declares no such output, or this is not one network.
        """
        query, *others = self.terms
        source = _atom(query)
        if others or not isinstance(source, Leaf) or query.output != DENOISED:
            raise DenoiserError(
                f"the output {name!r} is asked of a {type(self).__name__}, which is composed: ask it of a network, as "
                f"in main.output({name!r})"
            )
        output = declared(source.outputs, name, source.in_messages)
        query = evolve(query, output=name)
        if isinstance(output, ValueOutput):
            return Value(query, self.space)
        return _point({query: polynomial(1.0)}, self.space)

    def trajectory(self) -> "Denoiser":
        """The denoiser for one trajectory, with its own memory; a network, which is stateless, returns itself.

        Calls are then planned once, not at every step, as long as the condition is the same object.
        """
        return self

    def _renewed(self, known: "dict[Denoiser, Denoiser]") -> "Denoiser":
        """The denoiser with a new memory for each stateful part; itself if it has none."""
        return self

    def decode(self, x: Tensor) -> Tensor:
        """Samples in display space: decoded for latent models, else unchanged."""
        return x

    def leaves(self) -> "list[Leaf]":
        """The distinct networks in it, in the order of the formula; a perturbed view stands for its network."""
        leaves: dict[Leaf, None] = {}
        for query in self.terms:
            leaves.update(dict.fromkeys(leaves_of(query)))
        return list(leaves)

    def mapped(self, change: "Callable[[Leaf], Leaf]") -> "Denoiser":
        """The same expression with each network replaced by ``change`` of it."""
        total: Terms = {}
        for query, coefficient in self.terms.items():
            total = _sum(total, {mapped_query(query, change): coefficient})
        return _point(total, self.space)

    # The affine space. Sums of two points are refused: their coefficients would not sum to one.

    @overload
    def __sub__(self, other: "Denoiser") -> "Direction": ...
    @overload
    def __sub__(self, other: "Direction") -> "Denoiser": ...
    def __sub__(self, other: "Denoiser | Direction") -> "Direction | Denoiser":
        if isinstance(other, Denoiser):
            _check_space(self, other.space)
            return Direction(_sum(self.terms, _scaled(other.terms, polynomial(-1.0))), self.space)
        if isinstance(other, Direction):
            return self + (-other)
        return NotImplemented

    def __add__(self, other: "Direction") -> "Denoiser":
        if isinstance(other, Direction):
            _check_space(self, other.space)
            return _point(_sum(self.terms, other.terms), self.space)
        if isinstance(other, Denoiser):
            raise TypeError("two denoisers cannot be added: add a direction, as in base + w * (base - weak)")
        return NotImplemented

    __radd__ = __add__

    def __mul__(self, other: object) -> "Denoiser":
        raise TypeError("a denoiser cannot be scaled: scale a direction, as in base + w * (base - weak)")

    __rmul__ = __mul__


class Atom(Denoiser):
    """A denoiser that a query can name: a network, or a function of other denoisers."""

    points: "tuple[Denoiser | Value, ...]" = ()
    """The inputs of the function; empty for a network."""

    change: Change | None = None
    """The change of (x, sigma) at which its input is evaluated, if any; see `guideplug.denoise.view`."""

    written: str = "combine({})"
    """The notation of the function in formulas; {} stands for its inputs."""

    takes_gradient: bool = False
    """Whether it takes a gradient in x; see `guideplug.denoise.gradient`."""

    @property
    def traced(self) -> "Sequence[Denoiser | Value]":
        """The inputs that the gradient goes through, whose networks are then evaluated with a graph."""
        return ()

    @property
    def terms(self) -> Terms:
        return {Query(self): polynomial(1.0)}

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        """The null condition of ``batch`` samples: a label, zeros, a learned embedding.

        Raises:
            ConditionError: the network has no null condition, which is the default.
        """
        raise ConditionError(
            f"{type(self).__name__} has no null condition, so it cannot be asked unconditionally: "
            "give a network of its own (--model unconditional=PATH), or train with label dropout"
        )

    @property
    def has_null(self) -> bool:
        """Whether there is a null condition."""
        return type(self).null_condition is not Atom.null_condition

    def combined(self, outputs: Outputs, x: Tensor, sigma: Level, condition: Condition) -> Tensor:
        """The function applied to the outputs of its inputs; for atoms with inputs."""
        raise TypeError(f"{type(self).__name__} is no function of other denoisers")

    def in_formula(self, *inner: str) -> str:
        """The text in formulas, around those of its inputs, or around that of the network if it has none."""
        return self.written.replace("{}", ", ".join(inner)) if self.points else inner[0]

    def replaced(self, inputs: "Sequence[Denoiser | Value]") -> "Atom":
        """The same function of other inputs; for atoms with inputs."""
        raise TypeError(f"{type(self).__name__} is no function of other denoisers")

    def asked_under(self, condition: Slot | Fixed) -> "Atom":
        """The same function with a condition that replaces the given one; for atoms with inputs."""
        return self.replaced(
            [
                point.under(condition.value) if isinstance(condition, Fixed) else point.unconditional()
                for point in self.points
            ]
        )

    def trajectory(self) -> Denoiser:
        if not self.points:
            return self
        renewed = cast(Atom, self._renewed({}))
        fresh = renewed.replaced(renewed.points)
        fresh._plan = Plan()
        return fresh


class Leaf(Atom):
    """A denoiser that is evaluated rather than composed: a network, or a closed form.

    A subclass sets ``space`` and implements `denoise`; one that works without a condition implements `null_condition`.
    """

    role: str = "network"
    """Its role in a run, for messages."""

    built_by: Strategy | None = None
    """The strategy that built it, for messages."""

    num_labels: int | None = None
    """The number of labels, for label conditions; together with `start` this makes it a `Domain`."""

    outputs: Mapping[str, Output] = {}
    """Its named outputs besides the denoised samples, which `named_outputs` computes; none by default."""

    masks: Mapping[str, str] = {}
    """The names of masks that it takes in conditions, by those of the sequences whose valid positions they mark.

    Sequences of unequal length are padded to one batch with these masks; ``name_mask`` beside ``name`` needs no entry.
    """

    any_type: bool = False
    """Whether `denoise` takes x of any floating-point type, whatever that of its weights, and answers in x's.

    Such a network is given levels in float32 at least, and samplers keep x in float32 though it is started in half
    precision.
    """

    decoder: Callable[[Tensor], Tensor] | None = None
    """From samples to display space, as of an autoencoder; it is none of the network's modules."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    @abc.abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The denoised samples (B, *), from x (B, *), sigma (B,) on x's device, and the unchanged condition."""

    def named_outputs(
        self, x: Tensor, sigma: Tensor, condition: Condition, names: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """The outputs ``names`` of one call, at least, for a network with ``outputs``; arguments as of `denoise`.

        The denoised samples have the name "denoised"; they are not among ``names`` if only others are needed. Each
        output is independent of which others are asked for.
        """
        raise DenoiserError(f"{self.in_messages} declares outputs and does not implement named_outputs")

    @property
    def in_messages(self) -> str:
        """The network in messages."""
        return f"the network {self.counted_as.role!r}, a {type(self).__name__},"

    @property
    def counted_as(self) -> "Leaf":
        """The network that its calls are counted for: itself, or the network of a perturbed view."""
        return self

    @property
    def is_latent(self) -> bool:
        """Whether its samples are decoded before they are data, so that a range of data is none of theirs."""
        return self.decoder is not None or type(self).decode is not Leaf.decode

    def own_levels(self, count: int, sigma_min: float, sigma_max: float) -> list[float]:
        """``count`` levels from sigma_max down to sigma_min, at even steps of the network's own time.

        Raises:
            DenoiserError: the network has no time of its own, which is the default, or too few steps of it.
        """
        raise DenoiserError(
            f"{self.in_messages} has no times of its own, so there is no grid of them: take another schedule, or give "
            "its noise schedule, wrap(..., schedule=...)"
        )

    def decode(self, x: Tensor) -> Tensor:
        """Samples in display space: those of ``decoder`` where it is set, else unchanged."""
        return x if self.decoder is None else self.decoder(x)

    def perturbations(self) -> "Mapping[str, Perturbation]":
        """The supported perturbations by kind, such as "skip-layer"; none by default.

        Each is called with options and returns a context in which the network is perturbed, with the same parameters;
        invalid options raise `ValueError` on that call. `guideplug.denoise.perturb` builds them from the names of
        submodules, and `guideplug.denoise.perturbed` applies them.
        """
        return {}

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether it denoises samples of this shape; by default only the shape of its space."""
        return shape == self.space.shape

    def start(self, streams: Streams, sigma: float) -> Start:
        """The initial states of the samples numbered by ``streams``, at noise level ``sigma``, as in `NoiseDomain`."""
        return NoiseDomain(self.space, self.num_labels).start(streams, sigma)

    def sampler(self) -> str:
        """The expression of the default sampler."""
        return DEFAULT_SAMPLER

    def after_step(self) -> None:
        """Called after each optimiser step in training, to enforce constraints on the weights in place."""

    def unconditional(self) -> Denoiser:
        if not self.has_null:
            self.null_condition(1, torch.device("cpu"))
        return super().unconditional()

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        """The denoised samples: one call of the network, counted, its output's shape checked. See `Denoiser`."""
        levels, condition = self._counted(x, sigma, condition)
        with unwritten(self.breach, x=x, sigma=levels):
            denoised = self.denoise(x, levels, condition)
        if fault := _unlike(denoised, x):
            raise self.breach(fault)
        return denoised

    def call_named(self, x: Tensor, sigma: Level, condition: Condition, names: Sequence[str]) -> Mapping[str, Tensor]:
        """The outputs ``names``, of which "denoised" may be one: one call, counted, their shapes checked.

        Raises:
            DenoiserError: an output is missing, or has another shape than declared.
        """
        levels, condition = self._counted(x, sigma, condition)
        with unwritten(self.breach, x=x, sigma=levels):
            outputs = self.named_outputs(x, levels, condition, names)
        return checked_outputs(outputs, names, self.outputs, x, self.in_messages)

    def _counted(self, x: Tensor, sigma: Level, condition: Condition) -> tuple[Tensor, Condition]:
        """The levels (B,) and the condition of a call for x (B, *), which is counted."""
        check_noisy(x)
        batch, dtype = len(x), wide(x.dtype) if self.any_type else x.dtype
        if isinstance(sigma, Tensor):
            levels = sigma.to(x.device, dtype).expand(batch)
        else:
            levels = torch.full((batch,), sigma, device=x.device, dtype=dtype)
        if for_networks(condition) is None and self.has_null:
            condition = self.null_condition(batch, x.device)
        record(self, batch)
        return levels, expand(for_networks(condition), batch)

    def breach(self, contract: str) -> DenoiserError:
        """The error of a network that breaks its contract: its class, and the strategy that built it where known."""
        built_by = "" if self.built_by is None else f" of {named(self.built_by)}"
        return DenoiserError(f"{type(self).__name__}{built_by} {contract}")


@final
class Combine(Atom):
    """A function of the outputs of other denoisers, for guidance that is not affine (projection, thresholding).

    The networks of its inputs are evaluated in the same pass as the rest of the expression. ``points`` are its inputs.

    Args:
        inputs: denoisers of one space, the first at least, and values of networks (``network.output(name)``).
        function: (outputs, x (B, *), sigma) -> denoised (B, *), independent per row.
        begin: instead of a function, a factory of one function per trajectory, for guidance with state.
        written: the notation in formulas, with {} for its inputs, as in ``"clipped({})"``.
    """

    def __init__(
        self,
        inputs: "Sequence[Denoiser | Value]",
        function: Function | None = None,
        *,
        begin: Callable[[], Function] | None = None,
        written: str = Atom.written,
    ) -> None:
        super().__init__()
        if not inputs or (function is None) == (begin is None):
            raise ValueError("Combine takes at least one denoiser, and either a function or begin")
        check_is_denoiser(inputs[0])
        for other in inputs[1:]:
            _check_space(inputs[0], other.space)
        self.space = inputs[0].space
        self.inputs = nn.ModuleList(inputs)
        self.points = tuple(inputs)
        self._function, self._begin, self.written = function, begin, written

    def combined(self, outputs: Outputs, x: Tensor, sigma: Level, condition: Condition) -> Tensor:
        """The function applied to the outputs of the inputs."""
        function = self._function
        if function is None:
            assert self._begin is not None
            function = self._begin()
        return function(outputs, x, sigma)

    def _renewed(self, known: dict[Denoiser, Denoiser]) -> "Combine":
        if self not in known:
            inputs = [point._renewed(known) for point in self.points]
            same = all(new is old for new, old in zip(inputs, self.points, strict=True))
            function = self._function if self._begin is None else self._begin()
            known[self] = self if same and self._begin is None else self._with(inputs, function)
        return cast(Combine, known[self])

    def decode(self, x: Tensor) -> Tensor:
        return cast(Denoiser, self.points[0]).decode(x)

    def replaced(self, inputs: "Sequence[Denoiser | Value]") -> "Combine":
        """The same function of other inputs."""
        return self._with(inputs, self._function)

    def _with(self, inputs: "Sequence[Denoiser | Value]", function: Function | None) -> "Combine":
        """The same function and factory with other inputs; nested trajectories included."""
        given = function if self._begin is None else None
        other = Combine(inputs, given, begin=self._begin, written=self.written)
        other._function = function
        return other


@final
class Affine(Denoiser):
    """A composed denoiser in normal form. Made by arithmetic on denoisers, not by hand."""

    def __init__(self, terms: Terms, space: Space) -> None:
        super().__init__()
        self.space = space
        self._terms = terms
        # Registered so that .to(), .parameters() and .eval() reach every network and weight module.
        self.sources = nn.ModuleList(dict.fromkeys(map(_atom, terms)))
        self.weights = nn.ModuleList(dict.fromkeys(w for coefficient in terms.values() for w in coefficient.weights))

    @property
    def terms(self) -> Terms:
        return self._terms

    def decode(self, x: Tensor) -> Tensor:
        return _atom(next(iter(self._terms))).decode(x)  # denoisers of one space share the decoder

    def trajectory(self) -> Denoiser:
        fresh = Affine(self._renewed({}).terms, self.space)
        fresh._plan = Plan()
        return fresh

    def _renewed(self, known: dict[Denoiser, Denoiser]) -> "Affine":
        renewed: dict[Query, Polynomial] = {}
        for query, coefficient in self._terms.items():
            renewed[evolve(query, source=cast(Atom, _atom(query)._renewed(known)))] = coefficient
        return self if renewed.keys() == self._terms.keys() else Affine(renewed, self.space)


class Direction:
    """A difference of denoisers, or a sum of such differences scaled by weights: coefficients that sum to zero."""

    def __init__(self, terms: Terms, space: Space) -> None:
        self.terms = terms
        self.space = space

    def __add__(self, other: "Direction") -> "Direction":
        if not isinstance(other, Direction):
            return NotImplemented
        _check_space(self, other.space)
        return Direction(_sum(self.terms, other.terms), self.space)

    def __neg__(self) -> "Direction":
        return self * -1.0

    def __sub__(self, other: "Direction") -> "Direction":
        return self + (-other) if isinstance(other, Direction) else NotImplemented

    def __mul__(self, weight: Scalar) -> "Direction":
        if not isinstance(weight, int | float | Weight | WeightSchedule | Polynomial):
            return NotImplemented
        return Direction(_scaled(self.terms, polynomial(weight)), self.space)

    __rmul__ = __mul__


def _unlike(denoised: object, x: Tensor) -> str:
    """How denoised samples are not as x, by what is known on the host; empty where they are.

    A type of less precision than x's is that of a network in half precision.
    """
    if not isinstance(denoised, Tensor):
        return f"returned {described(denoised)}: return a tensor like x"
    if denoised.shape != x.shape:
        return (
            f"returned shape {tuple(denoised.shape)} for x of shape {tuple(x.shape)}: "
            "a denoiser returns one clean sample for each noisy one"
        )
    if denoised.dtype != x.dtype and torch.promote_types(denoised.dtype, x.dtype) != x.dtype:
        return f"returned type {denoised.dtype} for x of type {x.dtype}: return x's"
    if denoised.device != x.device:
        return f"returned a tensor on {denoised.device} for x on {x.device}: return it there"
    return ""


def _sum(left: Terms, right: Terms) -> Terms:
    total = dict(left)
    for query, coefficient in right.items():
        total[query] = total[query] + coefficient if query in total else coefficient
    return {query: coefficient for query, coefficient in total.items() if coefficient.constant != 0.0}


def _scaled(terms: Terms, weight: Polynomial) -> Terms:
    return {query: coefficient * weight for query, coefficient in terms.items()}


def _point(terms: Terms, space: Space) -> Denoiser:
    """The denoiser with these terms, or the network itself for a single term with coefficient 1."""
    if len(terms) == 1:
        (query, coefficient), *_ = terms.items()
        if query == Query(query.source) and coefficient.constant is not None:
            return _atom(query)
    return Affine(terms, space)


def _all_under(terms: Terms, condition: Slot | Fixed) -> Terms:
    """The terms with a condition that replaces the given one; terms that become equal are summed."""
    total: Terms = {}
    for query, coefficient in terms.items():
        total = _sum(total, {under(query, condition): coefficient})
    return total


def _atom(query: Query) -> Atom:
    """The node of a query as an `Atom`: the planner's type is narrower."""
    return cast(Atom, query.source)


def _check_space(point: "Denoiser | Direction | Value", other: Space) -> None:
    if point.space.shape != other.shape:
        raise DenoiserError(
            f"denoisers of shapes {point.space.shape} and {other.shape} cannot be combined: "
            "guide a network with one of the same data"
        )
