"""Markdown tables of a comparison: a row per arm, a column per metric; costs of trainings; sentences."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from guideplug.experiments.comparison.digits import cell, number, seconds
from guideplug.experiments.comparison.grid import Published
from guideplug.experiments.comparison.result import BUDGETS, NEAR, Arm, Budget, Comparison, Training
from guideplug.experiments.comparison.sentences import WHAT, amount, arm, for_shared, sentences
from guideplug.run.summary import FAILED

__all__ = ["ARROWS", "MISSED", "budget_of", "markdown", "spent"]

ARROWS = {"higher": "↑", "lower": "↓", "truth": "≈"}
MISSED = "†"
"""Mark of arms that are not comparable at a budget; the sentences give the reason."""
SHARED = "‡"
"""Mark of an interval that is about a guide or a reference which trainings share."""


def markdown(comparison: Comparison, published: Sequence[Published] = ()) -> str:
    """The tables per budget, with a row per arm and a column per metric; then the sentences."""
    seeds = len(comparison.seeds)
    parts = [
        f"# Comparison over {seeds} seeds: mean ± population standard deviation"
        if seeds > 1
        else "# Comparison over 1 seed"
    ]
    for budget in BUDGETS:
        lines = _table(comparison, budget, published)
        parts.append("\n".join([f"## {WHAT[budget]} ({budget_of(comparison, budget)})", "", *lines]))
    parts.append("\n".join(["## Where each training stood", "", *_stood(comparison)]))
    if comparison.phases:
        parts.append("\n".join(["## What selection costs", "", *_phases(comparison)]))
    title = "## Paired differences and 95 % intervals"
    parts.append("\n".join([title, "", *_differences(comparison)]))
    parts.append("\n".join(["## In words", "", *(f"- {line}" for line in sentences(comparison))]))
    return "\n\n".join(parts) + "\n"


def spent(comparison: Comparison, selector: str, budget: Budget) -> str:
    """The spending of a selector's trainings at a budget, a mean over the seeds; marked if they miss it."""
    of = [snapshot for (name, _), snapshot in comparison.chosen(budget).items() if name == selector]
    mark = f" {MISSED}" if selector in comparison.missed(budget) else ""
    mean = statistics.fmean(comparison.spent(snapshot, budget) for snapshot in of)
    return f"{amount(mean, budget) if budget == 'time' else f'{mean:,.0f}'}{mark}"


def budget_of(comparison: Comparison, budget: Budget) -> str:
    """The amount of a budget, in words."""
    limit = comparison.limit(budget)
    if budget == "time":
        charged = ", references included" if comparison.charge_reference else ""
        return f"{seconds(limit)} of training{charged}"
    return f"{limit:,.0f} {'examples back-propagated' if budget == 'examples' else 'iterations'}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _table(comparison: Comparison, budget: Budget, published: Sequence[Published]) -> list[str]:
    metrics = list(comparison.metrics)
    theirs = {(row.guider, row.selector, row.metric): row for row in published if row.budget == budget}
    lines = _head(["", "spent", *(f"{metric} {ARROWS[comparison.metrics[metric]['better']]}" for metric in metrics)])
    if any(comparison.truth.get(metric) is not None for metric in metrics):
        lines.append(_row(["true samples", "", *(number(comparison.truth.get(metric)) for metric in metrics)]))
    for guider, selector in comparison.arms:
        values = {metric: list(comparison.values(guider, selector, metric, budget).values()) for metric in metrics}
        cells = [
            cell(values[metric], len(comparison.seeds), FAILED if comparison.failed(guider, selector, metric) else "-")
            for metric in metrics
        ]
        lines.append(_row([arm(guider, selector), spent(comparison, selector, budget), *cells]))
        known = {metric: theirs[guider, selector, metric] for metric in metrics if (guider, selector, metric) in theirs}
        if known:
            lines.append(_row(["published", "", *(_theirs(known.get(metric), values[metric]) for metric in metrics)]))
    if comparison.missed(budget):
        lines += [
            "",
            f"{MISSED} not comparable {WHAT[budget].lower()}: more than {100 * NEAR:g} % off the budget; see the words "
            "below.",
        ]
    return lines


