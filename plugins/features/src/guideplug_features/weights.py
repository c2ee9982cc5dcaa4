"""A network of a library with weights from a file, ready for inference."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from guideplug import fill_module

__all__ = ["filled"]

COUNTERS = ".num_batches_tracked"
"""Buffers of batch norm that inference does not read, and that old files lack."""


def filled(make: Callable[[], nn.Module], tensors: dict[str, Tensor], path: str, device: torch.device) -> nn.Module:
    """A new network with these weights, on a device, without gradients; the global generator is left as it is.

    Raises:
        CheckpointError: names or shapes differ.
    """
    with torch.random.fork_rng(devices=[]):  # libraries draw initial weights
        network = make()
    own = network.state_dict()
    counters = {name: own[name] for name in own if name.endswith(COUNTERS)}
    fill_module(network, {**counters, **tensors}, path)
    return network.to(device).eval().requires_grad_(False)
