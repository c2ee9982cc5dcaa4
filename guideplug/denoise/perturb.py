"""Perturbed views of a network by the names of its submodules, for `Leaf.perturbations` and `guideplug.wrap`.

    skip_layers          a layer returns its input                                       `guideplug.denoise.skip`
    identity_attention   softmax(q k') -> I: the unmixed values                          `guideplug.denoise.attention`
    blurred_queries      q -> G q, G a Gaussian over the grid of tokens                  `guideplug.denoise.attention`
    dropped_units        a share of a layer's outputs set to 0, the rest divided by the  `guideplug.denoise.dropout`
                         remaining share

    def perturbations(self):
        return {"skip-layer": partial(skip_layers("blocks.0", "blocks.1"), self.network)}

Each is a `Touch`, a change of a layer's calls, of those of the named layers that a caller chooses (`Layers`).

Hooks are registered on the named modules for one call and removed afterwards, also after an error. They act on that
call alone, so another thread may use the network at the same time. Parameters, mode and state are unchanged. A skipped
layer is still computed. A later repetition of the call, as by gradient checkpointing, is not perturbed.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol, TypeAlias, final

from attrs import frozen
from torch import Tensor, nn

from guideplug.denoise.visit import Visit

__all__ = ["Arguments", "Call", "Inside", "Layers", "Offer", "Touch"]

Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
Offer: TypeAlias = Callable[..., AbstractContextManager[object]]
"""A perturbation: ``offer(network, **options)`` returns the context in which ``network`` is perturbed."""


class Inside(Protocol):
    """An interception of what a layer computes inside its call."""

    def begin(self) -> None:
        """Begin to intercept."""

    def end(self) -> None:
        """End it, also after an error."""

    def check(self) -> None:
        """Refuse a call that was not intercepted.

        Raises:
            DenoiserError: the layer computed nothing of the kind.
        """


class Call(NamedTuple):
    """A call of a layer during a call of its network; a tuple, which the compiler can trace.

    Args:
        layer: the called module.
        args, kwargs: its arguments.
        sample: the shape of the network's input, (B, *); () if its first argument is no tensor.
    """

    layer: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sample: tuple[int, ...]

    @property
    def first(self) -> Tensor | None:
        """The first argument, or ``hidden_states``, if it is a tensor."""
        return first_tensor(self.args, self.kwargs)

    def named(self) -> dict[str, Any]:
        """The arguments by the names of the layer's ``forward``; those that its signature leaves open as they are."""
        bound = inspect.signature(self.layer.forward).bind_partial(*self.args, **self.kwargs)
        return {**bound.arguments, **self.kwargs}


class Touch:
    """A change of a layer's calls; the base class changes nothing."""

    def before(self, call: Call) -> Arguments:
        """The changed arguments of the call."""
        return call.args, call.kwargs

    def after(self, call: Call, output: Any) -> Any:
        """The changed output."""
        return output

    def inside(self, call: Call) -> Inside | None:
        """The interception of what the layer computes, if any."""
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
        entered = functools.partial(_entered, visit)
        hooks.callback(network.register_forward_pre_hook(entered, with_kwargs=True).remove)
        for module, touch in touches.values():
            _hook(module, touch, visit, hooks)
        yield
    visit.check()


def _entered(visit: Visit, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if visit in _here.get():
        first = first_tensor(args, kwargs)
        visit.enter(() if first is None else tuple(first.shape))


def _hook(module: nn.Module, touch: Touch, visit: Visit, hooks: ExitStack) -> None:
    calls: list[tuple[Call, Inside | None]] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments | None:
        if visit not in _here.get():
            return None
        visit.reach()
        call = Call(module, args, kwargs, visit.sample)
        arguments, inside = touch.before(call), touch.inside(call)
        if inside is not None:
            inside.begin()
        calls.append((call, inside))
        return arguments

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if visit not in _here.get() or not calls:
            return output
        call, inside = calls.pop()
        if inside is not None:
            inside.end()
        if output is None:  # it raised
            return None
        if inside is not None:
            inside.check()
        return touch.after(call, output)

    hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
    hooks.callback(module.register_forward_hook(after, with_kwargs=True, always_call=True).remove)


def first_tensor(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """The first argument of a call, or ``hidden_states``, if it is a tensor."""
    first = args[0] if args else kwargs.get("hidden_states", next(iter(kwargs.values()), None))
    return first if isinstance(first, Tensor) else None
