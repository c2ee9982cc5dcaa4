"""JEST: counts, scores and gain, numbers that are hard to handle, and the learner under guidance."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guideplug import CandidateRequest, GuideplugError, Losses, Registry, Train
from guideplug.run.resolve import Request, RunConfig, resolve
from guideplug.testing import check_selector
from guideplug_autoguidance import Autoguidance
from guideplug_jest import JEST, draw_chunks, indices_of

torch.set_num_threads(1)


def losses(learner: np.ndarray | torch.Tensor, reference: np.ndarray | torch.Tensor) -> Losses:
    return Losses(len(learner), torch.as_tensor(learner), torch.as_tensor(reference))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["learnability", "hard-learner", "easy-reference", "inverted"])
@pytest.mark.parametrize("normalize", [True, False])
def test_it_keeps_the_laws_of_selectors(score: str, normalize: bool) -> None:
    check_selector(JEST(score=score, normalize=normalize))
    check_selector(JEST(score=score, normalize=normalize, first="scored"))


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
SMALLEST_GAIN, LARGEST_GAIN = float(np.finfo(np.float32).smallest_normal), float(np.finfo(np.float32).max)


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
    st.sampled_from([1.0, SMALLEST_GAIN, 1e30, LARGEST_GAIN]),
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
