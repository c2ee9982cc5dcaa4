"""EDM2's random streams: a generator per sample, replayed in order.

Sample k has a `torch.Generator` on the CPU, seeded with (seed + k) mod 2^32. It is drawn from in one order:

    "start noise"     randn of the sample's shape
    "start label"     randint(classes), where there are classes
    "churn"           randn of the sample's shape, for each step that adds noise, in the order of the steps

So a draw depends on those before it, and the streams keep a record of these. What was drawn may be drawn again, from
the start noise or from the first churn on: a second trajectory of the same samples gets the same numbers. Any other
order is refused.

Source: the released code of T. Karras, M. Aittala, J. Lehtinen, J. Hellsten, T. Aila and S. Laine 2024, "Analyzing and
improving the training dynamics of diffusion models", arXiv:2312.02696; EDM's (arXiv:2206.00364) draws in the same
order.
Cost: a generator per sample, 5 KB, and one draw per sample and purpose.
"""

from collections.abc import Sequence
from typing import Self, final

import numpy as np
import torch
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from torch import Tensor

from guideplug.errors import ConfigError

__all__ = ["ReplayedStreams"]

START_NOISE, START_LABEL, CHURN = "start noise", "start label", "churn"
ORDER = {START_NOISE: 0, START_LABEL: 1, CHURN: 2}
LARGEST_SEED = 1 << 32


@frozen
class _Request:
    """A draw: what for, at which step, and of which shape, or of integers below ``high``."""

    purpose: str
    step: int
    shape: tuple[int, ...] = ()
    high: int | None = None

    @property
    def place(self) -> tuple[int, int]:
        """Its place in the order of draws."""
        return ORDER[self.purpose], self.step

    def draw(self, generator: torch.Generator) -> Tensor:
        if self.high is None:
            return torch.randn(self.shape, generator=generator)
        return torch.randint(self.high, (), generator=generator)

    def __str__(self) -> str:
        return f"{self.purpose!r} of step {self.step}" if self.purpose == CHURN else repr(self.purpose)


@final
class _Replay:
    """The generators of some samples, with the record of what was drawn from them."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = seeds
        self._generators: list[torch.Generator] = []
        self._record: list[_Request] = []
        self._next = 0
        """The place in the record at which the generators stand."""

    def draw(self, request: _Request) -> Tensor:
        """The draws of each sample, (B, *shape).

        Raises:
            ConfigError: it is not this draw's turn.
        """
        if self._next < len(self._record) and self._record[self._next] == request:
            return self._drawn(request)
        if self._next == len(self._record) and self._may_follow(request):
            self._record.append(request)
            return self._drawn(request)
        first = next((place for place, one in enumerate(self._record) if one.purpose == request.purpose), None)
        if request.purpose == START_LABEL or first is None or self._record[first] != request:
            raise ConfigError(self._refusal(request))
        self._next = 0
        for earlier in self._record[:first]:
            self._drawn(earlier)
        return self._drawn(request)

    def _may_follow(self, request: _Request) -> bool:
        """Whether a new request comes after those of the record."""
        if not self._record:
            return request.purpose == START_NOISE
        return request.place > self._record[-1].place

    def _drawn(self, request: _Request) -> Tensor:
        if self._next == 0:
            self._generators = [torch.Generator().manual_seed(seed) for seed in self._seeds]
        self._next += 1
        return torch.stack([request.draw(generator) for generator in self._generators])

    def _refusal(self, request: _Request) -> str:
        before = f"comes after {self._record[self._next - 1]}" if self._next else "comes before any 'start noise'"
        return (
            f"streams edm2: the draw of {request} {before}, and they give {START_NOISE!r}, {START_LABEL!r} and "
            f"{CHURN!r} by rising steps, in this order alone: make new streams for another trajectory, or take the "
            "streams 'counter', which give any draw at any time"
        )


@final
@frozen
class ReplayedStreams:
    """The random streams of EDM2: sample k draws from a generator of its own, seeded with seed + k, in a fixed order.

    Draws are made on the CPU. A sample's are the same alone as in any batch.

    Args:
        seed: any integer. With 0, the samples' numbers are EDM2's ``--seeds``.
        indices: the samples' numbers, for instance ``range(64, 128)``.
        device: where draws are put.
    """

    seed: int
    indices: Sequence[int] | NDArray[np.int64]
    device: torch.device = field(default=torch.device("cpu"), converter=torch.device)
    _replay: _Replay = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        seeds = [(self.seed + int(index)) % LARGEST_SEED for index in self.indices]
        object.__setattr__(self, "_replay", _Replay(seeds))

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device | str) -> Self:
        """The same streams, at the same place in their order, whose draws are put on another device."""
        moved = evolve(self, device=device)
        object.__setattr__(moved, "_replay", self._replay)
        return moved

    def normal(self, shape: Sequence[int], purpose: str, step: int = 0) -> Tensor:
        """Standard normal draws for "start noise" and "churn", float32, (B, *shape).

        Raises:
            ConfigError: another purpose, or out of order.
        """
        self._check(purpose, (START_NOISE, CHURN))
        return self._replay.draw(_Request(purpose, step, tuple(shape))).to(self.device)

    def integers(self, high: int, purpose: str, step: int = 0) -> Tensor:
        """Integers in [0, high) for "start label", int64, (B,).

        Raises:
            ConfigError: another purpose, or out of order.
        """
        self._check(purpose, (START_LABEL,))
        return self._replay.draw(_Request(purpose, step, high=high)).to(self.device)

    def uniform(self, shape: Sequence[int], purpose: str, step: int = 0) -> Tensor:
        """Refused: EDM2 draws no uniform numbers.

        Raises:
            ConfigError: always.
        """
        self._check(purpose, ())
        raise AssertionError  # unreachable

    @staticmethod
    def _check(purpose: str, known: Sequence[str]) -> None:
        if purpose not in known:
            raise ConfigError(
                f"streams edm2 do not draw {purpose!r} in this way: they give normal {START_NOISE!r} and {CHURN!r}, "
                f"and whole numbers for {START_LABEL!r}: take the streams 'counter', or a task that starts from noise"
            )
