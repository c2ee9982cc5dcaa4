"""JEST: the B x B matrix form and naive sampling without replacement are the oracles of the O(B) form."""

import itertools
import math
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guideplug import CandidateRequest, GuideplugError, Losses, Registry, Train
from guideplug.run.resolve import Request, RunConfig, resolve
from guideplug.testing import check_selector
from guideplug_autoguidance import Autoguidance
from guideplug_jest import JEST, Chunk, chunk_shares, draw_chunks, importance_of, indices_of

torch.set_num_threads(1)


def losses(learner: np.ndarray | torch.Tensor, reference: np.ndarray | torch.Tensor) -> Losses:
    return Losses(len(learner), torch.as_tensor(learner), torch.as_tensor(reference))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("score", ["learnability", "hard-learner", "easy-reference", "inverted"])
@pytest.mark.parametrize("normalize", [True, False])
def test_it_keeps_the_laws_of_selectors(score: str, normalize: bool) -> None:
    check_selector(JEST(score=score, normalize=normalize))
    check_selector(JEST(score=score, normalize=normalize, first="scored"))


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


@pytest.mark.parametrize(("gains", "size"), [(GAINS, 1), (GAINS[:2], 2), ([1.3], 3), ([0.0, 3.0], 2), ([2.0, -1.0], 2)])
def test_chunks_are_sequential_draws_without_replacement(gains: list[float], size: int) -> None:
    """The joint distribution of all chunks: also after clocks were carried over to another gain."""
    assert p_value(Counter(drawn(gains, size)), chunks_expected(gains, size)) > 1e-3


def test_the_check_above_would_notice_another_gain() -> None:
    assert p_value(Counter(drawn([0.0, 1.7], 2)), chunks_expected([0.0, 1.4], 2)) < 1e-6


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


@pytest.mark.parametrize(
    ("gains", "size"), [([0.0, 1.5, 0.7], 2), ([0.0, 2.0, 3.0], 3), ([1.0, 1.5], 4), ([2.0, 2.0], 1), ([1.0], 5)]
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


# Counts


def test_the_papers_numbers() -> None:
    jest = JEST()
    assert (jest.filter_ratio, jest.num_chunks) == (0.8, 16)
    assert jest.kept(4096) == 816
    selection, _ = jest.select(losses(torch.rand(4096), torch.rand(4096)), {}, generator())
    assert selection.indices.shape == (816,)
    assert selection.indices.dtype == torch.int64
    assert JEST(num_chunks=8).kept(128) == 24
    assert JEST(num_chunks=1).kept(4096) == 819


@given(st.integers(1, 5000), st.integers(1, 64), st.integers(1, 99))
def test_the_count_is_the_chunks_times_a_whole_number_of_candidates(batch: int, chunks: int, percent: int) -> None:
    kept = JEST(filter_ratio=percent / 100, num_chunks=chunks).kept(batch)
    exact = batch * (100 - percent)  # in hundredths, without rounding
    assert kept == chunks * (exact // (100 * chunks))


@pytest.mark.parametrize("chunks", [1, 16, 32])
def test_one_chunk_and_chunks_of_one(chunks: int) -> None:
    jest = JEST(filter_ratio=0.5, num_chunks=chunks)
    learner = torch.arange(64, dtype=torch.float32)
    selection, _ = jest.select(losses(learner, torch.zeros(64)), {}, generator())
    assert len(torch.unique(selection.indices)) == 32


def test_a_single_chunk_is_uniform_whatever_the_losses() -> None:
    jest, source = JEST(filter_ratio=0.75, num_chunks=1), generator(4)
    counts = np.zeros(8)
    for _ in range(2000):
        selection, _ = jest.select(losses(10.0 * torch.arange(8), torch.zeros(8)), {}, source)
        counts[selection.indices.numpy()] += 1
    assert stats.chisquare(counts).pvalue > 1e-3
    assert selection.effective_sample_size == pytest.approx(1.0)


def test_a_super_batch_that_is_too_small_is_refused_with_what_would_do() -> None:
    jest = JEST()
    with pytest.raises(ValueError, match=r"79 is too small .*at least 80, or num_chunks=15"):
        jest.plan(79, {})
    assert jest.plan(80, {}).count == 80
    assert jest.kept(80) == 16
    assert JEST(num_chunks=15).kept(79) == 15


@given(st.integers(1, 64), st.floats(0.01, 0.99))
def test_the_refusals_advice_is_right(chunks: int, ratio: float) -> None:
    jest = JEST(filter_ratio=ratio, num_chunks=chunks)
    for batch in (1, 3, 17, 80):
        if jest.kept(batch):
            continue
        with pytest.raises(ValueError, match="too small") as refused:
            jest.plan(batch, {})
        words = str(refused.value).split()
        least = int(words[words.index("least") + 1].rstrip(","))
        assert jest.kept(least) > 0
        if "num_chunks" in words[-1]:
            assert JEST(filter_ratio=ratio, num_chunks=int(words[-1].partition("=")[2])).kept(batch) > 0


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, 1.5, math.nan])
def test_filter_ratios_outside_the_open_interval_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="filter_ratio"):
        JEST(filter_ratio=ratio)