def _theirs(row: Published | None, ours: Sequence[float]) -> str:
    """A published number, and the distance of the measured mean from it in published standard deviations."""
    if row is None:
        return ""
    gap = f" ({(statistics.fmean(ours) - row.mean) / row.std:+.1f} std)" if ours and row.std > 0 else ""
    return f"{number(row.mean)} ± {number(row.std)}{gap}"


def _stood(comparison: Comparison) -> list[str]:
    """Steps, seconds and examples at each budget, means over the seeds; the price of an iteration."""
    counts: Mapping[str, Callable[[Training], float]] = {
        "step": lambda snapshot: snapshot.step,
        "drawn": lambda snapshot: snapshot.seen,
        "scored": lambda snapshot: snapshot.scored,
        "back-propagated": lambda snapshot: snapshot.backpropagated,
    }
    heads = ["", "selector", "seconds", "seconds of references", *counts, "ms an iteration", "ms once it is off"]
    lines = _head(heads)
    for budget in BUDGETS:
        chosen = comparison.chosen(budget)
        for selector in comparison.selectors:
            of = [snapshot for (name, _), snapshot in chosen.items() if name == selector]
            reference = seconds(statistics.fmean(snapshot.reference for snapshot in of)).removesuffix(" s")
            cost, unknown = comparison.costs[selector], comparison.unknown.get(selector)
            cells = [
                WHAT[budget],
                selector,
                seconds(statistics.fmean(snapshot.seconds for snapshot in of)).removesuffix(" s"),
                reference if not unknown else "unknown" if reference == "0" else f"{reference} + unknown",
                *(f"{statistics.fmean(map(count, of)):,.0f}" for count in counts.values()),
                f"{1000 * cost.on.seconds:.3g}",
                f"{1000 * cost.off.seconds:.3g}",
            ]
            lines.append(_row(cells))
    return lines


def _phases(comparison: Comparison) -> list[str]:
    """The shares of the clocked time of whole trainings, and the networks' outputs in scoring."""
    shares = ("data", "score", "select", "learn")
    heads = [*(f"{name}, %" for name in shares), "evaluations in scoring", "iterations on, %", "effective sample size"]
    lines = _head(["of a training's clocked time", *heads])
    for selector, seconds_of in comparison.phases.items():
        cells = [f"{100 * seconds_of[name]:.1f}" for name in shares]
        size = f"{seconds_of['effective']:.3f}" if "effective" in seconds_of else "-"
        on = f"{100 * seconds_of['selecting']:.1f}"
        lines.append(_row([selector, *cells, f"{seconds_of['evaluations']:,.0f}", on, size]))
    return lines


def _differences(comparison: Comparison) -> list[str]:
    metrics = comparison.metrics
    near = any(facts["better"] == "truth" for facts in metrics.values())
    heads = (f"{metric} {ARROWS[facts['better']]}" for metric, facts in metrics.items())
    lines = _head(["", "arm", "beside", *heads])
    for budget in BUDGETS:
        for one, other in comparison.pairs:
            cells = [_difference(comparison, one, other, metric, budget) for metric in metrics]
            lines.append(_row([WHAT[budget], arm(*one), arm(*other), *cells]))
    if near:
        lines += [
            "",
            f"{ARROWS['truth']} the difference of the distances to the value of true samples: lower is nearer.",
        ]
    shared = {for_shared(comparison, one, other) for one, other in comparison.pairs} - {""}
    if shared and len(comparison.seeds) > 1:
        lines += ["", f"{SHARED} {', or '.join(sorted(shared))} alone, which trainings share; see the words below."]
    return lines


def _difference(comparison: Comparison, one: Arm, other: Arm, metric: str, budget: Budget) -> str:
    difference = comparison.difference(one, other, metric, budget)
    if difference is None:
        missed = {one[1], other[1]} & comparison.missed(budget).keys()
        return MISSED if missed else "no interval"
    mark = "**" if difference.clear else ""
    about = f" {SHARED}" if for_shared(comparison, one, other) else ""
    fewer = f" (n {difference.count})" if difference.count < len(comparison.seeds) else ""
    return f"{mark}{difference.mean:+.4g} [{difference.low:+.4g}, {difference.high:+.4g}]{mark}{fewer}{about}"
