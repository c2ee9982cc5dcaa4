"""A network without its LoRA layers: a view that shares its memory.

A LoRA layer adds a product of two small matrices to a frozen one, W' = W + s B A. Without it the network is the one
that was fine-tuned, which is a weaker version of the fine-tuned one for what that was tuned to.

    without-lora(main)     every LoRA layer, and every other adapter of PEFT, is off during the view's calls

Source: E. Hu, Y. Shen, P. Wallis, Z. Allen-Zhu, Y. Li, S. Wang, L. Wang and W. Chen 2021, "LoRA: Low-rank adaptation of
large language models", arXiv:2106.09685.
Cost: a call of the network of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, final

from attrs import frozen
from torch import nn

from guideplug import Leaf, Recipe, SharedView, Source, ViewRecipe, hook, option, strategy

__all__ = ["LoraOff", "WithoutLora"]


def adapters_of(network: nn.Module) -> list[Any]:
    """The modules of PEFT in a network that can be switched off.

    Raises:
        ValueError: PEFT is not installed.
    """
    for line in WithoutLora.missing_libraries():
        raise ValueError(f"{WithoutLora.name} {line}")
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    return [module for module in network.modules() if isinstance(module, BaseTunerLayer | ModulesToSaveWrapper)]


@final
class LoraOff(SharedView):
    """A network whose adapters are off during the view's calls.

    Args:
        of: the network.

    Raises:
        ValueError: it has no adapters, or they are merged into its weights.
    """

    def __init__(self, of: Leaf) -> None:
        super().__init__(of)
        self.written = "without LoRA"
        adapters = adapters_of(of)
        if not adapters:
            raise ValueError(
                f"a {type(of).__name__} has no LoRA layers: give a network with adapters of PEFT, not merged ones"
            )
        if any(getattr(adapter, "merged", False) for adapter in adapters):
            raise ValueError(
                f"the LoRA layers of a {type(of).__name__} are merged into its weights: unmerge them first"
            )

    def inside(self) -> AbstractContextManager[object]:
        return _off(adapters_of(self.of))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoraOff) and self.of == other.of

    def __hash__(self) -> int:
        return hash((LoraOff, self.of))


@contextmanager
def _off(adapters: list[Any]) -> Iterator[None]:
    """A context in which adapters are off; those that were off before stay so, and what is trained stays the same."""
    on = [adapter for adapter in adapters if not adapter.disable_adapters]
    trained = [(parameter, parameter.requires_grad) for adapter in on for parameter in adapter.parameters()]
    try:
        for adapter in on:
            adapter.enable_adapters(False)
        yield
    finally:
        for adapter in on:
            adapter.enable_adapters(True)
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)


@final
@frozen(kw_only=True)
class WithoutLora(ViewRecipe):
    """A recipe's network without its LoRA layers, or other adapters of PEFT; its memory is shared."""

    name = "without-lora"
    libraries: ClassVar[Mapping[str, str]] = {"peft": "guideplug-lora[peft]"}
    source = Source(
        "E. Hu, Y. Shen, P. Wallis, Z. Allen-Zhu, Y. Li, S. Wang, L. Wang, W. Chen",
        2021,
        "LoRA: Low-Rank Adaptation of Large Language Models",
        "https://arxiv.org/abs/2106.09685",
    )
    of: Recipe = option(help="the recipe of the network with LoRA layers")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """A network of two layers, the first with an adapter."""
        return {"of": strategy("python('guideplug_lora.adapted:adapted', task=default)", Recipe)}

    def view_of(self, network: Leaf) -> LoraOff:
        return LoraOff(network)


@hook
def guideplug_recipes() -> list[type[Recipe]]:
    return [WithoutLora]