def test_other_options_are_refused_too() -> None:
    with pytest.raises(ValueError, match="num_chunks"):
        JEST(num_chunks=0)
    for gain in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="gain"):
            JEST(gain=gain)


# Scores and gain


@pytest.mark.parametrize(
    ("score", "expected", "learner", "reference"),
    [
        ("learnability", [2.0, -3.0], True, "weak"),
        ("inverted", [-2.0, 3.0], True, "weak"),
        ("hard-learner", [3.0, 1.0], True, None),
        ("easy-reference", [-1.0, -4.0], False, "weak"),
    ],
)
def test_scores(score: str, expected: list[float], learner: bool, reference: str | None) -> None:
    jest = JEST(score=score)
    plan = jest.plan(200, {})
    assert (plan.count, plan.learner, plan.reference) == (200, learner, reference)
    given_losses = Losses(
        2,
        torch.tensor([3.0, 1.0]) if plan.learner else None,
        torch.tensor([1.0, 4.0]) if plan.reference is not None else None,
    )
    assert jest.scores(given_losses).tolist() == expected


def test_gains() -> None:
    assert JEST().chunk_gain(51) == 52 / 103
    assert JEST(normalize=False).chunk_gain(51) == 52
    assert JEST(gain=2.5).chunk_gain(51) == pytest.approx(2.5 * 52 / 103, rel=1e-15)
    assert JEST(gain=2.5, normalize=False).chunk_gain(51) == 2.5 * 52


@pytest.mark.parametrize(("score", "best"), [("learnability", 1), ("inverted", -1), ("hard-learner", 1)])
def test_at_a_huge_gain_later_chunks_are_the_top(score: str, best: int) -> None:
    order = torch.randperm(100, generator=generator(9))
    learner = best * order.double()
    reference = None if score == "hard-learner" else torch.zeros(100, dtype=torch.float64)
    jest = JEST(filter_ratio=0.8, num_chunks=4, gain=1e6, score=score)
    selection, _ = jest.select(Losses(100, learner, reference), {}, generator(3))
    first, rest = selection.indices[:5], selection.indices[5:]
    left = [i for i in torch.argsort(order, descending=True).tolist() if i not in first.tolist()]
    for chunk in range(3):
        assert set(rest[5 * chunk : 5 * chunk + 5].tolist()) == set(left[5 * chunk : 5 * chunk + 5])


# Numbers that are hard to handle


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e30, torch.float32), (1e300, torch.float64), (1e-30, torch.float32), (1e3, torch.float32)]
)
def test_huge_and_tiny_losses_neither_overflow_nor_warn(scale: float, dtype: torch.dtype, normalize: bool) -> None:
    learner = torch.rand(64, generator=generator(), dtype=dtype) * scale
    reference = torch.rand(64, generator=generator(1), dtype=dtype) * scale
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jest = JEST(filter_ratio=0.5, num_chunks=4, normalize=normalize)
        selection, _ = jest.select(losses(learner, reference), {}, generator())
    assert len(torch.unique(selection.indices)) == 32
    assert selection.probabilities is not None
    assert bool(torch.isfinite(selection.probabilities).all())
    assert float(selection.probabilities.sum()) == pytest.approx(1)
    if scale >= 1e3:
        scores = (learner - reference).double()
        left = [i for i in torch.argsort(scores, descending=True).tolist() if i not in selection.indices[:8].tolist()]
        assert left[0] in selection.indices[8:16].tolist()


LARGEST = float(np.finfo(np.float64).max)
EXTREMES = st.lists(
    st.sampled_from([0.0, 1.0, -1.0, 1e300, -1e300, LARGEST, -LARGEST, LARGEST / 3, 5e-324, 1e-300, 1e17, 17.0])
    | st.floats(allow_nan=False, allow_infinity=False),
    min_size=16,
    max_size=16,
)


