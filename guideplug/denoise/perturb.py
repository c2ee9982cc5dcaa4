"""Perturbed views of a network by the names of its submodules, for `Leaf.perturbations` and `guideplug.wrap`.

    skip_layers          a layer returns its input                               skip-layer guidance
    identity_attention   softmax(q k') -> I: the unmixed values                  perturbed attention, arXiv:2403.17377
    blurred_queries      q -> G q, G a Gaussian over the grid of tokens          smoothed energy, arXiv:2408.00760
    dropped_units        a share of a layer's outputs set to 0, the rest divided by the remaining share

    def perturbations(self):
        return {"skip-layer": partial(skip_layers("blocks.0", "blocks.1"), self.network)}

Hooks are registered on the named modules for one call and removed afterwards, also after an error. They act on that
call alone, so another thread may use the network at the same time. Parameters, mode and state are unchanged. A skipped
layer is still computed. A later repetition of the call, as by gradient checkpointing, is not perturbed.

Sources: D. Ahn et al. 2024 (perturbed attention), S. Hong 2024 (smoothed energy: blurring the queries blurs the
attention weights), Stability AI's SD3.5 reference code (skip-layer guidance, no paper), N. Srivastava et al. 2014,
"Dropout", JMLR 15. In our own words and code.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias, final

import torch
from attrs import field, frozen
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from guideplug.denoise.visit import Visit
from guideplug.errors import DenoiserError
from guideplug.rng import KeyedRandom

__all__ = ["Layers", "Offer", "blurred_queries", "dropped_units", "identity_attention", "skip_layers"]

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
Offer: TypeAlias = Callable[..., AbstractContextManager[object]]
"""A perturbation: ``offer(network, **options)`` returns the context in which ``network`` is perturbed."""


class Touch:
    """A change of a layer's calls; the base class changes nothing."""

    def before(self, module: nn.Module, arguments: Arguments) -> Arguments:
        """The changed arguments of the call."""
        return arguments

    def after(self, module: nn.Module, arguments: Arguments, output: Any) -> Any:
        """The changed output."""
        return output

    def inside(self) -> "_Meeting | None":
        """The interception of attention inside the layer, if any."""
        return None


