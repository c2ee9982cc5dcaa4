"""The conclusions that a comparison's intervals support, in words, and their limits."""

from collections.abc import Iterator, Mapping

import attrs

from guideplug.config import NONE
from guideplug.experiments.comparison.digits import seconds
from guideplug.experiments.comparison.result import BUDGETS, Arm, Budget, Comparison, Miss

__all__ = ["WHAT", "Verdict", "amount", "arm", "for_shared", "judge", "opening", "remarks", "sentences"]

WHAT: Mapping[Budget, str] = {
    "time": "At equal time",
    "examples": "At equal examples",
    "iterations": "At equal iterations",
}


HARDLY = 0.02
"""Share of iterations with the selector on, below which its trainings say little about it."""
BLIND = 0.98
"""Effective sample size, as a share, above which selection is nearly random."""


def arm(guider: str, selector: str) -> str:
    """An arm's name."""
    sampled = "unguided" if guider == NONE else guider
    return f"{sampled} with {_selection(selector)}"


def _selection(selector: str) -> str:
    return "no selection" if selector == NONE else selector


def amount(value: float, budget: Budget) -> str:
    """An amount of a budget, with its unit."""
    return seconds(value) if budget == "time" else f"{value:,.0f} {budget}"


def for_shared(comparison: Comparison, *arms: Arm) -> str:
    """The shared networks that an interval of arms is restricted to; empty without any."""
    guides = {role for guider, _ in arms for role in comparison.shared_guides.get(guider, ())}
    references = {role for _, selector in arms for role in comparison.shared_references.get(selector, ())}
    parts = [
        f"th{'ese' if len(roles) > 1 else 'is'} {name}{'s' if len(roles) > 1 else ''}"
        for name, roles in (("guide", guides), ("reference", references))
        if roles
    ]
    return f"for {' and '.join(parts)}" if parts else ""


def opening(at: str, shared: str) -> str:
    """The opening of a sentence: the budgets, and the shared networks that it is restricted to."""
    return f"{at} and {shared}" if shared else at


def sentences(comparison: Comparison, names: Mapping[Arm, str] | None = None) -> list[str]:
    """Conclusions per budget on arms that differ in one thing, and their limits.

    Args:
        comparison: the results.
        names: names of the arms; by default their expressions.
    """
    names = names or {pair: arm(*pair) for pair in comparison.arms}
    if len(comparison.seeds) < 2:
        alone = "One seed: nothing here says what another would give. Give several, as in --seeds 0,1,2,3,4."
        return [alone, *remarks(comparison)]
    if len(comparison.arms) < 2:
        return ["One arm: there is nothing to compare it with.", *remarks(comparison)]
    lines = [line for budget in BUDGETS for line in _of_budget(comparison, budget, names)]
    return [*lines, *remarks(comparison), _caution(comparison)]


@attrs.define
class Verdict:
    """The metrics in which an arm is better than another, worse, undecided, and without an interval."""

    better: list[str] = attrs.field(factory=list)
    worse: list[str] = attrs.field(factory=list)
    open: list[str] = attrs.field(factory=list)
    without: list[str] = attrs.field(factory=list)


def judge(comparison: Comparison, one: Arm, other: Arm, budget: Budget) -> Verdict:
    """The verdict on an arm beside another, metric by metric."""
    verdict = Verdict()
    for metric, facts in comparison.metrics.items():
        difference = comparison.difference(one, other, metric, budget)
        if difference is None:
            verdict.without.append(metric)
        elif not difference.clear:
            verdict.open.append(metric)
        else:  # for "truth" metrics the difference is of distances, and lower is better
            (verdict.better if (difference.mean > 0) == (facts["better"] == "higher") else verdict.worse).append(metric)
    return verdict


def _of_budget(comparison: Comparison, budget: Budget, names: Mapping[Arm, str]) -> Iterator[str]:
    """Sentences at a budget; undecided arms share one sentence per arm that they are compared with."""
    missed = comparison.missed(budget)
    alike: dict[tuple[int, Arm, str], list[str]] = {}
    count = len(comparison.metrics)
    for one, other in comparison.pairs:
        if {one[1], other[1]} & missed.keys():
            continue
        verdict = judge(comparison, one, other, budget)
        at = opening(WHAT[budget], for_shared(comparison, one, other))
        if not verdict.better and not verdict.worse:
            alike.setdefault((len(verdict.without), other, at), []).append(names[one])
            continue
        parts = [
            f"is {word} than {names[other]} in {', '.join(metrics)}"
            for word, metrics in (("better", verdict.better), ("worse", verdict.worse))
            if metrics
        ]
        rest = f"; {len(verdict.open)} of {count} metrics cannot tell" if verdict.open else ""
        rest += f"; {len(verdict.without)} of {count} have no interval" if verdict.without else ""
        yield f"{at}, {names[one]} {' and '.join(parts)}{rest}."
    for (without, other, at), arms in alike.items():
        if without == count:
            yield f"{at}, no metric has an interval for {', '.join(arms)} beside {names[other]}."
            continue
        rest = f" ({without} of {count} metrics have no interval)" if without else ""
        yield f"{at}, no metric can tell {', '.join(arms)} from {names[other]}: every interval holds 0{rest}."


