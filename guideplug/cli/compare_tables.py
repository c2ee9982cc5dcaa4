"""The printed result of a comparison: tables that fit the terminal, and the sentences on the arms, in few lines.

Metrics go down and arms across where all arms fit beside each other; else arms go down, and metrics across in as many
tables as they need, those of an aspect together. Budgets that choose the same snapshots share their tables. What stands
here is in ``tables.md`` too, for every arm in words.
"""

import itertools
import string
from collections.abc import Iterator, Mapping, Sequence

from guideplug.cli.echo import echo
from guideplug.cli.table import print_table, table_width
from guideplug.config import NONE
from guideplug.experiments.comparison import Comparison
from guideplug.experiments.comparison.digits import cell, number
from guideplug.experiments.comparison.result import BUDGETS, Arm, Budget
from guideplug.experiments.comparison.sentences import WHAT, arm, for_shared, judge, opening, sentences
from guideplug.experiments.comparison.tables import ARROWS, budget_of, spent
from guideplug.run.console import Console
from guideplug.run.summary import FAILED

__all__ = ["counted", "grouped", "tell"]

WIDTH = 120
"""Columns without a terminal, and the most on a wider one."""
FEW = 6
"""Most arms that sentences call by name; more get letters."""
MOST = 12
"""Most lines of sentences."""


def tell(comparison: Comparison) -> None:
    """Print the tables and the sentences."""
    console = Console()
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    letters = dict(zip(comparison.arms, _letters(), strict=False)) if len(comparison.arms) > FEW else {}
    names = {pair: _name(comparison, *pair) for pair in comparison.arms}
    if common := _common(comparison):
        echo(common)
    labels = {pair: f"{letters[pair]}  {name}" if letters else name for pair, name in names.items()}
    if _needs_letters(list(labels.values()), width):
        letters = letters or dict(zip(comparison.arms, _letters(), strict=False))
        for pair, name in names.items():
            echo(f"  {letters[pair]}  {name}")
        labels = dict(letters)
    for budgets in _alike(comparison):
        for title, header, rows in _tables(comparison, budgets, labels, width):
            print_table(Console(width=width), title, header, rows, words=1)
    for line in grouped(comparison, letters or names):
        echo(line)


