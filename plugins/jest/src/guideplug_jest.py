"""Joint example selection (JEST): train on what the learner has yet to learn and the reference finds learnable.

From a super-batch of B candidates b = N floor(B (1 - f) / N) are kept, in N chunks. With the learner's losses L and the
reference's R, the score of a candidate is its learnability L - R. The first chunk is uniform; for a later one, with q
candidates taken already, the joint score of JEST separates for per-example losses into

    logits_i = (1 + q) (L_i - R_i) + constant            gain "jest", close to greedy
    logits_i = (q + 1) / (2 q + 1) (L_i - R_i) + constant  gain "ajest", which tends to 1/2

so that O(B) time and memory are exact, where the released code builds a B x B matrix. The next b / N are drawn without
replacement from softmax(logits) over what is left; with first=scored so is the first chunk, with q = 0.

The draw is exact and cannot overflow: every candidate has an exponential clock of rate exp(logit), kept in
logarithms; the b / N that ring first are the chunk (Efraimidis and Spirakis 2006). What is left on the other clocks
when a chunk ends is exponential again, and is carried over to the next chunk's rates.

Every selection says by what factors its examples estimate the mean over the whole super-batch without bias:

    p_i = 1 - exp(-rate_i tau)      tau: when the first candidate rings that the chunk n of i did not take
    factor_i = b / B (share_n / p_i + sum of the shares of the chunks after n)

Proof. Given the chunks before n and the clocks of the others, i is in chunk n if and only if it rings before the one
of them that would be the last of the chunk without it, which is tau where i is in: so with probability p_i, and
sum f_i / p_i over the chunk has the mean sum f_i over what was left (priority sampling). Adding the known f_i of the
chunks before gives an unbiased estimate of the sum over all B from every chunk, and so does any average of these with
shares fixed before the draw (Des Raj 1956). Here they make every factor 1 where the choice is uniform, and fall as
1 / (mean rate * mean 1 / rate) elsewhere, as the variance of the chunk's estimate rises. A chunk of one has
p_i = softmax(logits)_i, and one with equal logits p_i = size / left, which are exact and vary less.

Sources: T. Evans, N. Parthasarathy, H. Merzic and O. Henaff 2024, "Data curation via joint example selection further
accelerates multimodal learning", arXiv:2406.17711; "Autoguided online data curation" 2025, arXiv:2509.15267 (gain, b);
N. Duffield, C. Lund and M. Thorup 2007, "Priority sampling for estimation of arbitrary subset sums", J. ACM 54(6);
W. Kool, H. van Hoof and M. Welling 2019, "Stochastic beams and where to find them", arXiv:1903.06059 (the same p_i);
Des Raj 1956, "Some estimators in sampling with varying probabilities without replacement", JASA 51.
Cost: a forward pass of learner and reference on the super-batch, without a graph; the choice itself is O(N B).
"""

import sys
from collections.abc import Mapping
from typing import Literal, final

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from guideplug import (
    Draw,
    GuideplugError,
    Guider,
    Losses,
    Recipe,
    Selection,
    Selector,
    SelectorState,
    Source,
    Task,
    at_least,
    between,
    hook,
    option,
    positive,
)

Floats = NDArray[np.float64]

SMALLEST = -60.0
"""Exponents below this are as good as none, and would make numbers so small that arithmetic with them crawls."""
LOWEST = -1e300
"""Logits end here: a finite number from which a logarithm of a clock can be taken."""
COARSE = 2.0**40
"""Logits beyond this are too coarse in 64 bits to hold the logarithm of a clock beside them."""
UNIT = 4.0
"""What scores are counted in while drawing: differences of the largest losses are finite, and nothing is rounded."""


