"""Joint example selection (JEST): train on what the learner has yet to learn and the reference finds learnable.

From a super-batch of B candidates b = N floor(B (1 - f) / N) are kept, in N chunks. With the learner's losses L and the
reference's R, the score of a candidate is its learnability L - R. The first chunk is uniform; for a later one, with q
candidates taken already, the joint score of JEST separates for per-example losses into

    logits_i = (1 + q) (L_i - R_i) + constant            gain "jest", close to greedy
    logits_i = (q + 1) / (2 q + 1) (L_i - R_i) + constant  gain "ajest", which tends to 1/2

so that O(B) time and memory are exact, where the released code builds a B x B matrix. The next b / N are drawn without
replacement from softmax(logits) over what is left; with first=scored so is the first chunk, with q = 0, which is the
joint score of a single candidate. A uniform first chunk is AJEST's code's; we have not seen JEST's own listing.

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

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, final

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from guideplug import (
    CandidateRequest,
    GuideplugError,
    Guider,
    Losses,
    Recipe,
    Selection,
    Selector,
    SelectorState,
    Source,
    Task,
    between,
    hook,
    option,
    positive,
    up_to,
)

Floats = NDArray[np.float64]

SMALLEST = -60.0
"""Exponents below this are as good as none, and would make numbers so small that arithmetic with them crawls."""
EXACT = -600.0
"""Above this the exponentials of logits are ordinary numbers, and no logarithm is needed."""
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
    num_chunks: int = option(16, help="parts in which the kept ones are chosen", validator=up_to(1_000_000))
    score: Literal["learnability", "hard-learner", "easy-reference", "inverted"] = option(
        "learnability", help="learner - reference loss; learner's; minus reference's; reference - learner"
    )
    gain: float = option(1.0, help="factor on the scores: higher is greedier, near 0 is random", validator=positive)
    normalize: bool = option(
        True, help="divide the joint score by 2 q + 1, as AJEST does; without, the gain 1 + q is near greedy"
    )
    first: Literal["uniform", "scored"] = option(
        "uniform", help="the first chunk: drawn blindly, as in AJEST's code, or by score like the others"
    )
    reference: str = option("weak", help="role of the reference network")
    guider: Guider | None = option(None, help="what guides the learner while it is scored; none for the learner alone")
    noise: Literal["shared", "separate"] = option(
        "shared", help="noise that learner and reference are scored under: the same, or each its own, as AJEST's images"
    )

    def __attrs_post_init__(self) -> None:
        if self.guider is not None and self.score == "easy-reference":
            raise ValueError("guider: score=easy-reference does not look at the learner; leave one of them out")
        if self.noise == "separate" and self.score in ("hard-learner", "easy-reference"):
            raise ValueError(f"noise=separate: score={self.score} looks at one network alone; leave one of them out")

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

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        if self.kept(batch) < 1:
            # As in `kept`, the quotient may exceed a whole number by a rounding error.
            least = int(np.ceil(self.num_chunks / (1 - self.filter_ratio) - 1e-10))
            fewer = int(round(batch * (1 - self.filter_ratio), 9))
            raise ValueError(
                f"a super-batch of {batch} is too small for filter_ratio {self.filter_ratio:g} in {self.num_chunks} "
                f"chunks: give a batch of at least {least}{f', or num_chunks={fewer}' if fewer else ''}"
            )
        needs_reference = self.score != "hard-learner"
        return CandidateRequest(
            batch,
            learner=self.score != "easy-reference",
            reference=self.reference if needs_reference else None,
            guider=self.guider,
            separate_noise=self.noise == "separate",
        )

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        scores = self.scores(self.planned(losses, state), UNIT)
        clocks = torch.empty(losses.count, dtype=torch.float64).exponential_(generator=generator).numpy()
        gains = [min(UNIT * gain, sys.float_info.max) for gain in self.gains(losses.count)]
        size = self.kept(losses.count) // self.num_chunks

        def importance() -> torch.Tensor:
            shares = chunk_shares(scores, size, gains)
            return torch.from_numpy(importance_of(draw_chunks(scores, gains, size, clocks), scores, shares))

        selection = Selection(
            torch.from_numpy(indices_of(draw_chunks(scores, gains, size, clocks))),
            probabilities=torch.from_numpy(softmax(scores, gains[-1])),
            importance=importance,
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


@frozen(eq=False)
class Chunk:
    """One chunk of a draw.

    Args:
        gain: the factor on the scores.
        clocks: (B,) what was left on each clock before it, infinite for those taken before; overwritten after.
        order: (B,) the candidates, first those of the chunk with the last to ring at their end, then the others.
        size: how many are of the chunk.
        left: how many could have been.
        even: whether all of these had the same chance.
    """

    gain: float
    clocks: Floats
    order: NDArray[np.int64]
    size: int
    left: int
    even: bool

    @property
    def taken(self) -> NDArray[np.int64]:
        """The candidates of the chunk, (size,), the last to ring at the end."""
        return self.order[: self.size]


def draw_chunks(scores: Floats, gains: list[float], size: int, clocks: Floats) -> Iterator[Chunk]:
    """Chunks drawn without replacement, ``size`` for each gain in turn, from softmax(gain * scores) over what is left.

    Nothing is gathered between chunks, and the passes over memory are few: they are what a draw's time goes to.

    Args:
        scores: (B,), finite and with finite differences.
        gains: one for each chunk.
        size: how many a chunk takes.
        clocks: (B,), independent standard exponential draws.
    """
    clocks, rates, rings = clocks.copy(), np.empty_like(clocks), np.empty_like(clocks)
    below = scores - scores.max()
    lowest, left = below.min(), len(scores)
    for number, gain in enumerate(gains, start=1):
        with np.errstate(over="ignore"):
            reach = gain * lowest
        plain = reach >= EXACT
        if plain:
            np.exp(np.multiply(below, gain, out=rates), out=rates)
            np.divide(clocks, rates, out=rings)
        else:
            rings = ring_logs(clocks, below, gain)
        # Where times are equal in 64 bits the scores decide, and then the clocks.
        coarse = reach < -COARSE
        order = np.lexsort((clocks, -scores, rings)) if coarse else np.argpartition(rings, size - 1)
        yield Chunk(gain, clocks, order, size, left, even=reach == 0)
        if number == len(gains):
            return
        # What each clock has run down by when the chunk's last rings is taken off: at most its own reading.
        last = order[size - 1]
        if plain:
            clocks -= np.multiply(rates, rings[last], out=rates)
        else:
            run_down(clocks, scores, gain, last, out=rates)
            clocks -= np.minimum(np.exp(np.minimum(rates, -SMALLEST, out=rates), out=rates), clocks, out=rates)
        np.maximum(clocks, 0.0, out=clocks)
        clocks[order[:size]] = np.inf
        left -= size


def ring_logs(clocks: Floats, below: Floats, gain: float) -> Floats:
    """The logarithm of when clocks ring, from their scores below the highest; finite for finite scores."""
    with np.errstate(over="ignore"):
        logits = np.maximum(gain * below, LOWEST)
    found: Floats = np.log(np.maximum(clocks, sys.float_info.min)) - logits
    return found


def run_down(clocks: Floats, scores: Floats, gain: float, one: np.int64, out: Floats | None = None) -> Floats:
    """The logarithm of what each clock has run down by when one rings; never below what `exp` takes fast."""
    with np.errstate(over="ignore"):
        found: Floats = np.subtract(scores, scores[one], out=out)
        found *= gain
    found += math.log(max(clocks[one], sys.float_info.min))
    return np.maximum(found, SMALLEST, out=found)


def indices_of(chunks: Iterable[Chunk]) -> NDArray[np.int64]:
    """The candidates taken, chunk after chunk."""
    return np.concatenate([chunk.taken.copy() for chunk in chunks])


def importance_of(chunks: Iterable[Chunk], scores: Floats, shares: Floats) -> NDArray[np.float32]:
    """The factors by which the candidates taken estimate the mean over all of them (see the module)."""
    factors: list[Floats] = []
    below = scores - scores.max()
    for number, chunk in enumerate(chunks):
        rest = chunk.order[chunk.size :]  # and those taken before, whose clocks never ring
        included: Floats | float
        if chunk.size == chunk.left or chunk.even:
            included = chunk.size / chunk.left
        elif chunk.size == 1:
            left = np.flatnonzero(np.isfinite(chunk.clocks))
            included = softmax(scores[left], chunk.gain)[left == chunk.taken]
        else:
            next_ = rest[np.argmin(ring_logs(chunk.clocks[rest], below[rest], chunk.gain))]
            readings = run_down(chunk.clocks, scores, chunk.gain, next_)[chunk.taken]
            included = -np.expm1(-np.exp(np.minimum(readings, -SMALLEST)))
        factors.append(shares[number] / included + np.full(chunk.size, shares[number + 1 :].sum()))
    found = np.concatenate(factors)
    return (found * (len(found) / len(scores))).astype(np.float32)


def softmax(scores: Floats, gain: float) -> Floats:
    """The chances (B,) that are proportional to exp(gain * scores)."""
    with np.errstate(over="ignore"):
        logits: Floats = scores - scores.max()
        logits *= gain
    rates = np.exp(np.maximum(logits, SMALLEST, out=logits), out=logits)
    rates /= rates.sum()
    return rates


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


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [JEST]


@hook
def guideplug_presets() -> Mapping[str, Mapping[str, str]]:
    return {"selector": {"early-jest": "early(jest)"}}