@final
@frozen
class Layers:
    """A perturbation of some of the named layers: by default all, or the middle one.

    Called with the network, with ``layers``, a sequence of numbers from 0 in the order of the names, empty for the
    default, and with the options of ``touch``.
    """

    names: tuple[str, ...]
    touch: Callable[..., Touch]
    everywhere: bool = False

    def __call__(
        self, network: nn.Module, layers: Sequence[int] = (), **options: Any
    ) -> AbstractContextManager[object]:
        """The context in which the network is perturbed.

        Raises:
            ValueError: there is no such layer, or an option is invalid.
        """
        for number in layers:
            if not 0 <= number < len(self.names):
                raise ValueError(f"layers has {number}: the network has {len(self.names)} such layers, counted from 0")
        default = range(len(self.names)) if self.everywhere else [len(self.names) // 2]
        chosen = {number: self.names[number] for number in (layers or default)}
        modules = {name: _module(network, name) for name in chosen.values()}
        return _touched(
            network, {name: (modules[name], self.touch(number, **options)) for number, name in chosen.items()}
        )


def _module(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError:
        raise ValueError(f"{type(network).__name__} has no submodule {name!r}: see its named_modules()") from None


_here: ContextVar[tuple[object, ...]] = ContextVar("the perturbed calls that are going on", default=())


@contextmanager
def _touched(network: nn.Module, touches: Mapping[str, tuple[nn.Module, Touch]]) -> Iterator[None]:
    """A context in which calls of the modules from this thread are changed.

    Raises:
        DenoiserError: on exit, if no module was reached: the network is compiled, or was not called.
    """
    visit = Visit(network, tuple(touches))
    token = _here.set((*_here.get(), visit))
    with ExitStack() as hooks:
        hooks.callback(_here.reset, token)
        hooks.callback(network.register_forward_pre_hook(functools.partial(_entered, visit)).remove)
        for module, touch in touches.values():
            _hook(module, touch, visit, hooks)
        yield
    visit.check()


def _entered(visit: Visit, module: nn.Module, args: tuple[Any, ...]) -> None:
    if visit in _here.get():
        visit.enter()


def _hook(module: nn.Module, touch: Touch, visit: Visit, hooks: ExitStack) -> None:
    calls: list[tuple[Arguments, _Meeting | None]] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        if visit not in _here.get():
            return None
        visit.reach()
        arguments, meeting = touch.before(module, (args, kwargs)), touch.inside()
        if isinstance(module, nn.MultiheadAttention):
            meeting = None
        if meeting is not None:
            meeting.__enter__()  # type: ignore[no-untyped-call]
        calls.append(((args, kwargs), meeting))
        return arguments

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if visit not in _here.get() or not calls:
            return output
        arguments, meeting = calls.pop()
        if meeting is not None:
            meeting.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if output is None:  # it raised
            return None
        if meeting is not None and not meeting.met:
            raise DenoiserError(
                f"a {type(module).__name__}, whose attention is to be perturbed, calls neither torch's "
                "scaled_dot_product_attention nor is it a MultiheadAttention: name its attention modules, or offer a "
                "view of your own"
            )
        return touch.after(module, arguments, output)

    hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
    hooks.callback(module.register_forward_hook(after, with_kwargs=True, always_call=True).remove)


def _first(arguments: Arguments) -> Tensor | None:
    args, kwargs = arguments
    hidden = args[0] if args else kwargs.get("hidden_states", next(iter(kwargs.values()), None))
    return hidden if isinstance(hidden, Tensor) else None


# Skipping


@final
@frozen
class _Skip(Touch):
    number: int

    def after(self, module: nn.Module, arguments: Arguments, output: Any) -> Any:
        given = _first(arguments)
        if not isinstance(output, Tensor) or given is None or given.shape != output.shape:
            raise DenoiserError(
                f"a {type(module).__name__} cannot be skipped: it does not give one tensor of the shape of its first "
                "argument; offer another layer, or a view of your own"
            )
        return given


def skip_layers(*names: str) -> Layers:
    """Skippable layers: submodules that return one tensor of the shape of their first argument."""
    return Layers(names, _Skip)


# Attention


class _Attention(Touch):
    """A change of (queries, keys, values) of self-attention inside a layer."""

    core: bool

    def weighed(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """The changed queries, (..., T, C), or the output of attention if it needs no computation."""
        raise NotImplementedError

    def multihead(self, module: nn.MultiheadAttention, arguments: Arguments) -> Arguments:
        """The changed arguments of torch's own module."""
        raise NotImplementedError

    def before(self, module: nn.Module, arguments: Arguments) -> Arguments:
        if isinstance(module, nn.MultiheadAttention):
            return self.multihead(module, arguments)
        if self.core:
            (queries, keys, values, *rest), kwargs = arguments
            queries, _ = self.weighed(queries, keys, values)
            return (queries, keys, values, *rest), kwargs
        return arguments

    def after(self, module: nn.Module, arguments: Arguments, output: Any) -> Any:
        if not self.core:
            return output
        (queries, keys, values, *_), _ = arguments
        _, known = self.weighed(queries, keys, values)
        return output if known is None else known


class _Meeting(TorchFunctionMode):
    """A context in which torch's self-attention is changed; attention between two sequences is not."""

    def __init__(self, touch: _Attention) -> None:
        super().__init__()
        self._touch = touch
        self.met = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        queries, keys, values = named["query"], named["key"], named["value"]
        self.met = True
        if queries.shape[-2] != keys.shape[-2]:
            return func(*args, **kwargs)
        queries, known = self._touch.weighed(queries, keys, values)
        if known is not None:
            return known
        if args:
            return func(queries, *args[1:], **kwargs)
        return func(**{**kwargs, "query": queries})


@final
@frozen
class _Identity(_Attention):
    number: int
    core: bool = False

    def inside(self) -> _Meeting | None:
        return None if self.core else _Meeting(self)

    def weighed(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor | None]:
        if queries.ndim > 3 and queries.shape[-3] != values.shape[-3]:  # grouped queries share values
            values = values.repeat_interleave(queries.shape[-3] // values.shape[-3], -3)
        return queries, values

    def multihead(self, module: nn.MultiheadAttention, arguments: Arguments) -> Arguments:
        named = _named(arguments)
        queries = named["query"]
        length = queries.shape[1 if module.batch_first and queries.ndim == 3 else 0]
        apart = torch.ones(length, length, dtype=torch.bool, device=queries.device).fill_diagonal_(False)
        return (), named | {"attn_mask": apart, "key_padding_mask": None, "is_causal": False}


@final
@frozen
class _Blur(_Attention):
    number: int
    core: bool = False
    blur: float = math.inf

    def __attrs_post_init__(self) -> None:
        if not self.blur > 0:
            raise ValueError(f"blur is {self.blur:g}: it must be above 0, or inf for the mean of all queries")

    def inside(self) -> _Meeting | None:
        return None if self.core else _Meeting(self)

    def weighed(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor | None]:
        return blurred(queries, self.blur), None

    def multihead(self, module: nn.MultiheadAttention, arguments: Arguments) -> Arguments:
        # Blur and projection commute, because the weights of a blur sum to one.
        named = _named(arguments)
        queries, first = named["query"], not module.batch_first and named["query"].ndim == 3
        smooth = blurred(queries.transpose(0, 1) if first else queries, self.blur)
        return (), named | {"query": smooth.transpose(0, 1) if first else smooth}


_MULTIHEAD = (
    "query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal",
)  # fmt: skip


def _named(arguments: Arguments) -> dict[str, Any]:
    """The arguments of torch's own module by name."""
    args, kwargs = arguments
    return dict(zip(_MULTIHEAD, args, strict=False)) | kwargs


def identity_attention(*names: str, core: bool = False) -> Layers:
    """Self-attention with the identity as attention weights: perturbed attention.

    Args:
        names: submodules: torch's `nn.MultiheadAttention`, or any that call `scaled_dot_product_attention`, such as
            diffusers' ``attn1``. Attention between two sequences of different lengths is unchanged.
        core: whether the submodules compute attention alone: queries, keys and values (..., T, C) to mixed values.
    """
    return Layers(names, functools.partial(_Identity, core=core))


def blurred_queries(*names: str, core: bool = False) -> Layers:
    """Self-attention with queries blurred over a square grid of tokens; option ``blur``. Arguments as above."""
    return Layers(names, functools.partial(_Blur, core=core))


def blurred(tokens: Tensor, blur: float) -> Tensor:
    """Tokens (..., T, C) of a square grid, row by row, blurred by a Gaussian of ``blur`` tokens; inf gives their mean.

    The kernel is cut at three standard deviations and at half the grid; the grid is reflected at its edges.
    """
    if blur == math.inf:
        return tokens.mean(-2, keepdim=True).expand_as(tokens)
    side = math.isqrt(tokens.shape[-2])
    if side * side != tokens.shape[-2]:
        raise DenoiserError(
            f"queries of {tokens.shape[-2]} tokens cannot be blurred: they are no square grid; give blur=inf"
        )
    rows = _blur_matrix(side, blur).to(tokens.device, tokens.dtype)
    grid = tokens.reshape(*tokens.shape[:-2], side, side, tokens.shape[-1])  # (..., H, W, C)
    return torch.einsum("ih,jw,...hwc->...ijc", rows, rows, grid).flatten(-3, -2)


@functools.lru_cache(maxsize=64)
def _blur_matrix(side: int, blur: float) -> Tensor:
    """The blur of one axis, (side, side): row i holds the weights of blurred token i."""
    reach = min(math.ceil(6 * blur) // 2, side // 2)
    weights = torch.tensor([math.exp(-0.5 * (step / blur) ** 2) for step in range(-reach, reach + 1)])
    matrix = torch.zeros(side, side)
    for i in range(side):
        for step, weight in zip(range(-reach, reach + 1), (weights / weights.sum()).tolist(), strict=True):
            at = abs(i + step)
            matrix[i, at if at < side else 2 * (side - 1) - at] += weight
    return matrix


# Dropout


@final
@frozen
class _Drop(Touch):
    number: int
    share: float = field()
    draws: KeyedRandom | None = None

    def __attrs_post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share is {self.share:g}: give a share between 0 and 1")

    def after(self, module: nn.Module, arguments: Arguments, output: Any) -> Any:
        if not isinstance(output, Tensor) or self.draws is None:
            raise DenoiserError(f"units of a {type(module).__name__} cannot be dropped: it does not give one tensor")
        draws = self.draws.uniform(output.shape[1:], self.number + 1)
        return output * ((draws >= self.share).to(output.dtype) / (1 - self.share))


def dropped_units(*names: str) -> Layers:
    """Layers with dropped outputs (B, *), drawn per sample; options ``share`` and ``draws``."""
    return Layers(names, _Drop, everywhere=True)
