"""The view of a state: as wide as the terminal, at most as high, the most important on top."""

from collections.abc import Sequence

import attrs
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from guideplug.cli.watch.chart import curve, scale
from guideplug.cli.watch.sentences import amount, lasting, progress
from guideplug.cli.watch.state import Count, Network, State

__all__ = ["Life", "view"]

STYLES = {
    "finished": "bold green",
    "running": "bold cyan",
    "interrupted": "bold yellow",
    "incomplete": "bold yellow",
    "failed": "bold red",
}
NARROW = 60
"""Columns below which details are left out."""
LABEL = 9
"""Columns of the numbers beside a curve."""


@attrs.frozen
class Life:
    """Signs of life: seconds of silence, and the verdict.

    Args:
        silent: seconds without a line in the log.
        verdict: "" while the silence is ordinary.
        gone: whether the process is known to be gone.
    """

    silent: float = 0.0
    verdict: str = ""
    gone: bool = False


def view(state: State, name: str, life: Life, width: int, height: int) -> RenderableType:
    """The whole view."""
    rows: list[RenderableType] = [*_head(state, name, life, width), *_failures(state)]
    training = state.networks.get(state.training)
    if training is not None and training.points:
        rows += _curves(training, width, 6 if height >= 30 else 3, under_way=state.status == "running")
    elif training is not None and training.status == "training":
        rows.append(_line(f"training {training.role}: ", f"{amount(training.total, training.unit)}, begun"))
    if state.networks and not state.phases:
        rows += _networks(list(state.networks.values()), width)
    for counts, label in ((state.phases, ""), (state.arms, "sampling ")):
        rows += [_bar(f"{label}{part}", count, width) for part, count in counts.items()]
    if state.metrics:
        rows += [Text(), _metrics(state, 3 if width < NARROW else 4)]
    return Group(*rows, *_last(state, height - _height(rows, state) - 1))


def _height(rows: Sequence[RenderableType], state: State) -> int:
    metrics = max((len(values) for values in state.metrics.values()), default=0)
    return len(rows) + (metrics + 1 if state.metrics else 0)


def _line(label: str, text: str, style: str = "") -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(label, "dim")
    line.append(text, style)
    return line


def _head(state: State, name: str, life: Life, width: int) -> list[Text]:
    line = Text(no_wrap=True, overflow="ellipsis" if not life.verdict else "fold")
    line.append(life.verdict or state.status, "bold red" if life.gone else STYLES.get(state.status, "bold yellow"))
    line.append(f"  {name}", "bold")
    parts = [str(part) for key in ("study", "task", "guider", "selector") if (part := state.run.get(key))]
    if width < NARROW or life.verdict:
        return [line, _line("", "  ".join(parts))] if parts else [line]
    line.append("".join(f"  {part}" for part in parts))
    return [line]


def _failures(state: State) -> list[Text]:
    lines = [text for _, name, text in state.lines if name == "observer"]
    if state.status in ("failed", "incomplete") and state.error:
        lines.append(state.error)
    return [Text(line, style="red", overflow="fold") for line in lines]


def _curves(network: Network, width: int, height: int, *, under_way: bool) -> list[RenderableType]:
    """Where a training is, its rates, its loss and the share that selection keeps."""
    done = network.status == "trained"
    say = [progress(network.reached, network.total, network.unit)]
    steps, seen = network.rate(lambda point: point.step), network.rate(lambda point: point.seen)
    if not done and under_way and network.left is not None:
        say.append(f"{lasting(network.left)} left")
    if steps:
        say.append(f"{steps:,.3g} it/s")
    if seen:
        say.append(f"{seen / 1000:,.3g}k ex/s" if seen >= 1000 else f"{seen:,.3g} ex/s")
    if done:
        say = [f"{network.step:,} steps in {lasting(network.seconds)}", *say[1:]]
    label, apart = f"{'trained' if done else 'training'} {network.role}  ", 1 if width < NARROW else len(say)
    rows: list[RenderableType] = [_line(label, ", ".join(say[:apart]))]
    if say[apart:]:
        rows.append(_line("", ", ".join(say[apart:])))
    if not done:
        rows.append(_meter(network.reached / network.total if network.total else 0.0, width))
    losses = [(point.reached, point.loss) for point in network.points if point.loss is not None]
    if losses:
        now = f"{losses[-1][1]:.4g}"
        lr = "" if network.lr is None or width < NARROW else f", lr {network.lr:.3g}"
        rows += _chart(f"loss {now}{lr}", losses, width, height, "cyan")
    if network.selects:
        kept = [(point.reached, point.kept) for point in network.points if point.kept is not None]
        size = "" if network.effective is None else f", effective sample size {network.effective:.0%}"
        rows += _chart(f"selects {kept[-1][1]:.0%} of late{size}", kept, width, 1, "magenta", percent=True)
    return rows