@settings(deadline=None)
@given(
    EXTREMES,
    EXTREMES,
    st.sampled_from([1.0, 1e-300, 1e300, LARGEST]),
    st.booleans(),
    st.sampled_from(["uniform", "scored"]),
    st.sampled_from(["learnability", "hard-learner", "easy-reference", "inverted"]),
    st.sampled_from([1, 2, 4, 8]),
)
def test_no_finite_losses_overflow(
    learner: list[float], reference: list[float], gain: float, normalize: bool, first: str, score: str, chunks: int
) -> None:
    jest = JEST(filter_ratio=0.5, num_chunks=chunks, gain=gain, normalize=normalize, first=first, score=score)
    plan = jest.plan(16, {})
    both = [torch.tensor(values, dtype=torch.float64) for values in (learner, reference)]
    given_losses = Losses(16, both[0] if plan.learner else None, both[1] if plan.reference else None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        selection, _ = jest.select(given_losses, {}, generator())
    assert len(torch.unique(selection.indices)) == 8
    assert selection.probabilities is not None
    assert selection.importance is not None
    assert float(selection.probabilities.sum()) == pytest.approx(1)
    assert bool(torch.isfinite(selection.importance()).all())
    assert float(selection.importance().min()) >= 0


@pytest.mark.parametrize("scale", [1.0, 1e17, 1e300, LARGEST])
def test_at_any_scale_the_top_is_taken_and_ties_are_drawn_evenly(scale: float) -> None:
    """Five candidates far above eleven others: the five first, in even order, and the rest evenly from the eleven."""
    scores = np.array([0.5] * 3 + [-0.5] * 11 + [0.5] * 2) * scale
    gains = [1e6 if scale == 1.0 else 1.0] * 4
    counts = np.zeros(16)
    for row in np.random.default_rng(41).standard_exponential((2000, 16)):
        indices = indices_of(draw_chunks(scores, gains, 2, row))
        assert set(indices.tolist()) > {0, 1, 2, 14, 15}
        counts[indices[:2]] += 1
        counts[[i for i in indices[4:] if 3 <= i < 14]] += 1
    assert stats.chisquare(counts[[0, 1, 2, 14, 15]]).pvalue > 1e-3
    assert stats.chisquare(counts[3:14]).pvalue > 1e-3


def test_a_clock_at_zero_is_drawn_first_without_a_warning() -> None:
    clocks = np.array([1.0, 0.0, 2.0, 0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert indices_of(draw_chunks(np.array([5.0, 0.0, 1.0, 2.0]), [0.0, 1.0], 1, clocks))[0] == 1


def test_equal_generators_choose_alike_and_others_do_not() -> None:
    given_losses = losses(torch.rand(400, generator=generator()), torch.zeros(400))
    first, second, third = (JEST().select(given_losses, {}, generator(seed))[0].indices for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_memory_is_linear_in_the_super_batch() -> None:
    """200,000 candidates: a matrix of them would take 320 GB."""
    learner = torch.rand(200_000, generator=generator())
    selection, _ = JEST().select(losses(learner, torch.zeros(200_000)), {}, generator())
    assert len(torch.unique(selection.indices)) == 40_000


# The learner under guidance


def resolved(selector: str, **values: str) -> RunConfig:
    return resolve(Request({"task": "tree", "selector": selector, "device": "cpu", **values}), Registry.installed())


def test_the_learner_may_be_scored_under_guidance() -> None:
    guider = Autoguidance(weight=2.0)
    assert JEST(guider=guider).plan(200, {}) == CandidateRequest(200, learner=True, reference="weak", guider=guider)
    config = resolved("jest(guider=autoguidance(weight=2))", guider="autoguidance")
    assert isinstance(config.main, Train)
    assert config.main.selector == JEST(guider=guider)
    assert list(config.main.models) == ["weak"]  # one network is reference and guide, and guides the samples
    other = resolved("jest(guider=autoguidance(model=guide), reference=other)")
    assert isinstance(other.main, Train)
    assert sorted(other.main.models) == ["guide", "other"]
    hard = resolved("jest(guider=autoguidance(model=guide), score=hard-learner)")
    assert isinstance(hard.main, Train)
    assert list(hard.main.models) == ["guide"]


def test_guiders_that_cannot_score_are_refused() -> None:
    with pytest.raises(ValueError, match="score=easy-reference does not look at the learner"):
        JEST(score="easy-reference", guider=Autoguidance())
    with pytest.raises(
        GuideplugError, match=r"jest\(guider=sims\): the role 'synthetic' is made from the main network"
    ):
        resolved("jest(guider=sims)")
    with pytest.raises(GuideplugError, match=r"jest: the role 'weak' is the reference's and another network"):
        resolved("jest(guider=cfg(model=weak))")
