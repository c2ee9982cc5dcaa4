"""Counts of network evaluations."""

import pytest
import torch

from guideplug.denoise import Count, Leaf, Space, tally
from guideplug.testing import GaussianDenoiser


def test_calls_and_outputs_are_counted_for_each_network():
    base, weak = GaussianDenoiser(0.1, conditioning="labels"), GaussianDenoiser(0.4, conditioning="labels")
    x, labels = torch.zeros(8, 2), torch.zeros(8, dtype=torch.int64)
    guided = base + (base - base.unconditional()) + (base - weak)
    with tally() as counts:
        assert counts.calls == 0
        for _ in range(3):
            guided(x, 1.0, labels)
    assert counts.counts == {base: Count(3, 48), weak: Count(3, 24)}
    assert counts.calls == 6


def test_a_network_that_was_never_called_counts_zero():
    with tally() as counts:
        pass
    assert counts[GaussianDenoiser()] == Count(0, 0)
    assert counts.counts == {}


def test_tallies_nest_and_each_sees_its_own_block():
    base = GaussianDenoiser()
    x = torch.zeros(2, 2)
    with tally() as outer:
        base(x, 1.0)
        with tally() as inner:
            base(x, 1.0)
        with tally() as second:
            pass
        base(x, 1.0)
    base(x, 1.0)
    assert (outer[base], inner[base], second[base]) == (Count(3, 6), Count(1, 2), Count(0, 0))


def test_a_tally_closes_when_its_block_fails():
    base = GaussianDenoiser()
    with pytest.raises(RuntimeError, match="interrupted"), tally() as counts:
        raise RuntimeError("interrupted")
    base(torch.zeros(2, 2), 1.0)
    assert counts.calls == 0


def test_a_call_that_fails_is_a_call():
    class Failing(Leaf):
        def denoise(self, x, sigma, condition):
            raise RuntimeError("out of memory")

    network = Failing(Space((2,)))
    with tally() as counts, pytest.raises(RuntimeError, match="out of memory"):
        network(torch.zeros(2, 2), 1.0)
    assert counts[network] == Count(1, 2)