def counted(count: int, thing: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


# Names


def _letters() -> Iterator[str]:
    """A, B, ... Z, AA, AB, ..."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_uppercase, repeat=length))


def _name(comparison: Comparison, guider: str, selector: str) -> str:
    """An arm's name without what all arms have in common."""
    if len(comparison.selectors) == 1 < len(comparison.guiders):
        return "unguided" if guider == NONE else guider
    if len(comparison.guiders) == 1 < len(comparison.selectors):
        return "no selection" if selector == NONE else selector
    return arm(guider, selector)


def _common(comparison: Comparison) -> str:
    if len(comparison.selectors) == 1 < len(comparison.guiders):
        (selector,) = comparison.selectors
        return f"Every arm is trained with {'no selection' if selector == 'none' else selector}."
    if len(comparison.guiders) == 1 < len(comparison.selectors):
        (guider,) = comparison.guiders
        return f"Every arm samples {'unguided' if guider == 'none' else f'with {guider}'}."
    return ""


def _needs_letters(names: Sequence[str], width: int) -> bool:
    """Whether names leave less than half of the width, or so, for numbers."""
    return max(map(len, names)) > 0.45 * width


# Tables


def _alike(comparison: Comparison) -> list[tuple[Budget, ...]]:
    """The budgets, those together that choose the same snapshots and miss the same arms."""
    groups: list[tuple[Budget, ...]] = []
    for budget in BUDGETS:
        for index, group in enumerate(groups):
            same = comparison.chosen(group[0]) == comparison.chosen(budget)
            if same and comparison.missed(group[0]).keys() == comparison.missed(budget).keys():
                groups[index] = (*group, budget)
                break
        else:
            groups.append((budget,))
    return groups


def _at(budgets: Sequence[Budget]) -> str:
    """``At equal time``, ``At equal time and examples``."""
    first, *others = (WHAT[budget] for budget in budgets)
    rest = [text.removeprefix("At equal ") for text in others]
    return " and ".join([", ".join([first, *rest[:-1]]), *rest[-1:]])


def _title(comparison: Comparison, budgets: Sequence[Budget]) -> str:
    limits = ", ".join(budget_of(comparison, budget) for budget in budgets)
    return f"{_at(budgets)}{',' if len(budgets) == 1 else ':'} {limits}; {counted(len(comparison.seeds), 'seed')}"


def _tables(
    comparison: Comparison, budgets: Sequence[Budget], labels: Mapping[Arm, str], width: int
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table of some budgets."""
    title = _title(comparison, budgets)
    header, *rows = _arms_down(comparison, budgets, labels)
    paid = len(_paid(budgets))
    across = [list(column) for column in zip(header, *rows, strict=True)]
    turned = [*across[1 + paid :], *across[1 : 1 + paid]]
    heads = ["", *(row[0] for row in rows)]
    if len(labels) <= FEW and table_width(heads, turned) <= width:
        yield title, heads, turned
        return
    parts = _parted(comparison, across[1 + paid :], across[: 1 + paid], width)
    for index, columns in enumerate(parts):
        lines = [list(line) for line in zip(*columns, strict=True)]
        part = f" (table {index + 1} of {len(parts)})" if len(parts) > 1 else ""
        yield title + part, lines[0], lines[1:]


def _paid(budgets: Sequence[Budget]) -> list[str]:
    return ["step", *(budget for budget in budgets if budget != "iterations")]


def _arms_down(comparison: Comparison, budgets: Sequence[Budget], labels: Mapping[Arm, str]) -> list[list[str]]:
    """The whole table, its header first: arm, step, what was spent, a metric a column; true samples on top."""
    metrics = comparison.metrics
    heads = ["arm", *_paid(budgets), *(f"{metric} {ARROWS[facts['better']]}" for metric, facts in metrics.items())]
    rows = [heads]
    if any(comparison.truth.get(metric) is not None for metric in metrics):
        blank = [""] * len(_paid(budgets))
        rows.append(["true samples", *blank, *(number(comparison.truth.get(metric)) for metric in metrics)])
    for (guider, selector), label in labels.items():
        steps = [snapshot.step for (name, _), snapshot in comparison.chosen(budgets[0]).items() if name == selector]
        mark = spent(comparison, selector, budgets[0]).partition(" †")[1]
        cost = [spent(comparison, selector, budget).removesuffix(" †") for budget in budgets if budget != "iterations"]
        values = [
            cell(
                list(comparison.values(guider, selector, metric, budgets[0]).values()),
                len(comparison.seeds),
                FAILED if comparison.failed(guider, selector, metric) else "-",
            )
            for metric in metrics
        ]
        rows.append([label, f"{sum(steps) / len(steps):,.0f}{mark}", *cost, *values])
    return rows


def _parted(
    comparison: Comparison, columns: Sequence[list[str]], first: list[list[str]], width: int
) -> list[list[list[str]]]:
    """The columns of metrics in tables that fit, each after arm and spending; aspects that are too wide are torn."""

    def fits(columns: Sequence[list[str]]) -> bool:
        lines = [list(line) for line in zip(*columns, strict=True)]
        return table_width(lines[0], lines[1:]) <= width

    aspects: dict[str, list[list[str]]] = {}
    for facts, column in zip(comparison.metrics.values(), columns, strict=True):
        aspects.setdefault(facts["aspect"], []).append(column)
    parts = [list(first)]
    for together in aspects.values():
        begun = len(parts[-1]) > len(first)
        if begun and not fits([*parts[-1], *together]) and fits([*first, *together]):
            parts.append(list(first))
        for column in together:
            if not fits([*parts[-1], column]) and len(parts[-1]) > len(first):
                parts.append(list(first))
            parts[-1].append(column)
    return parts


# Words


def grouped(comparison: Comparison, names: Mapping[Arm, str], most: int = MOST) -> list[str]:
    """The sentences; beyond ``most`` lines, arms with the same summary share a line."""
    lines = sentences(comparison, names)
    if len(lines) <= most and len(comparison.arms) <= FEW:
        return lines
    openings = tuple(WHAT.values())
    kept = [line for line in lines if not line.startswith(openings)]
    summaries = [line for budgets in _alike(comparison) for line in _grouped_at(comparison, budgets, names)]
    return _cut(summaries, kept[:-1], kept[-1:], most)


def _cut(summaries: list[str], notes: list[str], last: list[str], most: int) -> list[str]:
    """The first summaries and notes, with room for both, and the last line, on how far they hold."""
    if len(summaries) + len(notes) + len(last) <= most:
        return [*summaries, *notes, *last]
    room = max(most - 1 - len(last), 0)
    shown = summaries[: max(room - len(notes), 2 * room // 3)]
    shown += notes[: room - len(shown)]
    return [*shown, f"{len(summaries) + len(notes) - len(shown)} more in tables.md", *last]


def _grouped_at(comparison: Comparison, budgets: Sequence[Budget], names: Mapping[Arm, str]) -> Iterator[str]:
    """The summaries at some budgets, for each arm that others are compared with."""
    for base in dict.fromkeys(other for _, other in comparison.pairs):
        beside = [pair for pair, other in comparison.pairs if other == base]
        yield from _grouped_beside(comparison, budgets, names, base, beside)


def _grouped_beside(
    comparison: Comparison, budgets: Sequence[Budget], names: Mapping[Arm, str], base: Arm, others: Sequence[Arm]
) -> Iterator[str]:
    """The summaries of some arms compared with one, most arms first; then the arms without a difference."""
    budget = budgets[0]
    missed = comparison.missed(budget)
    groups: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    without: dict[str, list[str]] = {}
    for pair in others:
        if {base[1], pair[1]} & missed.keys():
            continue
        summary = judge(comparison, pair, base, budget)
        at = opening(_at(budgets), for_shared(comparison, pair, base))
        if len(summary.without) == len(comparison.metrics):
            without.setdefault(at, []).append(names[pair])
            continue
        groups.setdefault((at, tuple(summary.better), tuple(summary.worse)), []).append(names[pair])
    alike = {key[0]: arms for key, arms in groups.items() if key[1:] == ((), ())}
    clear = {key: arms for key, arms in groups.items() if key[1:] != ((), ())}
    for (at, better_in, worse_in), arms in sorted(clear.items(), key=lambda item: -len(item[1])):
        parts = [
            f"{word} in {'every metric' if len(where) == len(comparison.metrics) > 1 else ', '.join(where)}"
            for word, where in (("better", better_in), ("worse", worse_in))
            if where
        ]
        yield f"{at}, {' and '.join(parts)} than {names[base]}: {', '.join(arms)}"
    for at, arms in alike.items():
        yield f"{at}, no metric can tell from {names[base]}: {', '.join(arms)}"
    for at, arms in without.items():
        yield f"{at}, no interval (too few values): {', '.join(arms)}"
