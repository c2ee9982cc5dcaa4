"""What a comparison's intervals support, in words, and what they do not."""

from collections.abc import Iterator, Mapping

from guideplug.compare.result import BUDGETS, Budget, Comparison

__all__ = ["WHAT", "arm", "sentences"]

WHAT = {"time": "At equal time", "examples": "At equal examples", "iterations": "At equal iterations"}


def arm(guider: str, selector: str) -> str:
    """An arm's name."""
    sampled = "unguided" if guider == "none" else guider
    return f"{sampled} with {'no selection' if selector == 'none' else selector}"


def sentences(comparison: Comparison, names: Mapping[tuple[str, str], str] | None = None) -> list[str]:
    """For each budget what can be told of each arm beside the first one, and how far all that carries.

    Args:
        comparison: what was found.
        names: what to call the arms; by default what they are.
    """
    names = names or {pair: arm(*pair) for pair in comparison.arms}
    if len(comparison.seeds) < 2:
        return ["One seed: nothing here says what another would give. Give several, as in --seeds 0,1,2,3,4."]
    if len(comparison.arms) < 2:
        return ["One arm: there is nothing to compare it with."]
    return [line for budget in BUDGETS for line in _of_budget(comparison, budget, names)] + [_caution(comparison)]


def _of_budget(comparison: Comparison, budget: Budget, names: Mapping[tuple[str, str], str]) -> Iterator[str]:
    """Arms of which nothing can be told come together in one sentence."""
    first, *others = comparison.arms
    alike = []
    for pair in others:
        better, worse, open_ = _told(comparison, *pair, budget)
        if not better and not worse:
            alike.append(names[pair])
            continue
        parts = [
            f"is {word} than {names[first]} in {', '.join(metrics)}"
            for word, metrics in (("better", better), ("worse", worse))
            if metrics
        ]
        rest = f"; {len(open_)} of {len(better + worse + open_)} metrics cannot tell" if open_ else ""
        yield f"{WHAT[budget]}, {names[pair]} {' and '.join(parts)}{rest}."
    if alike:
        yield f"{WHAT[budget]}, no metric can tell {', '.join(alike)} from {names[first]}: every interval holds 0."


def _told(comparison: Comparison, guider: str, selector: str, budget: Budget) -> tuple[list[str], list[str], list[str]]:
    """The metrics in which an arm is better than the first one, worse, and those that cannot tell."""
    better: list[str] = []
    worse: list[str] = []
    open_: list[str] = []
    for metric, facts in comparison.metrics.items():
        difference = comparison.difference(guider, selector, metric, budget)
        if difference is None or facts["better"] == "truth":
            continue
        if not difference.clear:
            open_.append(metric)
        else:
            (better if (difference.mean > 0) == (facts["better"] == "higher") else worse).append(metric)
    return better, worse, open_


def _caution(comparison: Comparison) -> str:
    count = (len(comparison.arms) - 1) * len(comparison.metrics) * len(BUDGETS)
    return (
        f"Intervals are 95 % for each difference by itself, over {len(comparison.seeds)} seeds: of {count} differences "
        f"about {max(round(count / 20), 1)} would leave out 0 by chance alone."
    )
