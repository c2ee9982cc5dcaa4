"""What a run says at its end: the table, what guidance did, what selection did, what it cost, what to try next."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs

from guideplug.config import shell_quote, short
from guideplug.guide import Guider
from guideplug.recipes import Train
from guideplug.run.config import RunConfig
from guideplug.run.experiment import Outcome
from guideplug.task import Metric

__all__ = ["cost_sentences", "guidance_sentence", "next_commands", "selection_sentence", "table_rows"]

ARROWS = {"higher": "↑", "lower": "↓", "truth": "≈"}
SAME = 0.01
"""Changes below this share of the unguided value are called no change."""
LEAST = 0.8
"""A group selected at less than this ratio to a blind choice, or more than its inverse, is named."""
ENOUGH = 100
"""Only groups of which a blind choice would have taken so many are compared: the ratio is then good to a tenth."""
MOST_GROUPS = 4


def table_rows(
    arms: Mapping[str, Mapping[str, float | None]], metrics: Sequence[Metric]
) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table: metric with its arrow, aspect, a value for each arm."""
    header = ["metric", "aspect", *arms]
    rows = [
        [
            f"{metric.name} {ARROWS[metric.better]}",
            metric.aspect,
            *(_number(arms[arm].get(metric.name)) for arm in arms),
        ]
        for metric in metrics
    ]
    return header, rows


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1e5 else f"{value:.2e}"


def guidance_sentence(config: RunConfig, outcome: Outcome) -> str:
    """What guidance did to fidelity and to coverage: which way most metrics of the aspect went."""
    if config.guider is None:
        return "No guider was chosen: samples are unguided."
    said = " and ".join(filter(None, (_verdict(aspect, outcome) for aspect in ("fidelity", "coverage"))))
    return f"Guidance ({short(config.guider)}) {said or 'was not measured'}. One seed: another may say otherwise."


def _verdict(aspect: str, outcome: Outcome) -> str:
    """Raised, lowered, or left as it was; with the metric of that aspect that changed most in that direction."""
    arms = outcome.metrics["arms"]
    gains: dict[Metric, float] = {}
    for metric in outcome.table:
        before, after = arms["unguided"].get(metric.name), arms["guided"].get(metric.name)
        if metric.aspect == aspect and metric.better != "truth" and before is not None and after is not None:
            gains[metric] = _gain(metric, before, after, arms.get("truth", {}).get(metric.name))
    better = [metric for metric, gain in gains.items() if gain > SAME]
    worse = [metric for metric, gain in gains.items() if gain < -SAME]
    if not gains:
        return ""
    if not better and not worse:
        return f"left {aspect} as it was ({_values(next(iter(gains)), arms)})"
    if better and worse and len(better) == len(worse):
        most, least = max(better, key=lambda m: gains[m]), min(worse, key=lambda m: gains[m])
        return f"moved {aspect} both ways ({_values(most, arms)}; {_values(least, arms)})"
    word, moved = ("raised", better) if len(better) > len(worse) else ("lowered", worse)
    metric = max(moved, key=lambda m: abs(gains[m]))
    return f"{word} {aspect} ({_values(metric, arms)}; {len(moved)} of {len(gains)} metrics)"


def _gain(metric: Metric, before: float, after: float, truth: float | None) -> float:
    """The relative change, positive for better; 0 for a distance that moved less than a quarter of what truth scores.

    True samples score more than 0 in a distance only by the noise of counting.
    """
    gain = (after - before) / max(abs(before), 1e-6)
    if metric.better == "higher":
        return gain
    noise = 0.25 * abs(truth or 0.0)
    return 0.0 if abs(after - before) <= noise else -gain


def _values(metric: Metric, arms: Mapping[str, Any]) -> str:
    before, after = (_number(arms[arm][metric.name]) for arm in ("unguided", "guided"))
    return f"{metric.name} {before} -> {after}"


