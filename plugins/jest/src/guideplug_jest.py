"""Joint example selection (JEST): train on what the learner has yet to learn and the reference finds learnable.

From a super-batch of B candidates b = N floor(B (1 - f) / N) are kept, in N chunks. With the learner's losses L and the
reference's R, the score of a candidate is its learnability L - R. The first chunk is uniform; for a later one, with q
candidates taken already, the joint score of JEST separates for per-example losses into

    logits_i = (1 + q) (L_i - R_i) + constant            gain "jest", close to greedy
    logits_i = (q + 1) / (2 q + 1) (L_i - R_i) + constant  gain "ajest", which tends to 1/2

so that O(B) time and memory are exact, where the released code builds a B x B matrix. The next b / N are drawn without
replacement from softmax(logits) over what is left.

The draw is exact and cannot overflow: every candidate has an exponential clock of rate exp(logit), kept in
logarithms; the b / N that ring first are the chunk (Efraimidis and Spirakis 2006). What is left on the other clocks
when a chunk ends is exponential again, and is carried over to the next chunk's rates.

Sources: T. Evans, N. Parthasarathy, H. Merzic and O. Henaff 2024, "Data curation via joint example selection further
accelerates multimodal learning", arXiv:2406.17711; "Autoguided online data curation" 2025, arXiv:2509.15267 (gain, b).
Cost: a forward pass of learner and reference on the super-batch, without a graph; the choice itself is O(N B).
"""

from collections.abc import Mapping
from typing import Literal, final

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from guideplug import (
    Draw,
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
    reference: str = option("weak", help="role of the reference network")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return {} if self.score == "hard-learner" else {self.reference: task.recipe("weak", main)}

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
            batch, learner=self.score != "easy-reference", reference=self.reference if needs_reference else None
        )

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        scores = self.scores(losses)
        if not np.isfinite(scores).all():
            raise ValueError("jest: a loss is not finite")
        clocks = torch.empty(losses.count, dtype=torch.float64).exponential_(generator=generator).numpy()
        gains = [0.0, *map(self.chunk_gain, self._taken(losses.count)[1:])]
        indices = draw_chunks(scores, gains, self.kept(losses.count) // self.num_chunks, clocks)
        weights = np.exp(np.maximum(gains[-1] * (scores - scores.max()), SMALLEST))
        probabilities = torch.from_numpy(weights / weights.sum())
        return Selection(torch.from_numpy(indices), probabilities=probabilities), state

    def scores(self, losses: Losses) -> Floats:
        """The candidates' scores, float64, (count,)."""
        sign = -1.0 if self.score == "inverted" else 1.0
        total: Floats = np.zeros(losses.count)
        for part, factor in ((losses.learner, sign), (losses.reference, -sign)):
            if part is not None:
                total = total + factor * part.double().numpy()
        return total

    def _taken(self, count: int) -> range:
        """How many candidates are taken when each chunk begins."""
        kept = self.kept(count)
        return range(0, kept, kept // self.num_chunks)

    def chunk_gain(self, taken: int) -> float:
        """The factor on the scores when ``taken`` candidates have been taken."""
        joint = 1 + taken
        return self.gain * (joint / (2 * taken + 1) if self.normalize else joint)


def draw_chunks(scores: Floats, gains: list[float], size: int, clocks: Floats) -> NDArray[np.int64]:
    """Indices drawn without replacement, ``size`` for each gain in turn, from softmax(gain * scores) over what is left.

    Args:
        scores: (B,), finite.
        gains: one for each chunk.
        size: how many a chunk takes.
        clocks: (B,), independent standard exponential draws.
    """
    left = np.arange(len(scores))
    scores = scores - scores.max()
    taken: list[NDArray[np.int64]] = []
    for chunk, gain in enumerate(gains):
        logits = gain * scores
        with np.errstate(divide="ignore"):
            rings = np.log(clocks) - logits  # the logarithm of when each clock rings
        order = np.argpartition(rings, size - 1) if size < len(rings) else np.arange(len(rings))
        first, rest = order[:size], order[size:]
        taken.append(left[first])
        if chunk == len(gains) - 1:
            break
        # What each remaining clock has run down by now; at most its own reading, so this cannot overflow.
        run_down = np.exp(np.maximum(rings[first].max() + logits[rest], SMALLEST))
        clocks = np.maximum(clocks[rest] - run_down, 0.0)
        left, scores = left[rest], scores[rest]
    return np.concatenate(taken)


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [JEST]


@hook
def guideplug_presets() -> Mapping[str, Mapping[str, str]]:
    return {"selector": {"early-jest": "early(jest)"}}
