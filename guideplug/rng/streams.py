"""Counter-based streams: the same draws whatever the batch, the device or the number of processes.

Sampling has one stream per sample. Every draw it needs is a block of the counter-based generator Philox4x32-10 (Salmon,
Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"), keyed by (seed, purpose) and counted by
(sample index, step, block), computed on the CPU. Sample 17 is therefore the same in a batch of one as in a batch of
100,000, and drawing for a batch is a few vectorised operations.

Training derives one ordinary torch generator a purpose from (seed, purpose, step, rank), so that a run resumed at any
step draws what the undisturbed run drew.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SampleStreams", "TrainingStreams", "derived_seed", "philox"]

Words = NDArray[np.uint64]

_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10: four 32-bit words from four counter words and two key words, all held in 64-bit integers."""
    c0, c1, c2, c3 = counter
    for round_ in range(10):
        k0, k1 = ((word + round_ * step) & 0xFFFFFFFF for word, step in zip(key, _WEYL, strict=True))
        left, right = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1 = (right >> _HIGH) ^ c1 ^ np.uint64(k0), right & _LOW
        c2, c3 = (left >> _HIGH) ^ c3 ^ np.uint64(k1), left & _LOW
    return c0, c1, c2, c3


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and its place."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@frozen
class SampleStreams:
    """The random streams of some samples: each draw depends on (seed, sample index, purpose, step) alone.

    Args:
        seed: any integer.
        indices: the samples' numbers, for instance ``range(64, 128)``; non-negative.
        device: where draws are put; they are always made on the CPU.
    """

    seed: int
    indices: Sequence[int] | NDArray[np.int64]
    device: torch.device = field(default=torch.device("cpu"), converter=torch.device)

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device | str) -> Self:
        """The same streams, whose draws are put on another device."""
        return evolve(self, device=device)

    def _words(self, purpose: str, step: int, count: int) -> Words:
        """(len(self), at least ``count``) words of 32 random bits."""
        key = derived_seed("samples", self.seed, purpose) | (1 << 63)
        index = np.asarray(self.indices, dtype=np.uint64)[:, None]
        block = np.arange(-(-count // 4), dtype=np.uint64)[None, :]
        zero = np.zeros_like(index)
        counter = (index & _LOW) + np.zeros_like(block), index >> _HIGH, zero + np.uint64(step), zero + block
        words = philox(counter, (key & 0xFFFFFFFF, key >> 32))
        return np.stack(words, axis=-1).reshape(len(index), -1)

    def uniform(self, shape: Sequence[int], purpose: str, step: int = 0) -> Tensor:
        """Uniform draws in (0, 1), float64, (B, *shape)."""
        count = math.prod(shape)
        words = self._words(purpose, step, count)[:, :count]
        return self._placed((words + 0.5) * 2.0**-32, shape, torch.float64)

    def normal(self, shape: Sequence[int], purpose: str, step: int = 0) -> Tensor:
        """Standard normal draws by Box and Muller's transform, float32, (B, *shape)."""
        count = math.prod(shape)
        uniform = (self._words(purpose, step, count + count % 2) + 0.5) * 2.0**-32
        radius = np.sqrt(-2.0 * np.log(uniform[:, 0::2]))
        angle = (2.0 * np.pi) * uniform[:, 1::2]
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(len(uniform), -1)
        return self._placed(pairs[:, :count], shape, torch.float32)

    def integers(self, high: int, purpose: str, step: int = 0) -> Tensor:
        """Integers in [0, high), int64, (B,)."""
        return (self.uniform((), purpose, step) * high).to(torch.int64).clamp_(max=high - 1)

    def _placed(self, values: NDArray[np.floating[Any]], shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(values.reshape(len(values), *shape)).to(dtype).to(self.device)


@frozen
class TrainingStreams:
    """The random generators of one training step, each derived from (seed, purpose, step, rank).

    Args:
        seed: the training's seed.
        step: the optimiser step.
        rank: which of several processes draws.
        device: where the draws are made: a generator per device kind, so the draws differ between kinds.
        noise_for: whose noise levels and noise; empty for those that are trained on. For another name, such as
            "reference", the same data are drawn under other noise: "noise level" and "noise" alone become others.
    """

    seed: int
    step: int
    rank: int = 0
    device: torch.device = field(default=torch.device("cpu"), converter=torch.device)
    noise_for: str = ""

    def generator(self, purpose: str, device: torch.device | str | None = None) -> torch.Generator:
        """A fresh generator for ``purpose``, such as "data", "noise" or "selection"."""
        if self.noise_for and purpose in ("noise", "noise level"):
            purpose = f"{purpose} for {self.noise_for}"
        generator = torch.Generator(self.device if device is None else device)
        generator.manual_seed(derived_seed("training", self.seed, purpose, self.step, self.rank))
        return generator
