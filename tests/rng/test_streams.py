"""Random streams: the published generator, and draws that depend on what they should and on nothing else."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug.rng import SampleStreams, TrainingStreams, derived_seed, philox

laws = settings(deadline=None, max_examples=40, derandomize=True)
ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, words):
    given = tuple(np.array([word], dtype=np.uint64) for word in counter)
    assert tuple(int(word[0]) for word in philox(given, key)) == words


DRAWS = st.sampled_from([
    lambda streams: streams.normal((2,), "noise", 1),
    lambda streams: streams.normal((3, 5), "noise"),
    lambda streams: streams.uniform((), "label"),
    lambda streams: streams.uniform((7,), "label", 2),
    lambda streams: streams.integers(1000, "class"),
])  # fmt: skip
INDICES = st.integers(0, 40) | st.integers(2**32 - 2, 2**32 + 2) | st.integers(0, 2**62)


@laws
@given(st.lists(INDICES, min_size=1, max_size=6), st.integers(-5, 5), DRAWS)
def test_a_sample_alone_has_the_draws_it_has_in_any_batch(indices, seed, draw):
    whole = draw(SampleStreams(seed, indices))
    assert len(whole) == len(SampleStreams(seed, indices)) == len(indices)
    for row, index in enumerate(indices):
        assert torch.equal(draw(SampleStreams(seed, [index]))[0], whole[row])


@laws
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_fewer_numbers_are_the_first_of_more(count, more, step):
    streams = SampleStreams(0, range(4))
    for draw in (streams.normal, streams.uniform):
        assert torch.equal(draw((count,), "x", step), draw((count + more,), "x", step)[:, :count])
        assert torch.equal(draw((count, 2), "x", step).flatten(1), draw((2 * count,), "x", step))


def test_draws_are_repeatable_and_depend_on_every_part():
    def draw(seed=0, indices=range(64), purpose="noise", step=0):
        return SampleStreams(seed, indices).normal((8,), purpose, step)

    reference = draw()
    assert torch.equal(reference, draw())
    others = [draw(seed=1), draw(seed=-1), draw(purpose="churn"), draw(purpose=""), draw(step=1), draw(step=2**31)]
    others += [draw(indices=range(64, 128)), draw(indices=range(2**32, 2**32 + 64))]
    others += [reference.roll(1, 0), reference.flip(1)]
    for i, one in enumerate([reference, *others]):
        for other in others[i:]:
            assert not (one == other).any(dim=1).any()
            assert abs(correlation(one, other)) < 0.2


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1])


N = 200_000


def test_normal_draws_are_normal():
    draws = SampleStreams(3, range(N // 4)).normal((4,), "noise").double().flatten()
    assert draws.shape == (N,)
    for power, moment in [(1, 0), (2, 1), (3, 0), (4, 3), (6, 15)]:
        spread = math.sqrt(math.prod(range(1, 2 * power, 2)))  # of the power: sqrt(E z^2p)
        assert abs(float((draws**power).mean()) - moment) < 4.5 * spread / math.sqrt(N)
    levels = torch.special.ndtr(draws.sort().values)
    distance = (levels - (torch.arange(N) + 0.5) / N).abs().max()  # Kolmogorov and Smirnov's
    assert float(distance) * math.sqrt(N) < 1.95  # .1 % of true normal draws exceed it
    assert draws.isfinite().all()


def test_uniform_draws_are_uniform_and_open():
    draws = SampleStreams(3, range(N // 4)).uniform((4,), "label").flatten()
    assert draws.dtype == torch.float64
    distance = (draws.sort().values - (torch.arange(N) + 0.5) / N).abs().max()
    assert float(distance) * math.sqrt(N) < 1.95
    assert (draws * 2**32 % 1 == 0.5).all()  # the middles of 2^32 cells: never 0, never 1
    assert 0 < float(draws.min()) < 1e-4
    assert 1 - 1e-4 < float(draws.max()) < 1


@pytest.mark.parametrize("high", [1, 2, 7, 1000])
def test_integers_are_even_and_below_their_end(high):
    draws = SampleStreams(3, range(N // 2)).integers(high, "class")
    assert draws.dtype == torch.int64
    counts = draws.bincount(minlength=high).double()
    assert len(counts) == high
    expected = N / 2 / high
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < high - 1 + 5 * math.sqrt(2 * high)


def test_coordinates_purposes_steps_seeds_and_neighbours_are_uncorrelated():
    def draw(seed=0, purpose="noise", step=0, first=0):
        return SampleStreams(seed, range(first, first + N // 4)).normal((4,), purpose, step).double()

    reference = draw()
    bound = 4.5 / math.sqrt(N)
    for other in (draw(seed=1), draw(purpose="churn"), draw(step=1), draw(first=1), draw(first=N)):
        assert abs(correlation(reference, other)) < bound
        assert abs(correlation(reference**2, other**2)) < bound
    within = torch.corrcoef(reference.T) - torch.eye(4)
    assert float(within.abs().max()) < 2 * bound
    assert float((torch.corrcoef((reference**2).T) - torch.eye(4)).abs().max()) < 2 * bound


def test_draws_touch_no_global_generator():
    torch.manual_seed(0)
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - to see it
    SampleStreams(0, range(4)).normal((4,), "noise")
    torch.rand(3, generator=TrainingStreams(0, 0).generator("data"))
    assert torch.equal(before, torch.random.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # noqa: NPY002


class TestTraining:
    def draw(self, seed=0, step=0, rank=0, purpose="data"):
        return torch.randn(4096, generator=TrainingStreams(seed, step, rank).generator(purpose))

    def test_equal_parts_give_equal_draws_whatever_was_drawn_before(self):
        streams = TrainingStreams(0, 5)
        torch.rand(7, generator=streams.generator("noise"))
        assert torch.equal(torch.randn(4096, generator=streams.generator("data")), self.draw(step=5))

    def test_seeds_steps_ranks_and_purposes_are_independent(self):
        parts = [{}, {"seed": 1}, {"step": 1}, {"rank": 1}, {"purpose": "noise"}, {"seed": 1, "step": 1}, {"step": 11}]
        draws = torch.stack([self.draw(**part) for part in parts])
        assert float((torch.corrcoef(draws) - torch.eye(len(parts))).abs().max()) < 4.5 / 64
        for i, one in enumerate(draws):
            for other in draws[i + 1 :]:
                assert not (one == other).all()


@laws
@given(st.lists(st.integers(-9, 99) | st.text("ab1-", max_size=3), min_size=1, max_size=4), st.data())
def test_a_derived_seed_depends_on_each_part_and_its_place(parts, data):
    seed = derived_seed(*parts)
    assert 0 <= seed < 2**63
    assert seed == derived_seed(*parts)
    place = data.draw(st.integers(0, len(parts) - 1))
    other = data.draw(st.integers(100, 199))
    assert derived_seed(*parts[:place], other, *parts[place + 1 :]) != seed
    assert derived_seed(*parts, other) != seed
    if parts[::-1] != parts and list(map(str, parts[::-1])) != list(map(str, parts)):
        assert derived_seed(*parts[::-1]) != seed


def test_parts_of_a_derived_seed_do_not_run_together():
    assert len({derived_seed("ab", "c"), derived_seed("a", "bc"), derived_seed("abc"), derived_seed(1, 23)}) == 4
