"""JEST's draws: the B x B matrix form and naive sampling without replacement are the oracles of the O(B) form."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guideplug import Losses
from guideplug_jest import JEST, Chunk, chunk_shares, draw_chunks, importance_of, indices_of

torch.set_num_threads(1)


def losses(learner: np.ndarray | torch.Tensor, reference: np.ndarray | torch.Tensor) -> Losses:
    return Losses(len(learner), torch.as_tensor(learner), torch.as_tensor(reference))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The matrix form: S_ij = L_i - R_j, and the logits of a chunk given the taken k are S_ii + sum_k (S_ik + S_ki).


def matrix_logits(learner: np.ndarray, reference: np.ndarray, taken: np.ndarray, normalize: bool) -> np.ndarray:
    scores = learner[:, None] - reference[None, :]
    joint = np.diag(scores) + scores[:, taken].sum(1) + scores[taken, :].sum(0)
    return joint / (2 * len(taken) + 1) if normalize else joint


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.booleans(), st.integers(1, 6), st.integers(1, 5))
def test_every_chunk_has_the_logits_of_the_matrix_form(seed: int, normalize: bool, chunks: int, size: int) -> None:
    random = np.random.default_rng(seed)
    count = 2 * chunks * size
    learner, reference = random.exponential(1.0, (2, count))
    jest = JEST(filter_ratio=0.5, num_chunks=chunks, normalize=normalize)
    selection, _ = jest.select(losses(learner, reference), {}, generator(seed))
    assert len(selection.indices) == chunks * size
    scores = jest.scores(losses(learner, reference))
    for chunk in range(1, chunks):
        taken = selection.indices[: chunk * size].numpy()
        difference = jest.chunk_gain(len(taken)) * scores - matrix_logits(learner, reference, taken, normalize)
        assert np.ptp(difference) < 1e-12 * max(1, len(taken))


def test_the_probabilities_of_a_selection_are_those_of_its_last_chunk() -> None:
    learner, reference = np.random.default_rng(3).exponential(1.0, (2, 40))
    selection, _ = JEST(filter_ratio=0.5, num_chunks=4).select(losses(learner, reference), {}, generator())
    logits = matrix_logits(learner, reference, selection.indices[:15].numpy(), True)
    expected = np.exp(logits - logits.max())
    assert selection.probabilities is not None
    np.testing.assert_allclose(selection.probabilities.numpy(), expected / expected.sum(), rtol=1e-12)
    assert float(selection.probabilities.sum()) == pytest.approx(1, abs=1e-12)


def test_the_effective_sample_size_is_one_over_the_sum_of_squares() -> None:
    count = 10
    learner = torch.zeros(count, dtype=torch.float64)
    learner[3] = math.log(4.0)  # after 5 of 6 taken the gain is 6 / 11
    selection, _ = JEST(filter_ratio=0.4, num_chunks=6).select(
        Losses(count, learner, torch.zeros(count)), {}, generator()
    )
    weight = 4.0 ** (6 / 11)
    total = 9 + weight
    expected = 1 / (count * (9 * (1 / total) ** 2 + (weight / total) ** 2))
    assert selection.effective_sample_size == pytest.approx(expected, rel=1e-9)
    assert expected < 0.96


# The draw: frequencies against exact probabilities of sampling without replacement, one after the other.


def sequential_probability(order: tuple[int, ...], logits: np.ndarray, left: list[int]) -> float:
    """The probability that sampling without replacement from softmax(logits) over ``left`` gives ``order``."""
    left, probability = list(left), 1.0
    for item in order:
        weights = np.exp(logits[left])
        probability *= float(np.exp(logits[item]) / weights.sum())
        left.remove(item)
    return probability


def subset_probability(subset: frozenset[int], logits: np.ndarray, left: list[int]) -> float:
    return sum(sequential_probability(order, logits, left) for order in itertools.permutations(sorted(subset)))


SCORES = np.array([0.0, 0.4, -0.7, 1.1, 0.2])


GAINS = [0.0, 1.7, 0.3]


DRAWS = 12_000


def subset(indices: np.ndarray) -> frozenset[int]:
    return frozenset(int(i) for i in indices)


def drawn(gains: list[float], size: int, scores: np.ndarray = SCORES) -> list[tuple[frozenset[int], ...]]:
    """Chunks of many draws, as sets."""
    clocks = np.random.default_rng(17).standard_exponential((DRAWS, len(scores)))
    found = []
    for row in clocks:
        indices = indices_of(draw_chunks(scores, gains, size, row))
        found.append(tuple(subset(indices[i : i + size]) for i in range(0, len(indices), size)))
    return found


def p_value(observed: Counter, expected: dict) -> float:
    assert set(observed) <= set(expected)
    assert sum(expected.values()) == pytest.approx(1, abs=1e-9)
    keys = list(expected)
    return float(stats.chisquare([observed[k] for k in keys], [expected[k] * observed.total() for k in keys]).pvalue)


def chunks_expected(gains: list[float], size: int) -> dict[tuple[frozenset[int], ...], float]:
    """The exact probability of every sequence of chunks."""
    found: dict[tuple[frozenset[int], ...], float] = {(): 1.0}
    for gain in gains:
        further = {}
        for before, probability in found.items():
            left = [i for i in range(len(SCORES)) if not any(i in chunk for chunk in before)]
            for chosen in itertools.combinations(left, size):
                chunk = frozenset(chosen)
                further[(*before, chunk)] = probability * subset_probability(chunk, gain * SCORES, left)
        found = further
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("gains", "size"), [(GAINS, 1), (GAINS[:2], 2), ([1.3], 3), ([0.0, 3.0], 2), ([2.0, -1.0], 2)])
def test_chunks_are_sequential_draws_without_replacement(gains: list[float], size: int) -> None:
    """The joint distribution of all chunks: also after clocks were carried over to another gain."""
    assert p_value(Counter(drawn(gains, size)), chunks_expected(gains, size)) > 1e-3


def test_the_check_above_would_notice_another_gain() -> None:
    assert p_value(Counter(drawn([0.0, 1.7], 2)), chunks_expected([0.0, 1.4], 2)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("normalize", [True, False])
def test_inclusion_agrees_with_gumbel_top_k_of_the_matrix_form(normalize: bool) -> None:
    """The whole selector against the paper's loop: uniform chunk, then Gumbel top-k of the matrix form's logits."""
    random = np.random.default_rng(5)
    learner, reference = random.normal(0, 0.6, (2, 8))
    jest = JEST(filter_ratio=0.25, num_chunks=3, normalize=normalize)
    ours, naive = np.zeros((2, 3, 8))
    rounds, source = 3000, generator(1)
    for _ in range(rounds):
        selection, _ = jest.select(losses(learner, reference), {}, source)
        taken = np.empty(0, dtype=int)
        for chunk in range(3):
            ours[chunk, selection.indices[2 * chunk : 2 * chunk + 2].numpy()] += 1
            logits = matrix_logits(learner, reference, taken, normalize) if chunk else np.zeros(8)
            logits[taken] = -np.inf
            new = np.argsort(logits + random.gumbel(size=8))[-2:]
            naive[chunk, new] += 1
            taken = np.concatenate([taken, new])
    for chunk in range(3):
        assert stats.chi2_contingency(np.stack([ours[chunk], naive[chunk]])).pvalue > 1e-3
    assert stats.chisquare(ours[0]).pvalue > 1e-3  # the first chunk is uniform


def test_equal_losses_are_chosen_uniformly() -> None:
    jest, source = JEST(filter_ratio=0.75, num_chunks=2), generator(2)
    counts = np.zeros(16)
    for _ in range(2000):
        selection, _ = jest.select(losses(torch.full((16,), 3.0), torch.full((16,), 5.0)), {}, source)
        counts[selection.indices.numpy()] += 1
    assert stats.chisquare(counts).pvalue > 1e-3
    assert selection.effective_sample_size == pytest.approx(1.0, abs=1e-12)


def test_the_first_chunk_may_be_scored_too() -> None:
    """A chunk of one from softmax(gain * score), where the papers' first chunk is uniform."""
    assert JEST(first="scored", num_chunks=4, gain=1.5).gains(40) == [1.5, 1.5 * (3 / 5), 1.5 * (5 / 9), 1.5 * (7 / 13)]
    assert JEST(num_chunks=4, gain=1.5).gains(40) == [0.0, 1.5 * (3 / 5), 1.5 * (5 / 9), 1.5 * (7 / 13)]
    jest, source = JEST(filter_ratio=0.8, num_chunks=1, first="scored", gain=0.7), generator(6)
    learner = torch.tensor([0.0, 1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    counts = np.zeros(5)
    for _ in range(4000):
        selection, _ = jest.select(losses(learner, torch.zeros(5)), {}, source)
        counts[selection.indices.numpy()] += 1
    expected = torch.softmax(0.7 * learner, 0).numpy()
    assert stats.chisquare(counts, 4000 * expected).pvalue > 1e-3
    assert selection.probabilities is not None
    np.testing.assert_allclose(selection.probabilities.numpy(), expected, rtol=1e-12)


# Importance: the mean over all candidates, without bias


FEATURES = np.random.default_rng(23).normal(1.0, 2.0, (3, 12))


def weighted(scores: np.ndarray, gains: list[float], size: int, clocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The indices drawn, and the factors by which they estimate the mean over all."""
    factors = importance_of(draw_chunks(scores, gains, size, clocks), scores, chunk_shares(scores, size, gains))
    return indices_of(draw_chunks(scores, gains, size, clocks)), factors


def estimates(scores: np.ndarray, gains: list[float], size: int, features: np.ndarray, draws: int) -> np.ndarray:
    """Estimates (draws, features) of the means of ``features`` (features, B) over all candidates."""
    clocks = np.random.default_rng(29).standard_exponential((draws, len(scores)))
    chosen = [weighted(scores, gains, size, row) for row in clocks]
    indices, factors = (np.stack([pair[which] for pair in chosen]) for which in (0, 1))
    return np.einsum("db,fdb->df", factors, features[:, indices]) / indices.shape[1]


MANY = [([0.0, 2.0, 3.0], 3), ([1.0, 1.5], 4), ([2.0, 2.0], 1)]


@pytest.mark.proof
@pytest.mark.parametrize(
    ("gains", "size"),
    [([0.0, 1.5, 0.7], 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in MANY), ([1.0], 5)],
)
def test_importance_estimates_the_mean_over_all_candidates_without_bias(gains: list[float], size: int) -> None:
    scores = np.random.default_rng(31).normal(0.0, 1.0, 12)
    features = np.concatenate([FEATURES, [np.ones(12), scores, np.exp(scores)]])
    found = estimates(scores, gains, size, features, 20_000)
    deviation = (found.mean(0) - features.mean(1)) / (found.std(0) / math.sqrt(len(found)) + 1e-9)
    assert np.abs(deviation).max() < 4


@pytest.mark.parametrize("size", [1, 30])
def test_importance_does_not_depend_on_where_a_partition_puts_the_others(size: int) -> None:
    """Those taken before are among them, and never the one that would have been next."""
    scores = np.random.default_rng(41).normal(0.0, 1.0, 300)
    clocks = np.random.default_rng(42).standard_exponential(300)
    gains = [0.0, *[1.5] * 7]
    shares = chunk_shares(scores, size, gains)

    def shuffled() -> Iterator[Chunk]:
        for number, chunk in enumerate(draw_chunks(scores, gains, size, clocks)):
            others = np.random.default_rng(number).permutation(chunk.order[size:])
            yield evolve(chunk, order=np.concatenate([chunk.taken, others]))

    expected = importance_of(draw_chunks(scores, gains, size, clocks), scores, shares)
    np.testing.assert_array_equal(importance_of(shuffled(), scores, shares), expected)


@pytest.mark.proof
@pytest.mark.parametrize("gains", [[0.0, 1.7, 0.3], [1.2, 2.0]])
def test_importance_of_chunks_of_one_is_exact_over_every_outcome(gains: list[float]) -> None:
    """The factors follow from the sequence alone: the mean over all sequences by their probabilities is exact."""
    known: dict[tuple[int, ...], float] = {}
    for row in np.random.default_rng(37).standard_exponential((20_000, 5)):
        indices, factors = weighted(SCORES, gains, 1, row)
        estimate = float((factors.astype(np.float64) * FEATURES[0, indices]).mean())
        assert known.setdefault(tuple(indices.tolist()), estimate) == pytest.approx(estimate, rel=1e-5)
    total = weight = 0.0
    for sequence, estimate in known.items():
        probability = 1.0
        for chunk, item in enumerate(sequence):
            left = [i for i in range(5) if i not in sequence[:chunk]]
            probability *= sequential_probability((item,), gains[chunk] * SCORES, left)
        total, weight = total + probability * estimate, weight + probability
    assert weight == pytest.approx(1, abs=1e-9)  # every sequence was seen
    assert total == pytest.approx(FEATURES[0, :5].mean(), rel=1e-6)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 20), st.floats(0.0, 30.0))
def test_a_uniform_choice_and_a_choice_of_all_have_importance_one(
    chunks: int, size: int, more: int, gain: float
) -> None:
    clocks = np.random.default_rng(more).standard_exponential(chunks * size + more)
    _, factors = weighted(np.full(len(clocks), 3.0), [gain] * chunks, size, clocks)
    np.testing.assert_allclose(factors, 1.0, rtol=1e-6)
    _, factors = weighted(clocks[: chunks * size], [gain] * chunks, size, clocks[: chunks * size])
    np.testing.assert_allclose(factors, 1.0, rtol=1e-6)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 500), st.floats(0.0, 1e6))
def test_the_shares_of_the_chunks_sum_to_one(chunks: int, size: int, more: int, gain: float) -> None:
    scores = np.random.default_rng(more).normal(size=chunks * size + more)
    shares = chunk_shares(scores, size, [0.0] + [gain] * (chunks - 1))
    assert shares.sum() == pytest.approx(1)
    assert (shares >= 0).all()


def test_a_near_greedy_choice_rests_its_estimate_on_the_uniform_chunk() -> None:
    scores = np.random.default_rng(43).normal(size=64)
    assert chunk_shares(scores, 8, [0.0, 40.0, 80.0])[0] > 0.999
    found = estimates(scores, [0.0, 40.0, 80.0], 8, np.stack([np.ones(64), scores]), 2000)
    blindly = scores.std(ddof=1) * math.sqrt((1 - 8 / 64) / 8)
    np.testing.assert_allclose(found.std(0), [0.0, blindly], atol=0.05 * blindly)
