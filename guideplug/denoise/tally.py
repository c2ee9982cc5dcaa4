"""Counts of network evaluations.

A *call* is one forward pass of a network, an *output* one denoised sample of it: classifier-free guidance on a batch of
8 is one call and 16 outputs. Every leaf reports to all open tallies, so that every evaluation is counted. A *gradient*
is a backward pass through one call, for guidance that needs it; it costs about as much as two calls.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from attrs import define

from guideplug.denoise.node import NetworkNode

__all__ = ["Count", "Tally", "record", "record_gradient", "tally"]


@define
class Count:
    """Calls of a network, outputs in total, and gradients through its calls."""

    calls: int = 0
    outputs: int = 0
    gradients: int = 0


class Tally:
    """Counts per network. ``counts[network]`` is zero for a network without calls."""

    def __init__(self) -> None:
        self.counts: dict[NetworkNode, Count] = {}

    def __getitem__(self, network: NetworkNode) -> Count:
        return self.counts.get(network, Count())

    @property
    def calls(self) -> int:
        """Calls of all networks together."""
        return sum(count.calls for count in self.counts.values())


_open: ContextVar[tuple[Tally, ...]] = ContextVar("open tallies", default=())


@contextmanager
def tally() -> Iterator[Tally]:
    """Count the network evaluations inside the block; tallies nest, and each counts its whole block."""
    counts = Tally()
    token = _open.set((*_open.get(), counts))
    try:
        yield counts
    finally:
        _open.reset(token)


def record(network: NetworkNode, outputs: int) -> None:
    """Count one call of ``network`` for ``outputs`` samples; called by every leaf before it is evaluated."""
    for counts in _open.get():
        count = counts.counts.setdefault(network, Count())
        count.calls += 1
        count.outputs += outputs


def record_gradient(network: NetworkNode) -> None:
    """Count one gradient through a call of ``network``."""
    for counts in _open.get():
        counts.counts.setdefault(network, Count()).gradients += 1
