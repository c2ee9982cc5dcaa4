"""Where to stop the fine-tuning of SIMS's auxiliary network, and how strongly to guide with it.

    D(x; sigma) = D_r(x; sigma) + omega (D_r(x; sigma) - D_s(x; sigma)),   D_s stopped after a budget of iterations

One fine-tuning a seed, of a copy of the base on the base's own samples, with a snapshot at each budget; each snapshot
guides at each omega. So a longer budget costs no second training.

Claims, of Alemohammad et al. 2024, arXiv:2408.16333:

1. With a suitable budget and omega, guidance away from the auxiliary improves on the base: FID 1.97 to 1.41 on
   CIFAR-10, 2.39 to 1.04 on FFHQ-64, 1.58 to .92 on ImageNet-64, 2.56 to 1.73 on ImageNet-512.
2. The budget is a stopping point that has to be searched: the auxiliary should be neither too different from the base
   nor too similar to it. So the best budget is one between the shortest and the longest.

The best place on the grid is chosen on the mean over seeds; its values are held out: for each seed the value at the
place that is best on the mean of the others. Differences are paired over the seeds, with 95 % intervals that are
widened because held-out values depend on each other (`guideplug.metrics.held_out`).
The ends of the grid, each at the omega that is best for it, are compared with the best place in the same way.
Cost: a training, a fine-tuning of the longest budget and one sampling of the training set, for each seed.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, final

from attrs import frozen
from attrs.validators import deep_iterable, min_len

from guideplug import (
    Candidates,
    Difference,
    Expression,
    Findings,
    Report,
    Source,
    Study,
    Table,
    Trial,
    held_out_interval,
    option,
    positive,
    up_to,
)
from guideplug_studies.curves import UNGUIDED, by_seed, unguided_by_seed
from guideplug_studies.words import ARROWS, BETTER, TOLD, WIDENED, metrics_told, told

__all__ = ["Budget"]

Place: TypeAlias = tuple[int, float]
"""A budget and an omega."""

COLUMNS = (
    "metric", "guider", "unguided", "best budget", "best omega", "held out", "difference, 95 %", "verdict",
)  # fmt: skip
COLUMNS_OF_SEEDS = ("metric", "guider", "seed", "unguided", "best budget", "best omega", "there")


@final
@frozen
class Budget(Study):
    """When to stop fine-tuning SIMS's auxiliary network, and how strongly to guide with it: budgets times omegas."""

    name = "budget"
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    task: Expression = option(Expression("digits"), help="the task; budgets, count and lr are chosen for digits")
    guiders: tuple[Expression, ...] = option((Expression("sims"),), help="guiders of the role synthetic with an omega")
    budgets: tuple[int, ...] = option(
        (12, 48, 192, 768),
        help="where the fine-tuning is stopped",
        unit="iterations",
        validator=[min_len(1), up_to(100_000_000)],
    )
    omegas: tuple[float, ...] = option(
        (0.5, 1.0, 2.0, 4.0), help="guidance strengths", validator=[min_len(1), deep_iterable(positive)]
    )
    count: int = option(
        899, help="synthetic samples, as many as there are data", unit="samples", validator=up_to(100_000_000)
    )
    lr: float = option(
        0.0004, help="learning rate of the fine-tuning, constant; a tenth of the base's", validator=positive
    )
    seeds: tuple[int, ...] = option((0, 1, 2), help="of the trainings and of the fine-tunings")
    samples: int | None = option(
        None, help="samples of each trial; none for the task's", unit="samples", validator=up_to(100_000_000, least=2)
    )
    metrics: tuple[str, ...] = option(TOLD, help="which metrics are told, those that the task has")

    def trials(self) -> Sequence[Trial]:
        run: dict[str, object] = {"task": self.task}
        if self.samples is not None:
            run["samples"] = self.samples
        found = []
        for seed in self.seeds:
            here = {**run, "seed": seed}
            found.append(Trial(_axes(UNGUIDED, 0, 0.0, seed), here))
            for budget in self.budgets:
                guided = {**here, "models": {"synthetic": self._stopped(budget, seed)}}
                for guider in self.guiders:
                    found += [
                        Trial(_axes(guider, budget, omega, seed), {**guided, "guider": guider}, _sets(omega))
                        for omega in self.omegas
                    ]
        return found

    def _stopped(self, budget: int, seed: int) -> str:
        """The recipe of the auxiliary network, a snapshot of the one fine-tuning."""
        samples = f"synthetic(of=main, count={self.count}, seed={seed})"
        fine_tuning = (
            f"fine-tune(of=main, on={samples}, duration={max(self.budgets)}it, lr={self.lr!r}, schedule=constant, "
            f"warmup=0, seed={seed})"
        )
        return f"snapshot(of={fine_tuning}, at={budget}it)"

    def report(self, found: Findings) -> Report:
        metrics = metrics_told(found, self.metrics)
        every = [_Grid(found, guider, metric) for metric in metrics for guider in self.guiders]
        grids = [grid for grid in every if grid.seeds and grid.values]
        figure = {"budget": lambda path: _draw(grids, path)}
        return Report(
            {
                "budget": Table(COLUMNS, [_row(grid) for grid in grids]),
                "budget-seeds": Table(COLUMNS_OF_SEEDS, [row for grid in grids for row in _rows_of_seeds(grid)]),
            },
            [*(_sentence(grid) for grid in grids), *self._caveats()],
            figure if grids else {},
        )

    def _caveats(self) -> list[str]:
        if len(self.seeds) < 2:
            return ["one seed: no interval, and the best place is chosen on the samples that it is measured on"]
        return [
            f"each metric has its own best place of {len(self.budgets) * len(self.omegas)}; {len(self.seeds)} seeds, "
            f"held-out values, intervals of 95 % for each metric by itself, {WIDENED}"
        ]


