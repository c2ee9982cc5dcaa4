"""What guidance did, in one sentence: to fidelity, to coverage, and to what measures both at once."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from attrs import frozen

from guideplug.task import Metric

__all__ = ["Change", "changes", "number", "verdict"]

Values: TypeAlias = Mapping[str, float | None]

WORDS = {
    "fidelity": ("raised fidelity", "lowered fidelity", "moved fidelity both ways", "left fidelity as it was"),
    "coverage": ("raised coverage", "lowered coverage", "moved coverage both ways", "left coverage as it was"),
    "both": (
        "brought the whole nearer to the truth",
        "took the whole further from the truth",
        "moved the whole both ways",
        "left the whole as it was",
    ),
}
"""What is said of each aspect: better, worse, both, neither."""
SAME = 0.01
"""Changes below this share of the unguided value are called no change."""


@frozen
class Change:
    """A metric of unguided and of guided samples, and how much better it became, as a share; 0 within noise."""

    metric: str
    before: float
    after: float
    gain: float

    def __str__(self) -> str:
        return f"{self.metric} {number(self.before)} -> {number(self.after)}"


def number(value: float | None) -> str:
    """A value as the table prints it."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1e5 else f"{value:.2e}"


def changes(metrics: Sequence[Metric], arms: Mapping[str, Values], samples: int, aspect: str) -> list[Change]:
    """How the metrics of an aspect changed under guidance, those that say which way is better."""
    found = []
    for metric in metrics:
        before, after = arms["unguided"].get(metric.name), arms["guided"].get(metric.name)
        if metric.aspect == aspect and metric.better != "truth" and before is not None and after is not None:
            truth = arms.get("truth", {}).get(metric.name)
            gain = (after - before) / max(abs(before), 1e-6) * (1 if metric.better == "higher" else -1)
            within = abs(gain) <= SAME or abs(after - before) <= _noise(metric, before, after, truth, samples)
            found.append(Change(metric.name, before, after, 0.0 if within else gain))
    return found


def _noise(metric: Metric, before: float, after: float, truth: float | None, samples: int) -> float:
    """A change that counting alone may make.

    A share of N samples has a standard deviation of at most 1 / (2 sqrt(N)). A distance that true samples score above 0
    in, they do so by the noise of counting: a quarter of it counts as that.
    """
    share = all(0 <= value <= 1 for value in (before, after, *(() if truth is None else (truth,))))
    of_share = 0.5 / math.sqrt(samples) if share and metric.better == "higher" else 0.0
    of_distance = 0.25 * abs(truth or 0.0) if metric.better == "lower" else 0.0
    return max(of_share, of_distance)


def _rank(change: Change) -> tuple[bool, float]:
    """Those that moved most first; last those around 0, whose share of change says nothing."""
    return change.before * change.after <= 0, -abs(change.gain)


def verdict(metrics: Sequence[Metric], arms: Mapping[str, Values], samples: int) -> str:
    """What guidance did to each aspect, with the metric that moved most, and the one that moved most against it."""
    said = []
    for aspect, (up, down, both, neither) in WORDS.items():
        found = changes(metrics, arms, samples, aspect)
        better = sorted((one for one in found if one.gain > 0), key=_rank)
        worse = sorted((one for one in found if one.gain < 0), key=_rank)
        if better and worse:
            said.append(f"{both} ({better[0]}, but {worse[0]})")
        elif better or worse:
            word, most = (up, better[0]) if better else (down, worse[0])
            said.append(f"{word} ({most}; {len(better + worse)} of {len(found)} metrics)")
        elif found:
            said.append(f"{neither} ({found[0]})")
    return ", ".join(said[:-1]) + " and " * (len(said) > 1) + said[-1] if said else "was not measured"
