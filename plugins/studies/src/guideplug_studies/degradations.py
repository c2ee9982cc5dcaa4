"""What autoguidance undoes: one trained network, degraded on purpose as what is guided, and more so as the guide.

    D(x; sigma) = D_0(x; sigma) + w (D_1(x; sigma) - D_0(x; sigma))

D_1 and D_0 are one and the same network, degraded by the recipe ``degraded``: by dropout (a share of its units is set
to 0, drawn anew at each evaluation), or by input noise (x is made noisier by a share of sigma, which the network is
told).

Claims, of Karras et al. 2024, arXiv:2406.02507, section 4, on EDM2-S and ImageNet-512, by FID (undegraded 2.56):

1. Where both have the same degradation, guidance restores the undegraded network: dropout of 5 % and 10 % (4.98 and
   15.00 alone) gives 2.55 at w = 2.25, input noise of 10 % and 20 % (3.96 and 9.73) gives 2.56 at w = 2.00.
2. Where they differ, D_1 by dropout and D_0 by input noise or the other way round, guidance does not help: the best
   weight is 1, at which D_1 is alone.

Weight 1 is among those that are chosen from. Values at the best weight are held out: for each seed the value at the
weight that is best on the mean of the others. The share restored is that of the loss by the degradation: of means over
the seeds, (D_1 - guided) / (D_1 - undegraded) in distances to be made small; there is none where D_1 is no worse than
the undegraded network. Differences are paired over the seeds of the training, which are those of the draws too, with
95 % intervals by Student's t, those of held-out values widened
(`guideplug.metrics.held_out`).
Cost: one training per seed; a degraded network costs a call like any other, and dropout its draws.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from attrs import frozen

from guideplug import (
    Difference,
    Expression,
    Findings,
    Report,
    Source,
    Study,
    Table,
    Task,
    Trial,
    confidence_interval,
    held_out_interval,
    option,
    up_to,
)
from guideplug_studies.curves import COLOURS, MARKS, Curve, by_seed, points
from guideplug_studies.words import ARROWS, BETTER, TOLD, WIDENED, metrics_told, told

__all__ = ["Degradations"]

NONE = "none"
KINDS = ("dropout", "noise")
COLUMNS = (
    "metric", "D_1", "D_0", "undegraded", "D_1 alone", "best w", "guided, held out", "restored", "gain, 95 %",
    "to undegraded, 95 %", "verdict",
)  # fmt: skip


@final
@frozen
class Degradations(Study):
    """Autoguidance against dropout or input noise, with a guide that has more of the same or another degradation."""

    name = "degradations"
    source = Source(
        "T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine",
        2024,
        "Guiding a Diffusion Model with a Bad Version of Itself",
        "https://arxiv.org/abs/2406.02507",
        "section 4",
    )
    task: Task | None = option(None, help="the task; none for the default one; its network must offer dropout")
    guider: Expression = option(
        Expression("autoguidance(weight=1.25:3:0.25)"), help="a guider of the role weak with a range; 1 is added to it"
    )
    dropout: tuple[float, float] = option((0.05, 0.1), help="shares of units dropped: of D_1, of D_0")
    noise: tuple[float, float] = option((0.1, 0.2), help="shares by which the noise level rises: of D_1, of D_0")
    seeds: tuple[int, ...] = option((0, 1, 2), help="of the trainings, and of the draws of dropout and noise")
    samples: int | None = option(
        4096, help="samples of each trial; none for the task's", unit="samples", validator=up_to(100_000_000, least=2)
    )
    metrics: tuple[str, ...] = option(TOLD, help="which metrics are told, those that the task has")

    def trials(self) -> Sequence[Trial]:
        run: dict[str, object] = {} if self.task is None else {"task": self.task}
        if self.samples is not None:
            run["samples"] = self.samples
        along = points(self.guider)
        found = []
        for seed in self.seeds:
            here = {**run, "seed": seed}
            found.append(Trial(_axes(NONE, NONE, 1.0, seed), here))
            for kind in KINDS:
                models = {"base": f"train(seed={seed})", "main": self._degraded(kind, 0, seed)}
                found.append(Trial(_axes(kind, NONE, 1.0, seed), {**here, "models": models}))
                for guide in KINDS:
                    both = {**models, "weak": self._degraded(guide, 1, seed)}
                    found += [
                        Trial(_axes(kind, guide, weight, seed), {**here, "models": both, "guider": expression})
                        for weight, expression in along
                        if weight != 1
                    ]
        return found

    def _degraded(self, kind: str, place: int, seed: int) -> str:
        """The recipe of D_1 (place 0) or D_0 (place 1), of the one training that both are of."""
        share = (self.dropout if kind == "dropout" else self.noise)[place]
        return f"degraded(of=base, {kind}={share!r}, seed={seed})"

    def report(self, found: Findings) -> Report:
        metrics = metrics_told(found, self.metrics)
        every = [_Pair(found, metric, main, guide) for metric in metrics for main in KINDS for guide in KINDS]
        pairs = [pair for pair in every if pair.seeds]
        figure = {"degradations": lambda path: _draw(pairs, self._strength, path)}
        return Report(
            {"degradations": Table(COLUMNS, [self._row(pair) for pair in pairs])},
            [*_sentences(pairs), *self._caveats()],
            figure if pairs else {},
        )

    def _strength(self, kind: str, place: int) -> str:
        """A degradation with its strength, as D_1 (place 0) or D_0 (place 1) has it."""
        share = (self.dropout if kind == "dropout" else self.noise)[place]
        return f"{kind} {100 * share:g} %"

    def _row(self, pair: "_Pair") -> list[Any]:
        better = pair.found.better[pair.metric]
        return [
            f"{pair.metric} {ARROWS[better]}",
            self._strength(pair.main, 0),
            self._strength(pair.guide, 1),
            list(pair.undegraded.values()),
            list(pair.alone.values()),
            f"{pair.best:g}",
            list(pair.guided.values()),
            "-" if pair.restored is None else f"{100 * pair.restored:.0f} %",
            told(pair.gain, better),
            told(pair.left, better),
            pair.verdict,
        ]

    def _caveats(self) -> list[str]:
        if len(self.seeds) < 2:
            return ["one seed: no interval, and the best weight is chosen on the samples that it is measured on"]
        return [
            f"{len(self.seeds)} seeds, intervals of 95 % for each metric and pair by itself, those of guided "
            f"values {WIDENED}; that a difference is not "
            "told from 0 does not show that it is 0"
        ]


def _axes(main: str, guide: str, weight: float, seed: int) -> dict[str, str | float]:
    return {"main": main, "guide": guide, "weight": weight, "seed": seed}


class _Pair:
    """A metric of one pair of degradations: what guided (D_1), what guides (D_0)."""

    def __init__(self, found: Findings, metric: str, main: str, guide: str) -> None:
        self.found, self.metric, self.main, self.guide = found, metric, main, guide
        undegraded, alone = (by_seed(found.where(main=one, guide=NONE), metric) for one in (NONE, main))
        self.seeds = [seed for seed in undegraded if seed in alone]
        self.undegraded = {seed: undegraded[seed] for seed in self.seeds}
        self.alone = {seed: alone[seed] for seed in self.seeds}
        rows = found.where(main=main, guide=guide)
        each = {float(weight): by_seed(rows.where(weight=weight), metric) for weight in rows.axis("weight")}
        whole = {weight: row for weight, row in each.items() if all(seed in row for seed in self.seeds)}
        self.curve = Curve(f"{main} by {guide}", {1.0: self.alone, **whole})

    @property
    def best(self) -> float:
        """The weight that is best on the mean over the seeds, 1 among them."""
        return self.curve.candidates(self.found, self.metric).best()

    @property
    def guided(self) -> Mapping[int, float]:
        """For each seed the value at the weight that is best on the others."""
        return self.curve.candidates(self.found, self.metric).held_out()

    @property
    def compatible(self) -> bool:
        """Whether both have the same degradation."""
        return self.main == self.guide

    def _gaps(self, ours: Mapping[int, float], theirs: Mapping[int, float]) -> list[float]:
        """Differences of distances, seed by seed; negative where ours are better."""
        distance = self.found.distance
        return [distance(self.metric, ours[seed]) - distance(self.metric, theirs[seed]) for seed in ours]

    @property
    def lost(self) -> Difference | None:
        """What the degradation cost: D_1 alone against the undegraded network."""
        return confidence_interval(self._gaps(self.alone, self.undegraded))

    @property
    def gain(self) -> Difference | None:
        """Guided against D_1 alone."""
        return held_out_interval(self._gaps(self.guided, self.alone))

    @property
    def left(self) -> Difference | None:
        """Guided against the undegraded network."""
        return held_out_interval(self._gaps(self.guided, self.undegraded))

    @property
    def restored(self) -> float | None:
        """The share of what the degradation cost that guidance brings back, of means; None where it cost nothing."""
        lost = statistics.fmean(self._gaps(self.alone, self.undegraded))
        return statistics.fmean(self._gaps(self.alone, self.guided)) / lost if lost > 0 else None

    @property
    def verdict(self) -> str:
        """What the intervals say."""
        if self.gain is None or self.left is None:
            return "-"
        if not self.gain.clear:
            return "off is best" if self.best == 1 else "no gain told"
        if self.gain.low > 0:
            return "worse"
        if not self.left.clear:
            return "better, not told from undegraded"
        return "better than undegraded" if self.left.high < 0 else "better, not restored"


def _sentences(pairs: Sequence[_Pair]) -> list[str]:
    said = []
    for compatible, title in ((True, "the same degradation"), (False, "different degradations")):
        for main in KINDS:
            some = [pair for pair in pairs if pair.main == main and pair.compatible is compatible]
            if some:
                claim = "restores the undegraded network" if compatible else "does not help, the best weight is 1"
                who = f"{title} (D_1 {main}, D_0 {some[0].guide})"
                said.append(f"{who}: the paper says that guidance {claim}; here {_outcome(some)}")
    unharmed = [(pair.metric, pair.main) for pair in pairs if pair.compatible and not _harmed(pair)]
    if unharmed:
        listed = ", ".join(f"{metric} by {kind}" for metric, kind in unharmed)
        said.append(f"no loss is told that could be restored: {listed}")
    return said


def _harmed(pair: _Pair) -> bool:
    """Whether the degradation makes the network clearly worse; of one seed, whether it does at all."""
    return pair.restored is not None if pair.lost is None else pair.lost.low > 0


def _outcome(pairs: Sequence[_Pair]) -> str:
    """What each metric says, metrics of one verdict together."""
    groups: dict[str, list[str]] = {}
    for pair in pairs:
        share = "" if pair.restored is None else f", {100 * pair.restored:.0f} % restored"
        groups.setdefault(pair.verdict, []).append(f"{pair.metric} (w {pair.best:g}{share})")
    words = {"-": "of one seed"}
    return "; ".join(f"{words.get(verdict, verdict)}: {', '.join(names)}" for verdict, names in groups.items())


def _draw(pairs: Sequence[_Pair], strength: Any, path: Path) -> None:
    """Write a PNG: a row for each degradation of D_1, a column for each metric, a curve for each guide.

    The axis shows what lies between good and somewhat worse than D_1 alone; curves of guides that do harm leave it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(pair.metric for pair in pairs))
    figure = Figure(figsize=(3.4 * len(metrics) + 0.3, 6.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(KINDS), len(metrics), squeeze=False)
    for row, main in zip(panels, KINDS, strict=True):
        for panel, metric in zip(row, metrics, strict=True):
            here = [pair for pair in pairs if pair.metric == metric and pair.main == main]
            if not here:
                panel.set_visible(False)
                continue
            _panel(panel, here)
            if main == KINDS[0]:
                panel.set_title(f"{metric}: {BETTER[here[0].found.better[metric]]}", fontsize=9)
            else:
                panel.set_xlabel("guidance weight w (off at 1)", fontsize=9)
        row[0].set_ylabel(f"D_1: {strength(main, 0)}", fontsize=10)
    drawn = next(panel for panel in panels.ravel() if panel.get_visible())
    handles, labels = drawn.get_legend_handles_labels()
    said = {f"D_0: {kind}": f"guided by D_0: {strength(kind, 1)}" for kind in KINDS}
    figure.legend(
        handles, [said.get(label, label) for label in labels], loc="outside upper center", ncols=len(labels),
        frameon=False, fontsize=9,
    )  # fmt: skip
    figure.savefig(path)


def _panel(panel: Any, pairs: Sequence[_Pair]) -> None:
    first = pairs[0]
    whole = statistics.fmean(first.undegraded.values())
    alone = statistics.fmean(first.alone.values())
    shown = [whole, alone]
    for values, middle, colour, style, label in (
        (first.undegraded, whole, "#333333", "-", "undegraded network"),
        (first.alone, alone, "#888888", "--", "D_1 alone"),
    ):
        panel.axhline(middle, color=colour, linewidth=1.1, linestyle=style, label=label)
        if len(values) > 1:
            spread = statistics.pstdev(values.values())
            panel.axhspan(middle - spread, middle + spread, color=colour, alpha=0.1, linewidth=0)
            shown += [middle - spread, middle + spread]
    for number, pair in enumerate(pairs):
        weights = sorted(pair.curve.values)
        rows = [list(pair.curve.values[weight].values()) for weight in weights]
        means, stds = [statistics.fmean(row) for row in rows], [statistics.pstdev(row) for row in rows]
        panel.errorbar(
            weights, means, yerr=stds if max(map(len, rows)) > 1 else None, color=COLOURS[number], marker=MARKS[number],
            markersize=3.5, linewidth=1.3, elinewidth=0.7, capsize=2, label=f"D_0: {pair.guide}",
        )  # fmt: skip
        best = weights.index(pair.best)
        shown += [means[best] - stds[best], means[best] + stds[best]]
    low, high = min(shown), max(shown)
    room = (high - low) or 1.0
    worse_is_up = first.found.distance(first.metric, whole + room) > first.found.distance(first.metric, whole)
    panel.set_ylim(low - (0.15 if worse_is_up else 0.8) * room, high + (0.8 if worse_is_up else 0.15) * room)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25, linewidth=0.5)