def _axes(guider: str, budget: int, omega: float, seed: int) -> dict[str, str | float]:
    return {"guider": guider, "budget": budget, "omega": omega, "seed": seed}


def _sets(omega: float) -> dict[str, str]:
    return {"guider.omega": repr(omega)}


class _Grid:
    """A metric of one guider at each budget and omega, by seed, beside the unguided values."""

    def __init__(self, found: Findings, guider: str, metric: str) -> None:
        self.found, self.guider, self.metric = found, guider, metric
        rows = found.where(guider=guider)
        self.unguided = unguided_by_seed(found, metric)
        self.seeds = list(self.unguided)
        self.values: dict[Place, Mapping[int, float]] = {}
        for budget in rows.axis("budget"):
            for omega in rows.axis("omega"):
                row = by_seed(rows.where(budget=budget, omega=omega), metric)
                if all(seed in row for seed in self.seeds):  # where a seed has no value, means would be of others
                    self.values[int(budget), float(omega)] = {seed: row[seed] for seed in self.seeds}
        self.budgets = sorted({budget for budget, _ in self.values})
        self.omegas = sorted({omega for _, omega in self.values})

    @property
    def better(self) -> str:
        """Which way is better."""
        return self.found.better[self.metric]

    def places(self, budget: int | None = None) -> Candidates[Place]:
        """The places to choose from: all, or those of one budget."""
        some = {place: row for place, row in self.values.items() if budget is None or place[0] == budget}
        return Candidates(some, lambda value: self.found.distance(self.metric, value), tuple(self.seeds))

    def gap(self, ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
        """The paired difference of distances of held-out values, below 0 where ours are better."""
        distance = self.found.distance
        return held_out_interval(
            [distance(self.metric, ours[seed]) - distance(self.metric, theirs[seed]) for seed in ours]
        )

    @property
    def gain(self) -> Difference | None:
        """The best place against no guidance."""
        return self.gap(self.places().held_out(), self.unguided)

    def improvement(self, place: Place) -> float:
        """The mean over seeds of how much better a place is than no guidance; below 0 where it is worse."""
        distance = self.found.distance
        row = self.values[place]
        return -statistics.fmean(
            distance(self.metric, row[seed]) - distance(self.metric, self.unguided[seed]) for seed in self.seeds
        )


def _verdict(gap: Difference | None) -> str:
    return "-" if gap is None or not gap.clear else "better" if gap.high < 0 else "worse"


def _row(grid: _Grid) -> list[Any]:
    budget, omega = grid.places().best()
    gap = grid.gain
    return [
        f"{grid.metric} {ARROWS[grid.better]}",
        grid.guider,
        [grid.unguided[seed] for seed in grid.seeds],
        f"{budget}",
        f"{omega:g}",
        list(grid.places().held_out().values()),
        told(gap, grid.better),
        _verdict(gap),
    ]


def _rows_of_seeds(grid: _Grid) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for seed in grid.seeds:
        budget, omega = grid.places().best([seed])
        there = grid.values[budget, omega][seed]
        name = f"{grid.metric} {ARROWS[grid.better]}"
        rows.append([name, grid.guider, seed, grid.unguided[seed], f"{budget}", f"{omega:g}", there])
    return rows


def _sentence(grid: _Grid) -> str:
    """What a grid says of the paper's two claims."""
    budget, omega = grid.places().best()
    gap = grid.gain
    words = {"better": "better than unguided", "worse": "worse than unguided even there", "-": "not told from unguided"}
    parts = [f"{grid.guider}, {grid.metric}: best at {budget} iterations and omega {omega:g}"]
    if gap is not None:
        parts[0] += f", {words[_verdict(gap)]}"
    if len(grid.budgets) > 1:
        first, last = grid.budgets[0], grid.budgets[-1]
        if budget in (first, last):
            end = "shortest" if budget == first else "longest"
            parts.append(f"the {end} budget, so the grid shows no stopping point")
        else:
            parts.append(f"between the ends, and {_told_from(grid, first)}, {_told_from(grid, last)}")
        each = ", ".join(f"{one}: {grid.places(one).best()[1]:g}" for one in grid.budgets)
        parts.append(f"best omega by budget {each}")
    if omega in (grid.omegas[0], grid.omegas[-1]) and len(grid.omegas) > 1:
        parts.append(f"the {'smallest' if omega == grid.omegas[0] else 'largest'} omega of the grid")
    return "; ".join(parts)


def _told_from(grid: _Grid, budget: int) -> str:
    """Whether the best place is told from a budget at that budget's own best omega."""
    gap = grid.gap(grid.places().held_out(), grid.places(budget).held_out())
    if gap is None or not gap.clear:
        return f"not told from {budget} iterations"
    return f"{'better' if gap.high < 0 else 'worse'} than {budget} iterations"


def _draw(grids: Sequence[_Grid], path: Path) -> None:
    """Write a PNG: a map of budgets and omegas for each metric and guider, of differences to no guidance."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    guiders = list(dict.fromkeys(grid.guider for grid in grids))
    metrics = list(dict.fromkeys(grid.metric for grid in grids))
    across = min(4, len(metrics))
    down = math.ceil(len(metrics) / across)
    figure = Figure(figsize=(3.7 * across, 3.3 * down * len(guiders) + 0.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down * len(guiders), across, squeeze=False)
    for number, guider in enumerate(guiders):
        own = panels[number * down : (number + 1) * down].ravel()
        here = [grid for grid in grids if grid.guider == guider]
        for panel, grid in zip(own, here, strict=False):
            _map(figure, panel, grid, f"{guider}: " if len(guiders) > 1 else "")
        for panel in own[len(here) :]:
            panel.set_visible(False)
    figure.suptitle("difference to unguided sampling, mean over seeds; blue is better, framed is best", fontsize=10)
    figure.savefig(path)


def _map(figure: Any, panel: Any, grid: _Grid, title: str) -> None:
    from matplotlib.patches import Rectangle

    flip = 1 if grid.better == "higher" else -1  # what is shown is a value's difference, or that of its distance
    gains = [
        [grid.improvement((budget, omega)) if (budget, omega) in grid.values else math.nan for budget in grid.budgets]
        for omega in grid.omegas
    ]
    shown = [[flip * gain for gain in row] for row in gains]
    most = max((abs(gain) for row in gains for gain in row if gain == gain), default=0.0) or 1.0
    plain = [grid.unguided[seed] for seed in grid.seeds]
    # Places far off would leave the rest without colour: the scale ends at some times the best gain, or the spread.
    best = max(gain for row in gains for gain in row if gain == gain)
    ends = min(most, max(3 * best, 2 * statistics.pstdev(plain))) if best > 0 else most
    colours = "RdBu" if flip > 0 else "RdBu_r"
    image = panel.imshow(shown, cmap=colours, vmin=-ends, vmax=ends, aspect="auto", origin="lower")
    budget, omega = grid.places().best()
    place = grid.budgets.index(budget) - 0.5, grid.omegas.index(omega) - 0.5
    panel.add_patch(Rectangle(place, 1, 1, fill=False, edgecolor="#111111", linewidth=2))
    decimals = max(0, 1 - math.floor(math.log10(ends)))
    for y, row in enumerate(shown):
        for x, value in enumerate(row):
            ink = "white" if abs(value) >= 0.6 * ends else "#111111"
            text = "-" if math.isnan(value) else f"{value:+.{decimals}f}"  # a place where a seed has no value
            panel.text(x, y, text, ha="center", va="center", fontsize=8, color=ink)
    panel.set_xticks(range(len(grid.budgets)), [f"{one}" for one in grid.budgets], fontsize=8)
    panel.set_yticks(range(len(grid.omegas)), [f"{one:g}" for one in grid.omegas], fontsize=8)
    panel.set_xlabel("iterations of fine-tuning", fontsize=9)
    panel.set_ylabel("omega", fontsize=9)
    panel.set_title(f"{title}{grid.metric}: {BETTER[grid.better]}", fontsize=9)
    bar = figure.colorbar(image, ax=panel, extend="both" if ends < most else "neither")
    bar.ax.tick_params(labelsize=7)
    spread = f" ± {statistics.pstdev(plain):.2g}" if len(plain) > 1 else ""
    bar.set_label(f"unguided {statistics.fmean(plain):.3g}{spread}", fontsize=8)