def _chart(
    label: str, points: Sequence[tuple[float, float]], width: int, height: int, style: str, *, percent: bool = False
) -> list[RenderableType]:
    low, high, logarithmic = scale([y for _, y in points])
    shown = [f"{value:.0%}" if percent else f"{value:.3g}" for value in (high, low)]
    lines = curve(points, max(width - LABEL - 1, 1), height)
    rows: list[RenderableType] = [_line("", f"{label}{', log scale' if logarithmic else ''}")]
    for place, line in enumerate(lines):
        edge = shown[0] if place == 0 else shown[1] if place == height - 1 else ""
        if height == 1:
            edge = shown[1] if shown[0] == shown[1] else f"{shown[1]}-{shown[0]}"
        row = Text(no_wrap=True, overflow="crop")
        row.append(f"{edge[:LABEL]:>{LABEL}} ", "dim")
        row.append(line, style)
        rows.append(row)
    return rows


def _meter(share: float, width: int) -> Text:
    share = min(max(share, 0.0), 1.0)
    full = round(share * (width - 5))
    line = Text(no_wrap=True, overflow="crop")
    line.append("━" * full, "green")
    line.append("─" * (width - 5 - full), "dim")
    line.append(f"{share:5.0%}")
    return line


def _bar(label: str, count: Count, width: int) -> Text:
    left = f", {lasting(count.left)} left" if count.left is not None and count.done < count.total else ""
    text = f"{count.done:,} of {count.total:,}{left}"
    room = max(width - max(len(label), 18) - len(text) - 2, 0)
    full = round(room * count.done / max(count.total, 1))
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{label:<18} ", "dim")
    if room >= 6:
        line.append("━" * full, "green")
        line.append("─" * (room - full), "dim")
        line.append(" ")
    line.append(text)
    return line


def _networks(networks: Sequence[Network], width: int) -> list[RenderableType]:
    ready = sum(network.status in ("found", "trained", "ready") for network in networks)
    states = ", ".join(f"{network.role} {network.status}" for network in networks)
    return [_line("networks ", f"{ready} of {len(networks)}" + (f": {states}" if width >= NARROW else ""))]


def _metrics(state: State, digits: int) -> Table:
    names = list(dict.fromkeys(name for values in state.metrics.values() for name in values))
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("metric", no_wrap=True, overflow="ellipsis", style="dim")
    for arm in state.metrics:
        table.add_column(Text(arm), justify="right", no_wrap=True, overflow="ellipsis")
    for name in names:
        row = [values.get(name) for values in state.metrics.values()]
        table.add_row(Text(name), *("-" if value is None else f"{value:.{digits}g}" for value in row))
    return table


def _last(state: State, room: int) -> list[Text]:
    """The last lines, each with its time since the run began."""
    count, begin = min(room, 8), state.begun or 0.0
    lines = []
    for time, name, text in state.lines[-count:] if count > 0 else ():
        since = lasting(time - begin) if time >= begin else "before"
        lines += [] if name in ("observer", "metrics") else [_line(f"{since:>8}  ", text, "dim")]
    return lines
