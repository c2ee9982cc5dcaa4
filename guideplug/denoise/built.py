"""What builds a module answers, checked: that it is one, and that it has weights."""

from torch import nn
from torch.nn.parameter import is_lazy

from guideplug.config import described
from guideplug.denoise.algebra import Leaf

__all__ = ["fault_of_leaf", "fault_of_module"]


def fault_of_module(module: object) -> str:
    """What is wrong with a built module, in words; empty where nothing is."""
    if isinstance(module, type) or not isinstance(module, nn.Module):
        return f"built {described(module)}: return an nn.Module"
    for name, weights in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(weights):
            return f"built {name} without weights: give every layer its size, no Lazy ones"
        if weights.is_meta:
            return f"built {name} on the meta device, without weights: build on the CPU"
    return ""


def fault_of_leaf(leaf: object, shape: tuple[int, ...]) -> str:
    """What is wrong with a built denoiser of samples of a shape, in words; empty where nothing is."""
    if isinstance(leaf, type) or not isinstance(leaf, Leaf):
        return f"built {described(leaf)}: return a guideplug.Leaf"
    if tuple(leaf.space.shape) != tuple(shape) and not leaf.fits(tuple(shape)):
        return f"built a denoiser of the space {tuple(leaf.space.shape)} for samples {tuple(shape)}: use domain.space"
    return fault_of_module(leaf)
