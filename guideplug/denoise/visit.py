"""Check that a perturbed view reached its modules: hooks do not run in a compiled network.

`torch.compile` caches the traced graph. A network compiled around the modules of a view runs that graph whatever hooks
are registered, so the view would equal the network, at the cost of a second call.

Cost: one hook, and a comparison at the end, per call of the view.
"""

from typing import Any

import torch
from torch import nn

from guideplug.errors import DenoiserError

__all__ = ["Visit"]


class Visit:
    """One call of a network under a view.

    Args:
        network: the called network.
        names: the modules in it that the view changes.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        self._network, self._names = network, names
        self._entered = self._reached = self._traced = False
        self.sample: tuple[int, ...] = ()
        """The shape of the network's input, (B, *), once it is called."""

    def enter(self, sample: tuple[int, ...]) -> None:
        """Note a call of the network in Python, not while a compiler traces it."""
        self.sample = sample
        self._entered = self._entered or not torch.compiler.is_compiling()

    def reach(self) -> None:
        """Note a call of one of the modules."""
        self._reached = True
        if torch.compiler.is_compiling():
            self._traced = True

    def check(self) -> None:
        """Refuse a call that the view did not change, or would not change when repeated.

        Modules that an eager network bypasses, for instance at some noise levels, are valid; so are modules that are
        compiled themselves.

        Raises:
            DenoiserError: the modules are inside something compiled, or the network was not called at all.
        """
        if self._reached and not self._traced:
            return
        outer = next(filter(None, (_compiled_around(self._network, name) for name in self._names)), None)
        if outer is None and (self._entered or self._are_compiled_themselves()):
            return
        network = type(getattr(self._network, "_orig_mod", self._network)).__name__
        view = f"the view touches {', '.join(map(repr, self._names))} of {network}"
        advice = (
            "compile the named modules each by itself (network.x = torch.compile(network.x), or network.x.compile()), "
            "or wrap the network uncompiled (docs/adapters.md#torchcompile)"
        )
        if outer is None:
            raise DenoiserError(
                f"{view}, which was not called as a module, so the view changes nothing: if it is compiled inside a "
                f"function, {advice}; if a method is called instead of it, offer a view of your own"
            )
        raise DenoiserError(
            f"{view}, but {outer} is compiled around them, where hooks do not run, so the view changes nothing: "
            f"{advice}"
        )

    def _are_compiled_themselves(self) -> bool:
        """Whether the modules themselves may be compiled, with their hooks."""
        return self._traced and all(_is_compiled(self._network.get_submodule(name)) for name in self._names)


def _compiled_around(network: nn.Module, name: str) -> str | None:
    """The compiled part of the network on the path to the named module, exclusive; None if there is none."""
    module: Any = network
    passed: list[str] = []
    for part in name.split(".") if name else ():
        if _is_compiled(module):
            inner = type(getattr(module, "_orig_mod", module)).__name__
            return f"{inner} {'.'.join(passed)!r}" if passed else inner
        module = getattr(module, part)
        passed.append(part)
    return None


def _is_compiled(module: nn.Module) -> bool:
    """Whether a call runs a compiled graph: of the module, of its forward, or of another function that it holds."""
    return (
        hasattr(module, "_orig_mod")
        or getattr(module, "_compiled_call_impl", None) is not None
        or any(
            hasattr(value, "_torchdynamo_orig_callable")
            for value in (*vars(module).values(), *vars(type(module)).values())
        )
    )
