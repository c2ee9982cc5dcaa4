"""Which sample a row is, for networks that draw: a key that does not depend on the batch.

A denoiser is asked for x and does not know which samples those are. Along a trajectory a sample is known by where it
began: the bits of its first x, which are the same in every batch, for a sample's noise is. (Later ones agree to
rounding only, and a hash of them would make other draws.) Draws are then a function of (seed, key, evaluation, place):
the counter-based generator SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"),

    u_j = mix(state + j g),   g = 0x9E3779B97F4A7C15

in the integer arithmetic of the device, so that nothing waits for it. An evaluation that is no part of a trajectory is
its own beginning, so that equal questions get equal answers.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

__all__ = ["KeyedRandom", "SampleKeys", "asked_samples", "asking"]

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _mixed(state: Tensor) -> Tensor:
    """SplitMix64's finaliser, on int64 tensors read as unsigned."""
    for shift, factor in _MIX:
        state = (state ^ ((state >> shift) & ((1 << (64 - shift)) - 1))) * _signed(factor)
    return state ^ ((state >> 31) & ((1 << 33) - 1))


class SampleKeys:
    """The samples of an evaluation: where each began, and how many evaluations of its trajectory were before."""

    def __init__(self, start: Tensor, evaluation: int = 0) -> None:
        self._start, self.evaluation = start, evaluation
        self._keys: Tensor | None = None

    def later(self) -> "SampleKeys":
        """The same samples at the next evaluation."""
        later = SampleKeys(self._start, self.evaluation + 1)
        later._keys = self._keys
        return later

    def __len__(self) -> int:
        return len(self._start)

    def keys(self, rows: int) -> Tensor:
        """A key for each of ``rows`` rows, int64: whole batches of the samples, one after another."""
        if self._keys is None:
            bits = self._start.detach().reshape(len(self._start), -1).to(torch.float32).contiguous().view(torch.int32)
            place = _mixed(torch.arange(1, bits.shape[1] + 1, device=bits.device) * _signed(_GOLDEN)) | 1
            self._keys = _mixed((bits.to(torch.int64) * place).sum(1))
        return self._keys if rows == len(self._keys) else self._keys.repeat(-(-rows // len(self._keys)))[:rows]


class KeyedRandom:
    """Random draws for rows, each decided by (seed, the row's sample, the evaluation, place) alone."""

    def __init__(self, samples: SampleKeys, rows: int, seed: int) -> None:
        self._state = _mixed(samples.keys(rows) + _signed((seed + 1) * _GOLDEN) + samples.evaluation)

    def _bits(self, count: int, place: int) -> Tensor:
        """(rows, count) int64 of 64 random bits."""
        state = _mixed(self._state + _signed((place + 1) * _GOLDEN))[:, None]
        steps = torch.arange(1, count + 1, device=state.device) * _signed(_GOLDEN)
        return _mixed(state + steps)

    def uniform(self, shape: Sequence[int], place: int = 0) -> Tensor:
        """Uniform draws in (0, 1), float32, (rows, *shape); ``place`` tells those of one evaluation apart."""
        top = (self._bits(math.prod(shape), place) >> 40) & 0xFFFFFF
        return ((top.to(torch.float32) + 0.5) * 2.0**-24).reshape(-1, *shape)

    def normal(self, shape: Sequence[int], place: int = 0) -> Tensor:
        """Standard normal draws by Box and Muller's transform, float32, (rows, *shape)."""
        count = math.prod(shape)
        bits = self._bits(-(-count // 2), place)
        radius = (((bits >> 40) & 0xFFFFFF).to(torch.float32).add_(0.5).mul_(2.0**-24).log_().mul_(-2.0)).sqrt_()
        angle = ((bits >> 16) & 0xFFFFFF).to(torch.float32).mul_(math.pi * 2.0**-23)
        pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
        return pairs[:, :count].reshape(-1, *shape)


_asked: ContextVar[SampleKeys | None] = ContextVar("the samples that are asked for", default=None)


@contextmanager
def asking(samples: SampleKeys) -> Iterator[None]:
    """Inside, networks are asked for these samples."""
    token = _asked.set(samples)
    try:
        yield
    finally:
        _asked.reset(token)


def asked_samples(x: Tensor) -> SampleKeys:
    """The samples that a network is asked for; each row of x is its own by default."""
    known = _asked.get()
    return known if known is not None and len(x) % len(known) == 0 else SampleKeys(x)
