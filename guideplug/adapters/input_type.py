"""The floating-point type of a module's inputs.

A module's ``dtype`` is it, where it has one, as diffusers' and transformers' do: some of a network's parameters are
kept in float32 beside those in bfloat16, and a network that stores its weights in 8 bits computes in another type.
Else it is the type of most of the module's weights.
"""

from collections import Counter

import torch
from torch import nn

__all__ = ["input_type"]


def input_type(network: nn.Module, otherwise: torch.dtype) -> torch.dtype:
    """The type in which a module takes floating-point inputs; ``otherwise`` for one without weights of such a type.

    A module without ``dtype`` that holds a single other one, such as a function of a network around it, is as that one.
    """
    module = network
    while not _computes(own := getattr(module, "dtype", None)):
        inner = list(module.children())
        if len(inner) != 1:
            return _of_most_weights(network, otherwise)
        module = inner[0]
    assert isinstance(own, torch.dtype)
    return own


def _computes(dtype: object) -> bool:
    """Whether a value is a floating-point type of more than 8 bits; those of 8 bits are for storage alone."""
    return isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize > 1


def _of_most_weights(network: nn.Module, otherwise: torch.dtype) -> torch.dtype:
    sizes: Counter[torch.dtype] = Counter()
    for parameter in network.parameters():
        if _computes(parameter.dtype):
            sizes[parameter.dtype] += parameter.numel()
    return max(sizes, key=sizes.__getitem__, default=otherwise)