@final
@frozen
class JEST(Selector):
    """Joint example selection by learnability."""

    name = "jest"
    source = Source(
        "T. Evans, N. Parthasarathy, H. Merzic, O. Henaff",
        2024,
        "Data curation via joint example selection further accelerates multimodal learning",
        "https://arxiv.org/abs/2406.17711",
        "algorithm 1",
    )
    filter_ratio: float = option(
        0.8, help="share of the super-batch that is not trained on", validator=between(0, 1, ends=False)
    )
    num_chunks: int = option(16, help="parts in which the kept ones are chosen", validator=at_least(1))
    score: Literal["learnability", "hard-learner", "easy-reference", "inverted"] = option(
        "learnability", help="learner - reference loss; learner's; minus reference's; reference - learner"
    )
    gain: float = option(1.0, help="factor on the scores: higher is greedier, near 0 is random", validator=positive)
    normalize: bool = option(
        True, help="divide the joint score by 2 q + 1, as AJEST does; without, the gain 1 + q is near greedy"
    )
    first: Literal["uniform", "scored"] = option(
        "uniform", help="the first chunk: drawn blindly, as in the papers, or by score like the others"
    )
    reference: str = option("weak", help="role of the reference network")
    guider: Guider | None = option(None, help="what guides the learner while it is scored; none for the learner alone")

    def __attrs_post_init__(self) -> None:
        if self.guider is not None and self.score == "easy-reference":
            raise ValueError("guider: score=easy-reference does not look at the learner; leave one of them out")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        found: dict[str, Recipe | None] = {}
        if self.score != "hard-learner":
            found[self.reference] = task.recipe("weak", main)
        guider = self.guider
        if guider is None:
            return found
        for role, recipe in guider.needs(task, main).items():
            if isinstance(recipe, str):
                raise GuideplugError(
                    f"jest(guider={guider.name}): the role {role!r} is made from the main network once that is trained "
                    "and cannot guide it before: score under another guider, such as autoguidance"
                )
            if found.setdefault(role, recipe) != recipe:
                raise GuideplugError(
                    f"jest: the role {role!r} is the reference's and another network of the guider's; name one of them "
                    "otherwise, as in jest(reference=other)"
                )
        return found

    def kept(self, batch: int) -> int:
        """How many of ``batch`` candidates are kept: a multiple of the number of chunks."""
        # The product is rounded first: 4096 * (1 - 0.8) / 16 must not fall below 51.2 by a rounding error.
        return self.num_chunks * int(round(batch * (1 - self.filter_ratio), 9) // self.num_chunks)

    def plan(self, batch: int, state: SelectorState) -> Draw:
        if self.kept(batch) < 1:
            # As in `kept`, the quotient may exceed a whole number by a rounding error.
            least = int(np.ceil(self.num_chunks / (1 - self.filter_ratio) - 1e-10))
            fewer = int(round(batch * (1 - self.filter_ratio), 9))
            raise ValueError(
                f"a super-batch of {batch} is too small for filter_ratio {self.filter_ratio:g} in {self.num_chunks} "
                f"chunks: give a batch of at least {least}{f', or num_chunks={fewer}' if fewer else ''}"
            )
        needs_reference = self.score != "hard-learner"
        return Draw(
            batch,
            learner=self.score != "easy-reference",
            reference=self.reference if needs_reference else None,
            guider=self.guider,
        )

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        scores = self.scores(losses, UNIT)
        if not np.isfinite(scores).all():
            raise ValueError("jest: a loss is not finite")
        clocks = torch.empty(losses.count, dtype=torch.float64).exponential_(generator=generator).numpy()
        gains = [min(UNIT * gain, sys.float_info.max) for gain in self.gains(losses.count)]
        indices, importance = draw_chunks(scores, gains, self.kept(losses.count) // self.num_chunks, clocks)
        with np.errstate(over="ignore"):
            weights = np.exp(np.maximum(gains[-1] * (scores - scores.max()), SMALLEST))
        selection = Selection(
            torch.from_numpy(indices),
            probabilities=torch.from_numpy(weights / weights.sum()),
            importance=torch.from_numpy(importance),
        )
        return selection, state

    def has_importance(self) -> bool:
        return True

    def scores(self, losses: Losses, unit: float = 1.0) -> Floats:
        """The candidates' scores in a unit, float64, (count,); from 4 on they are finite for any finite losses."""
        sign = -1.0 if self.score == "inverted" else 1.0
        total: Floats = np.zeros(losses.count)
        for part, factor in ((losses.learner, sign), (losses.reference, -sign)):
            if part is not None:
                total = total + factor * (part.double().numpy() / unit)
        return total

    def gains(self, count: int) -> list[float]:
        """The factor on the scores in each chunk from ``count`` candidates."""
        kept = self.kept(count)
        gains = [self.chunk_gain(taken) for taken in range(0, kept, kept // self.num_chunks)]
        return gains if self.first == "scored" else [0.0, *gains[1:]]

    def chunk_gain(self, taken: int) -> float:
        """The factor on the scores when ``taken`` candidates have been taken."""
        joint = 1 + taken
        return self.gain * (joint / (2 * taken + 1) if self.normalize else joint)


def draw_chunks(
    scores: Floats, gains: list[float], size: int, clocks: Floats
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices drawn without replacement, ``size`` for each gain in turn, from softmax(gain * scores) over what is left.

    Args:
        scores: (B,), finite and with finite differences.
        gains: one for each chunk.
        size: how many a chunk takes.
        clocks: (B,), independent standard exponential draws.

    Returns:
        The indices, and the factors by which those estimate the mean over all (see the module).
    """
    count = len(scores)
    left = np.arange(count)
    shares = chunk_shares(scores, size, gains)
    taken: list[NDArray[np.int64]] = []
    factors: list[Floats] = []
    for chunk, gain in enumerate(gains):
        logs = np.log(np.maximum(clocks, sys.float_info.min))
        with np.errstate(over="ignore"):
            logits = gain * (scores - scores.max())
        lowest = logits.min()
        if lowest < LOWEST:
            logits = np.maximum(logits, LOWEST)
        rings = logs - logits  # the logarithm of when each clock rings
        if size == len(rings):
            order = np.arange(size)
        elif lowest < -COARSE:  # where times are equal in 64 bits the scores decide, and then the clocks
            order = np.lexsort((logs, -scores, rings))
        else:
            order = np.argpartition(rings, size - 1)
        first, rest = order[:size], order[size:]
        taken.append(left[first])
        included: Floats | float
        if len(rest) == 0 or lowest == 0:
            included = size / len(left)
        elif size == 1:
            weights = np.exp(np.maximum(logits, SMALLEST))
            included = weights[first] / weights.sum()
        else:
            next_ = rest[np.argmin(rings[rest])]
            included = -np.expm1(-np.exp(np.minimum(_reading(scores, gain, logs, next_, first), -SMALLEST)))
        factors.append(shares[chunk] / included + np.full(size, shares[chunk + 1 :].sum()))
        if chunk == len(gains) - 1:
            break
        # What each remaining clock has run down by when the chunk's last rings: at most its own reading.
        run_down = _reading(scores, gain, logs, first[-1], rest)
        clocks = np.maximum(clocks[rest] - np.exp(np.minimum(run_down, logs[rest])), 0.0)
        left, scores = left[rest], scores[rest]
    indices = np.concatenate(taken)
    return indices, (np.concatenate(factors) * (len(indices) / count)).astype(np.float32)


def chunk_shares(scores: Floats, size: int, gains: list[float]) -> Floats:
    """The chunks' shares in the estimate, (chunks,), which sum to 1; they depend on nothing that is drawn."""
    count, chunks = len(scores), len(gains)
    factor, later = count / (size * chunks), 0.0
    shares = np.empty(chunks)
    for chunk in reversed(range(chunks)):  # such that share / (size / left) + later = factor
        shares[chunk] = max(factor - later, 0.0) * size / (count - chunk * size)
        later += shares[chunk]
    scored = [gain for gain in gains if gain]
    if scored:  # for the gains between the least and the greatest a straight line is near enough
        ends = [min(scored), max(scored)]
        shares /= np.exp(np.interp(gains, [0.0, *ends], [0.0, *(_log_spread(scores, end) for end in ends)]))
    found: Floats = shares / shares.sum()
    return found


def _log_spread(scores: Floats, gain: float) -> float:
    """The logarithm of (mean rate * mean 1 / rate): 0 where all rates are equal."""
    with np.errstate(over="ignore"):
        rates = np.exp(np.clip(gain * (scores - 0.5 * (scores.max() + scores.min())), SMALLEST, -SMALLEST))
    return float(np.log(rates.mean() * (1 / rates).mean()))


def _reading(scores: Floats, gain: float, logs: Floats, one: np.int64, others: NDArray[np.int64]) -> Floats:
    """The logarithm of what the others' clocks have run down by when one rings; never below what `exp` takes fast."""
    with np.errstate(over="ignore"):
        found: Floats = np.maximum(logs[one] + gain * (scores[others] - scores[one]), SMALLEST)
    return found


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [JEST]


@hook
def guideplug_presets() -> Mapping[str, Mapping[str, str]]:
    return {"selector": {"early-jest": "early(jest)"}}