# Limits of the numbers


def remarks(comparison: Comparison) -> list[str]:
    """Warnings about a comparison: missed budgets, prices of a busy machine, unknown costs, schedules."""
    sentences = [*_of_failures(comparison)]
    sentences += [_missed(comparison, miss) for budget in BUDGETS for miss in comparison.missed(budget).values()]
    if comparison.busy:
        sentences.append(f"The machine was busy while iterations were measured: {'; '.join(comparison.busy)}.")
    for selector, names in comparison.unknown.items():
        if names:
            sentences.append(
                f"What {selector} scores with comes from {', '.join(names)}: nobody knows what its training took, and "
                "it counts as 0."
            )
    return [*sentences, *_of_sharing(comparison), *_of_selecting(comparison), *_of_schedule(comparison)]


def _of_failures(comparison: Comparison) -> Iterator[str]:
    """Metrics that could not be measured everywhere, a sentence each, with the first reason."""
    for metric in dict.fromkeys(failure["name"] for failure in comparison.failures):
        failures = [failure for failure in comparison.failures if failure["name"] == metric]
        first = failures[0]
        where = f"{first['arm']}, {first['selector']}, seed {first['seed']}, step {first['step']}: {first['reason']}"
        yield (
            f"{metric} failed in {len(failures)} of its measurements ({where}): what is left of it is of fewer seeds "
            "where (n) is given; resuming the comparison does these again."
        )


def _of_sharing(comparison: Comparison) -> Iterator[str]:
    """Networks that trainings of several seeds share; none for one seed, which has no interval."""
    if len(comparison.seeds) < 2:
        return
    for name, of in (("guide", comparison.shared_guides), ("reference", comparison.shared_references)):
        for strategy, roles in of.items():
            listed = " and ".join(roles)
            yield (
                f"Trainings with different seeds share the {name} of {strategy} ({listed}): its intervals are about "
                f"that {name} and say nothing of another; by default each training has its own, with its own seed."
            )


def _of_selecting(comparison: Comparison) -> Iterator[str]:
    """Selectors that hardly selected, or nearly at random; random baselines are left out."""
    for selector, facts in comparison.phases.items():
        if selector == NONE or selector in comparison.baselines:
            continue
        on, size = facts.get("selecting", 1.0), facts.get("effective", 0.0)
        if on < HARDLY:
            yield f"{selector} was on in {100 * on:.1f} % of the iterations: its trainings are nearly those without it."
        elif size > BLIND:
            yield (
                f"{selector} chose nearly at random: the effective sample size of its choices is {size:.3f} of the "
                "super-batch."
            )


def _missed(comparison: Comparison, miss: Miss) -> str:
    at, limit = WHAT[miss.budget].lower(), amount(miss.limit, miss.budget)
    subject = "No selection" if miss.selector == NONE else miss.selector
    off = f"{100 * abs(miss.off):.3g} % {'more' if miss.off > 0 else 'less'} than"
    spent = f"with seed {miss.seed} it has spent {amount(miss.spent, miss.budget)}, {off} the budget of {limit}"
    advice = "give more --snapshots"
    if miss.reference >= miss.limit:
        spent += f", its reference alone {amount(miss.reference, miss.budget)}"
        advice = "give a longer --duration"
    elif miss.apart <= 1:
        spent += ", and one iteration is all that lies between its snapshots there"
        advice = "give a longer --duration"
    others = "; no selector is told of beside it there" if miss.selector == comparison.selectors[0] else ""
    return f"{subject} is not comparable {at}: {spent}; {advice}{others}."


def _of_schedule(comparison: Comparison) -> list[str]:
    if comparison.needs_end is None:
        return []
    ends = {(snapshot.selector, snapshot.seed): snapshot.step for snapshot in comparison.chosen("iterations").values()}
    early = [
        WHAT[budget].lower()
        for budget in BUDGETS
        if any(snapshot.step < ends[key] for key, snapshot in comparison.chosen(budget).items())
    ]
    if not early:
        return []
    return [
        f"The learning rate's schedule, {comparison.needs_end}, needs the end: {' and '.join(early)} snapshots before "
        "it are chosen, and they are not what a training that ends there would have given."
    ]


def _caution(comparison: Comparison) -> str:
    """The number of intervals expected to exclude 0 by chance; equal snapshots at several budgets count once."""
    distinct = set()
    for budget in BUDGETS:
        steps: dict[str, list[tuple[int, int]]] = {}
        for (selector, seed), training in comparison.chosen(budget).items():
            steps.setdefault(selector, []).append((seed, training.step))
        for one, other in comparison.pairs:
            snapshots = tuple(tuple(sorted(steps[selector])) for _, selector in (one, other))
            for metric in comparison.metrics:
                if comparison.difference(one, other, metric, budget) is not None:
                    distinct.add((one, other, metric, snapshots))
    if not distinct:
        return f"No interval exists over {len(comparison.seeds)} seeds: nothing is said of any arm."
    expected = len(distinct) / 20
    often = "fewer than 1" if expected < 1 else f"about {round(expected)}"
    return (
        f"Intervals are 95 % for each difference by itself, over {len(comparison.seeds)} seeds: of {len(distinct)} "
        f"different ones {often} would leave out 0 by chance alone."
    )
