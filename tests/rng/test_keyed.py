"""Draws of a network: SplitMix64, a stream a sample whatever the batch, fresh at each evaluation."""

import pytest
import torch

from guideplug.rng.keyed import _GOLDEN, KeyedRandom, SampleKeys, _mixed, _signed, asked_samples, asking

START = torch.randn(12, 3, 2, generator=torch.Generator().manual_seed(0))


def test_the_generator_is_splitmix64():
    """The first words from state 0, as published with the reference code."""
    words = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    found = _mixed(torch.arange(1, 4) * _signed(_GOLDEN))
    assert [number & ((1 << 64) - 1) for number in found.tolist()] == words


def test_a_sample_has_its_key_in_every_batch():
    keys = SampleKeys(START).keys(12)
    assert len(set(keys.tolist())) == 12
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(SampleKeys(START[order]).keys(12), keys[order])
    assert torch.equal(SampleKeys(START[3:5]).keys(2), keys[3:5])
    assert torch.equal(SampleKeys(START).keys(24), torch.cat([keys, keys]))
    assert torch.equal(SampleKeys(START.double()).keys(12), keys)


def test_draws_are_the_rows_own_and_fresh():
    samples = SampleKeys(START)
    draws = KeyedRandom(samples, 12, 7)
    whole = draws.normal((5,))
    assert torch.equal(KeyedRandom(SampleKeys(START[4:6]), 2, 7).normal((5,)), whole[4:6])
    assert torch.equal(KeyedRandom(samples, 12, 7).normal((5,)), whole)
    others = [
        KeyedRandom(samples.later(), 12, 7).normal((5,)),
        KeyedRandom(samples, 12, 8).normal((5,)),
        draws.normal((5,), place=1),
    ]
    for other in others:
        assert (other - whole).abs().min() > 1e-6


@pytest.mark.parametrize("shape", [(1001,), (2, 500)])
def test_draws_have_their_distributions(shape):
    draws = KeyedRandom(SampleKeys(torch.randn(200, 2, generator=torch.Generator().manual_seed(2))), 200, 0)
    uniform, normal = draws.uniform(shape).double(), draws.normal(shape, place=1).double()
    assert uniform.shape == normal.shape == (200, *shape)
    assert 0 < uniform.min() < uniform.max() < 1
    count = uniform.numel()
    assert abs(uniform.mean() - 0.5) < 4 / (12 * count) ** 0.5
    assert abs(normal.mean()) < 4 / count**0.5
    assert abs(normal.var() - 1) < 4 * (2 / count) ** 0.5
    assert abs((normal**4).mean() - 3) < 4 * (96 / count) ** 0.5
    rows = normal.reshape(200, -1)
    correlation = torch.corrcoef(rows)[torch.triu(torch.ones(200, 200, dtype=torch.bool), 1)]
    assert correlation.abs().max() < 6 / rows.shape[1] ** 0.5
    halves = torch.corrcoef(torch.stack([normal.reshape(200, -1)[:, :250].flatten(), rows[:, 250:500].flatten()]))
    assert abs(halves[0, 1]) < 4 / 50000**0.5


def test_who_is_asked_for_is_known_inside_only():
    x = torch.zeros(24, 2)
    samples = SampleKeys(START)
    with asking(samples):
        assert asked_samples(x) is samples
        assert asked_samples(x[:7]) is not samples  # no whole batches of them
    assert asked_samples(x) is not samples