def selection_sentence(config: RunConfig, outcome: Outcome) -> str:
    """What selection did: when it stopped, and how far from random it was."""
    main = config.main
    if not isinstance(main, Train):
        return f"No selector took part: the main network was not trained from scratch here ({main.name})."
    if main.selector is None:
        return "No selector was chosen: every example drawn was trained on."
    facts, examples = outcome.metrics["selection"], outcome.metrics["examples"]
    share = facts["effective_sample_size"]
    off, steps = facts["switched_off_at"], facts["iterations"]
    name = short(main.selector)
    parts = [f"stopped at step {off} of {steps}" if off is not None else f"ran through all {steps} steps"]
    if share is not None:
        kind = "nearly random" if share > 0.98 else "mildly selective" if share > 0.8 else "selective"
        parts.append(f"effective sample size {share:.1%}: {kind}")
    parts.append(f"{examples['backpropagated']:,} of {examples['seen']:,} examples drawn were trained on")
    parts += _composition(facts.get("composition"))
    return f"Selection ({name}) {'; '.join(parts)}."


def _composition(counts: Mapping[str, Sequence[Any]] | None) -> list[str]:
    """Which groups of the data were selected clearly more or less often than a blind choice would have."""
    if counts is None:
        return []
    groups, offered, selected = counts["groups"], counts["offered"], counts["selected"]
    share = sum(selected) / max(sum(offered), 1)
    ratios = {
        name: taken / (share * given)
        for name, given, taken in zip(groups, offered, selected, strict=True)
        if share * given >= ENOUGH
    }
    clear = [name for name, ratio in ratios.items() if not LEAST <= ratio <= 1 / LEAST]
    if not clear:
        return []
    clear = sorted(clear, key=lambda name: -abs(math.log(max(ratios[name], 1e-9))))[:MOST_GROUPS]
    said = ", ".join(f"{name} ×{ratios[name]:.2f}" for name in sorted(clear, key=lambda name: -ratios[name]))
    return [f"against a blind choice: {said}"]


def cost_sentences(outcome: Outcome) -> list[str]:
    """Network calls and outputs of each arm, per sample, and seconds of each phase."""
    samples = outcome.metrics["samples"]
    lines = []
    for arm, counts in outcome.metrics["evaluations"].items():
        used = {role: count for role, count in counts.items() if count["calls"]}
        each = ", ".join(f"{role} {count['outputs'] / samples:g}" for role, count in used.items())
        calls = sum(count["calls"] for count in used.values())
        lines.append(f"{arm}: {each} evaluations a sample ({calls} network calls in all)")
    seconds = outcome.metrics["seconds"]
    shown = ", ".join(f"{phase} {value:.1f}" for phase, value in seconds.items() if value >= 0.05)
    found = outcome.metrics["found"]
    note = f" ({' and '.join(found)} found in the store, with the seconds of their training)" if found else ""
    return [*lines, f"seconds: {shown or 'less than 0.1'}{note}"]


def _stronger(guider: Guider) -> str:
    """The guider with its weight raised by 1, where it has one that can be."""
    weight = getattr(guider, "weight", None)
    if isinstance(weight, int | float):
        raised = int(weight + 1) if float(weight).is_integer() else weight + 1
        with contextlib.suppress(ValueError):
            return short(attrs.evolve(cast(Any, guider), weight=raised))
    return guider.name


def next_commands(config: RunConfig, outcome: Outcome, guiders: Sequence[str]) -> list[str]:
    """Two commands worth trying next."""
    guider = config.guider
    if guider is None:
        other = shown = next(iter(guiders), "autoguidance")
    else:
        other, shown = _stronger(guider), short(guider)
    where = "".join(f" --plugin {shell_quote(path)}" for path in config.plugins)
    return [
        f"guideplug sample {shell_quote(str(outcome.folder))} --guider {shell_quote(other)}",
        f"guideplug explain {shell_quote(shown)} --task {shell_quote(short(config.task))}{where}",
    ]
