"""The summary of a run: the table, the effects of guidance and of selection, costs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs

from guideplug.config import command_line, short
from guideplug.recipe import MainRecipe, architecture
from guideplug.run.failure import Failure
from guideplug.run.outcome import Outcome
from guideplug.run.resolve import RunConfig
from guideplug.run.sweep import too_costly
from guideplug.run.verdict import Verdict, guidance, number, signed
from guideplug.task import Metric

__all__ = [
    "cost_sentences",
    "guidance_sentence",
    "incomplete",
    "metrics_line",
    "notes",
    "selection_sentence",
    "table_rows",
]

ARROWS = {"higher": "↑", "lower": "↓", "truth": "≈"}
FAILED = "failed"
"""A cell of the table whose value could not be measured."""
LEAST = 0.8
"""Groups selected below this ratio to a blind choice, or above its inverse, are named."""
ENOUGH = 100
"""Least expected count of a group under a blind choice; its ratio is then accurate to a tenth."""
MOST_GROUPS = 4


def table_rows(
    arms: Mapping[str, Mapping[str, float | None]],
    metrics: Sequence[Metric],
    judged: Sequence[Verdict] = (),
    failures: Sequence[Failure] = (),
) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table: metric with its arrow, aspect, values, and differences where there are any.

    The aspect of a primary metric has a star. What failed stands there as `FAILED`.
    """
    differences = {verdict.metric: signed(verdict.difference) for verdict in judged}
    differences |= {failure.name: FAILED for failure in failures if failure.part == "interval"}
    failed = {(failure.name, failure.arm) for failure in failures if failure.part == "metric"}
    primary = {verdict.metric for verdict in judged if verdict.primary}
    header = ["metric", "aspect", *arms, *(["difference, 95 %"] if differences else [])]
    rows = []
    for metric in metrics:
        row = [
            f"{metric.name} {ARROWS[metric.better]}",
            f"{metric.aspect} *" if metric.name in primary else metric.aspect,
            *(FAILED if (metric.name, arm) in failed else number(arms[arm].get(metric.name)) for arm in arms),
        ]
        rows.append([*row, *([differences.get(metric.name, "")] if differences else [])])
    return header, rows


def metrics_line(config: RunConfig) -> str:
    """Where the table's metrics are explained: by a command, for tasks that it can make without options."""
    if any(field.default is attrs.NOTHING for field in attrs.fields(cast(Any, type(config.task)))):
        return "what the metrics mean: the tooltips of their names in the page"
    return f"what the metrics mean: {command_line('plugins', 'show', config.task.name, plugins=config.plugins)}"


def incomplete(outcome: Outcome, resume: str) -> str:
    """What failed in a run, and how to finish it."""
    failures = "; ".join(map(str, outcome.failures))
    return f"{failures}; all else is kept in {outcome.folder}: mend it, and finish with {resume}"


def guidance_sentence(config: RunConfig, outcome: Outcome) -> str:
    """The effects of guidance on fidelity, on coverage, and on both at once."""
    if config.guider is None:
        return "No guider was chosen: samples are unguided."
    effects = guidance(outcome.verdicts)
    failed = {failure.name for failure in outcome.failures if failure.part in ("metric", "interval")}
    if missing := failed & set(config.task.primary()):
        effects = f"{effects}; " if effects else ""
        effects += f"not judged by {' and '.join(sorted(missing))}, which failed"
    if not effects:
        return (
            f"What guidance ({short(config.guider)}) did is not judged: task {config.task.name!r} names no primary "
            "metric that has an interval here."
        )
    return f"Guidance ({short(config.guider)}): {effects}. One seed: another may say otherwise."


def selection_sentence(config: RunConfig, outcome: Outcome) -> str:
    """The effect of selection: when it stopped, and its distance from random choice."""
    main = config.main
    selector = getattr(main, "selector", None)
    if selector is None and not isinstance(main, MainRecipe):
        return f"No selector took part: the main network was not trained from scratch here ({main.name})."
    if selector is None:
        return "No selector was chosen: every example drawn was trained on."
    facts, examples = outcome.metrics["selection"], outcome.metrics["examples"]
    share = facts["effective_sample_size"]
    off, steps = facts["switched_off_at"], facts["iterations"]
    name = short(selector)
    parts = [f"stopped at step {off} of {steps}" if off is not None else f"ran through all {steps} steps"]
    if share is not None:
        kind = "nearly random" if share > 0.98 else "mildly selective" if share > 0.8 else "selective"
        parts.append(f"effective sample size {share:.1%}: {kind}")
    parts.append(f"{examples['backpropagated']:,} of {examples['seen']:,} examples drawn were trained on")
    parts += _composition(facts.get("composition"))
    return f"Selection ({name}) {'; '.join(parts)}."


def _composition(counts: Mapping[str, Sequence[Any]] | None) -> list[str]:
    """The groups of the data selected clearly more or less often than by a blind choice."""
    if counts is None:
        return []
    groups, offered, selected = counts["groups"], counts["offered"], counts["selected"]
    share = sum(selected) / max(sum(offered), 1)
    ratios = {
        name: taken / (share * count)
        for name, count, taken in zip(groups, offered, selected, strict=True)
        if share * count >= ENOUGH
    }
    clear = [name for name, ratio in ratios.items() if not LEAST <= ratio <= 1 / LEAST]
    if not clear:
        return []
    clear = sorted(clear, key=lambda name: -abs(math.log(max(ratios[name], 1e-9))))[:MOST_GROUPS]
    shares = ", ".join(f"{name} ×{ratios[name]:.2f}" for name in sorted(clear, key=lambda name: -ratios[name]))
    return [f"against a blind choice: {shares}"]


def cost_sentences(config: RunConfig, outcome: Outcome) -> list[str]:
    """Network calls and outputs of each arm, per sample, those of the page's slider, and seconds of each phase."""
    samples = outcome.metrics["samples"]
    lines = []
    for arm, counts in outcome.metrics["evaluations"].items():
        used = {role: count for role, count in counts.items() if count["calls"]}
        each = ", ".join(f"{role} {count['outputs'] / samples:g}" for role, count in used.items())
        calls = sum(count["calls"] for count in used.values())
        lines.append(f"{arm}: {each} outputs per sample, in {calls} network calls")
    if slider := outcome.metrics.get("slider"):
        spent = slider["evaluations"]
        each = ", ".join(f"{role} {count['outputs']:,}" for role, count in spent.items() if count["calls"])
        lines.append(
            f"slider of the page: {each} outputs, {slider['samples']} samples at each of {slider['weights']} weights"
        )
    elif costly := too_costly(config):
        lines.append(costly)
    seconds = outcome.metrics["seconds"]
    shown = ", ".join(f"{phase} {value:.1f}" for phase, value in seconds.items() if value >= 0.05)
    roles = outcome.metrics["found"]
    note = f" (training seconds of {' and '.join(roles)} as they were when the store got them)" if roles else ""
    return [*lines, f"seconds: {shown or 'less than 0.1'}{note}"]


def notes(config: RunConfig) -> list[str]:
    """Notes on unusual settings: a guide of another architecture than the network that it guides."""
    main = architecture(config.main)
    lines = []
    for role, recipe in config.models.items():
        other = architecture(recipe)
        if main is not None and other is not None and other.name != main.name and recipe != config.main:
            lines.append(
                f"note: {role} is a {other.name}, and main is {short(main)}; if it should be a version of main, give "
                f"--model {role}=PATH or a recipe"
            )
    return lines
