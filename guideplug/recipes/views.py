"""Views of another recipe's network as recipes: the same parameters, in memory once.

    without-layers(main, layers=["blocks.2"])      the layers return their input

A view costs no training and no copy: neither in memory, nor in the store, nor in a run's folder. What decides its
network decides it, so another main network is another view. Its calls are counted for its network.

Source of skipping layers: Stability AI's reference code of SD3.5 (skip-layer guidance, no paper).
Cost: a call of the network of its own; the skipped layers are still computed.
"""

import abc
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, final

from attrs import frozen
from attrs.validators import min_len
from torch import nn

from guideplug.config import option
from guideplug.denoise import Leaf, SharedView
from guideplug.denoise.skip import skip_layers
from guideplug.errors import RecipeError, nearest
from guideplug.recipe import Builder, Recipe

__all__ = ["LayersSkipped", "ViewRecipe", "WithoutLayers"]


class ViewRecipe(Recipe):
    """A recipe whose network is a view of another recipe's network. Final classes have an option ``of``."""

    stored = False
    free = True
    of: Recipe

    @abc.abstractmethod
    def view_of(self, network: Leaf) -> SharedView:
        """The view of a network.

        Raises:
            ValueError: the network has no such view.
        """

    @property
    def viewed(self) -> Recipe:
        """The recipe of the network."""
        return self.of

    def view(self, module: nn.Module) -> SharedView:
        """The view of the network's module.

        Raises:
            RecipeError: the module is no network.
        """
        if not isinstance(module, Leaf):
            raise RecipeError(f"the recipe {self.of.name!r} gives a {type(module).__name__}: only networks have views")
        return self.view_of(module)

    def build(self) -> SharedView:
        return self.view(self.of.build())

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Nothing to do but to share the other recipe's network."""
        assert isinstance(module, SharedView)
        network = builder.obtain(self.of)
        assert isinstance(network, Leaf)
        module.of = network
        return {"view": f"the network of {network.role!r} {module.written}"}


@final
class LayersSkipped(SharedView):
    """A network with layers that return their input.

    Args:
        of: the network.
        layers: the names of the submodules; their beginnings may be left out where the rest is unique.

    Raises:
        ValueError: there is no submodule of a name, or more than one.
    """

    def __init__(self, of: Leaf, layers: tuple[str, ...]) -> None:
        super().__init__(of)
        self.layers, self.written = layers, f"without {', '.join(layers)}"
        self._skipped = skip_layers(*(_submodule(of, name) for name in layers))
        self.inside()

    def inside(self) -> AbstractContextManager[object]:
        return self._skipped(self.of, range(len(self.layers)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayersSkipped) and self.of == other.of and self.layers == other.layers

    def __hash__(self) -> int:
        return hash((LayersSkipped, self.of, self.layers))


def _submodule(network: Leaf, name: str) -> str:
    """The whole name of a submodule of a denoiser, of which the beginning may be left out where the rest is unique."""
    names: list[str] = [one for one, _ in network.named_modules() if one]
    if name in names:
        return name
    ending = [one for one in names if one.endswith(f".{name}")]
    if len(ending) == 1:
        return ending[0]
    kind = type(network).__name__
    if ending:
        raise ValueError(f"a {kind} has {len(ending)} layers {name!r}: {', '.join(ending[:6])}: give a whole name")
    raise ValueError(
        f"a {kind} has no layer {name!r}{nearest(name, names)}; its layers are, for instance, {', '.join(names[:6])}"
    )


@final
@frozen(kw_only=True)
class WithoutLayers(ViewRecipe):
    """A recipe's network with layers that return their input; its memory is shared."""

    name = "without-layers"
    of: Recipe = option(help="the recipe of the network")
    layers: tuple[str, ...] = option(help="names of the layers, as blocks.2", validator=min_len(1))

    def view_of(self, network: Leaf) -> LayersSkipped:
        return LayersSkipped(network, self.layers)
