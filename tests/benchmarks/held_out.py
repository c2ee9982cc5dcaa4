"""How often intervals of held-out best values leave out 0 where no candidate is better than the baseline.

    python tests/benchmarks/held_out.py            # the table of docs/studies.md, about two minutes

A curve over candidates is a Gaussian process for each seed, of mean 0 and a correlation length in candidates; the
baseline is 0 at every seed, so that every rejection is a false one. The length 0 is independent noise. Where noise
rises, its standard deviation goes from 1 to 4 along the candidates. Each row: 20,000 repetitions, seeded.

The correction for dependent folds is Nadeau and Bengio 2003, "Inference for the generalization error", Machine
Learning 52, section 3.
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Array = NDArray[np.float64]
LENGTHS = (0.0, 1.0, 3.0, 10.0)
CANDIDATES = (4, 10, 16)
SEEDS = (5, 8)
BOOTSTRAPS = 200


def curves(
    repetitions: int, seeds: int, candidates: int, length: float, rising: bool, generator: np.random.Generator
) -> Array:
    """Values (repetitions, seeds, candidates) without any effect."""
    place = np.arange(candidates)
    apart = place[:, None] - place[None, :]
    covariance = np.eye(candidates) if length == 0 else np.exp(-0.5 * (apart / length) ** 2)
    factor = np.linalg.cholesky(covariance + 1e-9 * np.eye(candidates))
    scale = np.linspace(1, 4, candidates) if rising else np.ones(candidates)
    return np.asarray(generator.standard_normal((repetitions, seeds, candidates)) @ factor.T * scale)


def held_out(values: Array, counts: Array | None = None) -> Array:
    """For each seed the value at the candidate that is best, smallest, on the others (repetitions, seeds).

    Args:
        values: (repetitions, seeds, candidates).
        counts: how often each seed stands in a resample (repetitions, seeds); all copies of a seed are left out.
    """
    counts = np.ones(values.shape[:2]) if counts is None else counts
    weighted = values * counts[:, :, None]
    others = weighted.sum(axis=1, keepdims=True) - weighted
    best = others.argmin(axis=2)
    return np.asarray(np.take_along_axis(values, best[:, :, None], axis=2)[:, :, 0])


def by_t(gaps: Array, widening: float = 1.0) -> NDArray[np.bool_]:
    """Whether Student's interval, widened, leaves out 0."""
    count = gaps.shape[1]
    half = t.ppf(0.975, count - 1) * gaps.std(axis=1, ddof=1) / np.sqrt(count) * widening
    return np.abs(gaps.mean(axis=1)) > half


def naive(values: Array, generator: np.random.Generator) -> NDArray[np.bool_]:
    """The values taken as independent."""
    return by_t(held_out(values))


def corrected(values: Array, generator: np.random.Generator) -> NDArray[np.bool_]:
    """The variance of the mean s² (1/n + 1/(n-1)) instead of s²/n."""
    count = values.shape[1]
    return by_t(held_out(values), (1 + count / (count - 1)) ** 0.5)


def bootstrap(values: Array, generator: np.random.Generator) -> NDArray[np.bool_]:
    """The percentiles of the mean over resampled seeds, the choice repeated in each resample."""
    count = values.shape[1]
    means = []
    for _ in range(BOOTSTRAPS):
        counts = generator.multinomial(count, [1 / count] * count, size=len(values)).astype(float)
        means.append((held_out(values, counts) * counts).sum(axis=1) / count)
    low, high = np.percentile(np.array(means), [2.5, 97.5], axis=0)
    return np.asarray((low > 0) | (high < 0))


METHODS: dict[str, Callable[[Array, np.random.Generator], NDArray[np.bool_]]] = {
    "naive t": naive,
    "corrected t": corrected,
    "nested bootstrap": bootstrap,
}


def rates(repetitions: int, seed: int, methods: Sequence[str]) -> list[tuple[int, int, float, bool, dict[str, float]]]:
    """Seeds, candidates, correlation length, whether noise rises, and the rate of each method."""
    generator = np.random.default_rng(seed)
    rows = []
    for seeds in SEEDS:
        for candidates in CANDIDATES:
            for length in LENGTHS:
                for rising in (False, True):
                    values = curves(repetitions, seeds, candidates, length, rising, generator)
                    rejections = {}
                    for name in methods:
                        some = values[:2_000] if name == "nested bootstrap" else values
                        rejections[name] = float(METHODS[name](some, generator).mean())
                    rows.append((seeds, candidates, length, rising, rejections))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"| seeds | candidates | correlation length | noise | {' | '.join(METHODS)} |")
    print(f"|---|---|---|---|{'---|' * len(METHODS)}")
    for seeds, candidates, length, rising, rejections in rates(arguments.repetitions, arguments.seed, list(METHODS)):
        cells = " | ".join(f"{100 * rate:.1f} %" for rate in rejections.values())
        print(f"| {seeds} | {candidates} | {length:g} | {'rising' if rising else 'even'} | {cells} |")


if __name__ == "__main__":
    main()
