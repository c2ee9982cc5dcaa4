"""Loops that train on their own samples: what they do to a Gaussian, and what SIMS makes of them.

    G_1 = A(D_r),   G_t = A(D_r ∪ D_{t-1})   synthetic augmentation      D_t samples of G_t
                    G_t = A(D_{t-1})         fully synthetic

D_r are 1,000 samples of p_r = N(0, [[2, 1], [1, 2]]). A share q of synthetic data among all that a generation is
trained on takes |D_r| q / (1 - q) samples; the fully synthetic loop takes |D_r|. The standard loop draws them unguided.
That of SIMS guides each generation away from a copy that was fine-tuned on as many unguided samples of it, and what is
measured is guided in the same way.

Claims of S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse and R. Baraniuk 2024, "Self-improving diffusion
models with synthetic data", arXiv:2408.16333, on this Gaussian:

1. Standard training on data with samples among them degrades: the Wasserstein distance to p_r grows with t.
2. SIMS with the best omega prevents that: no generation is further from p_r than the first one of the standard loop.
3. It does so up to a share of synthetic data; above, it only makes the growth smaller.

Measured is the 2-Wasserstein distance to p_r of the samples, over repetitions with D_r, networks and samples of their
own, by two metrics of the task: gaussian-w2, of the samples' mean and covariance in closed form, and wasserstein, exact
transport to as many true samples, whose floor is the higher one. Differences are paired over repetitions, with
intervals of 95 %.

"The first one" of claim 2 is that of the standard loop: SIMS may begin further away, and only keep its own distance.

Network and training are choices of ours, and so is their shortness: 400 steps of 128 examples. They leave samples a
little too wide, in each generation anew (log det +0.03 to +0.1), which is what the standard loop adds up, beside the
error of finite samples. The fine-tuning of the copies was chosen by the first generation at omega 1, over four
repetitions: an eighth of the training at a tenth of its learning rate, the recipe's default, gave a gaussian-w2 of
0.098, the standard 0.061, mostly by noise that the extrapolation makes larger; twice the steps at three hundredths of
the learning rate gave 0.075. With these, omega 2 turned the error round in the fully synthetic loop (one repetition):
samples became too narrow. So the strengths end at 1.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, final

import torch
from attrs import frozen

from guideplug import (
    Arm,
    Context,
    Difference,
    Duration,
    Findings,
    Report,
    Sampler,
    Source,
    Study,
    Table,
    Trial,
    confidence_interval,
    option,
    positive,
    up_to,
)
from guideplug_studies.curves import COLOURS, MARKS, by_seed
from guideplug_studies.words import exact, told

__all__ = ["Mad"]

FULLY = 1.0
"""The share of synthetic data in the fully synthetic loop."""


@final
@frozen
class Mad(Study):
    """Models trained on their own samples, generation after generation: the standard loop against SIMS."""

    name = "mad"
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    shares: tuple[float, ...] = option((0.5, 0.75), help="shares of synthetic data among all, a loop for each")
    fully: bool = option(True, help="whether there is the fully synthetic loop too")
    omegas: tuple[float, ...] = option((0.0, 0.5, 1.0), help="strengths of SIMS; 0 is the standard loop")
    generations: tuple[int, ...] = option(
        (1, 2, 4, 6, 8), help="generations that are measured, counted from 1; those between are trained too"
    )
    seeds: tuple[int, ...] = option(
        (0, 1, 2, 3, 4), help="repetitions, each with data, networks and samples of its own"
    )
    real: int = option(
        1000, help="samples of p_r that are the real data", unit="samples", validator=up_to(100_000_000, least=3)
    )
    duration: Duration = option(Duration(400, "it"), help="how long each generation is trained", converter=Duration.of)
    batch: int = option(128, help="examples per step", unit="examples", validator=up_to(100_000_000))
    budget: Duration = option(
        Duration(100, "it"), help="how long copies for SIMS are fine-tuned", converter=Duration.of
    )
    lr: float = option(0.03, help="learning rate of that fine-tuning, as a share of the training's", validator=positive)
    steps: int = option(16, help="Heun steps that samples are drawn in", unit="steps", validator=up_to(10_000, least=2))
    samples: int = option(2048, help="samples of each trial", unit="samples", validator=up_to(100_000_000, least=3))
    metric: Literal["gaussian-w2", "wasserstein"] = option("gaussian-w2", help="the distance that sentences are about")

    def __attrs_post_init__(self) -> None:
        for share in self.shares:
            if not 0 < share < 1:
                raise ValueError(
                    f"shares has {share:g}: a share of synthetic data is between 0 and 1, both excluded; fully=true is "
                    "the loop of nothing else"
                )
        for omega in self.omegas:
            if not 0 <= omega < math.inf:
                raise ValueError(f"omegas has {omega:g}: omega is finite and at least 0")
        if min(self.generations, default=0) != 1 or len(set(self.generations)) < 2:
            raise ValueError(f"generations are {list(self.generations)}: give 1, and later ones")
        for name, chosen in (("omegas", self.omegas), ("seeds", self.seeds), ("shares", self.loops)):
            if not chosen:
                raise ValueError(f"{name} is empty: give at least one")

    @property
    def loops(self) -> tuple[float, ...]:
        """The shares of synthetic data, 1 for the fully synthetic loop."""
        return (*dict.fromkeys(self.shares), *([FULLY] if self.fully else []))

    def trials(self) -> Sequence[Trial]:
        # One generation of all loops after the other: what goes on side by side does not wait for each other.
        return [
            Trial(
                {"share": share, "omega": float(omega), "generation": number, "seed": seed},
                {
                    "task": f"gaussian(count={self.real}, data_seed={seed})",
                    "seed": seed,
                    "sample_seed": seed,
                    "samples": self.samples,
                    "sampler": f"heun(num_steps={self.steps})",
                    "train": {"duration": str(self.duration), "batch": self.batch},
                    "guider": f"sims(omega={exact(omega)})" if omega else "none",
                    "models": self._models(share, omega, number, seed),
                },
            )
            for number in sorted(set(self.generations))
            for share in self.loops
            for omega in dict.fromkeys(self.omegas)
            for seed in dict.fromkeys(self.seeds)
        ]

    def _models(self, share: float, omega: float, number: int, seed: int) -> Mapping[str, str]:
        count = self.real if share == FULLY else max(1, round(self.real * share / (1 - share)))
        parts = [f"number={number}", f"synthetic={count}", f"seed={seed}", *["real=false"] * (share == FULLY)]
        if not omega:  # said without how copies are tuned, the standard loop is one whatever that is
            return {"main": f"generation({', '.join(parts)})"}
        parts += [f"guider=sims(omega={exact(omega)})", f"budget={self.budget}", f"lr={exact(self.lr)}"]
        return {"main": f"generation({', '.join(parts)})", "synthetic": "auxiliary(of=main)"}

    def report(self, found: Findings) -> Report:
        endings = [
            _ending(found, self.metric, float(share), float(omega))
            for share in found.axis("share")
            for omega in found.axis("omega")
        ]
        last = max(self.generations)
        columns = (
            "loop", "omega", "generation 1", f"generation {last}", "growth, 95 %", "last less standard's first, 95 %",
            "last less standard's last, 95 %", "verdict",
        )  # fmt: skip
        metrics = [name for name in found.better if found.values(name)]
        lasts: list[list[Any]] = [
            [
                _titled(one.share),
                f"{one.omega:g}",
                *(list(_by_seed(found, name, one.share, one.omega, last).values()) for name in metrics),
            ]
            for one in endings
        ]
        truth: list[Any] = ["true samples", "-", *(_floor(found, name) for name in metrics)]
        figure = {"mad": lambda path: _draw(found, self.metric, path)}
        return Report(
            {
                "mad": Table(columns, [one.cells() for one in endings]),
                "mad-last": Table(["loop", "omega", *metrics], [truth, *lasts]),
            },
            [*_said(endings, self.metric, last), *self._caveats(found)],
            figure if found.values(self.metric) else {},
        )

    def _caveats(self, found: Findings) -> list[str]:
        floor, data = _floor(found, self.metric), _data(found, self.metric)
        said = []
        if floor and data:
            said.append(
                f"the floor of {self.metric}: {statistics.fmean(floor):.3f} for {self.samples:,} true samples, "
                f"{statistics.fmean(data):.3f} for the {self.real:,} real data, and so for a model that fits them well"
            )
        if len(set(self.seeds)) < 2:
            return [*said, "one repetition: no interval"]
        return [
            *said,
            f"{len(set(self.seeds))} repetitions; a best omega is chosen on the numbers that it is told by, "
            "which flatters it, and a difference that is not clear may still be there",
        ]


@frozen
class Ending:
    """How a loop begins and ends: distances by repetition, and those of the standard loop of the same share."""

    share: float
    omega: float
    first: Mapping[int, float]
    last: Mapping[int, float]
    standard_first: Mapping[int, float]
    standard_last: Mapping[int, float]

    @property
    def measured(self) -> bool:
        """Whether it has values at both ends."""
        return bool(self.first and self.last)

    @property
    def verdict(self) -> str:
        """What the numbers give: clear is what the interval tells from 0."""
        if not self.omega or not self.standard_last:
            growth = _gap(self.last, self.first)
            if growth is None:
                return "-"
            return "degrades" if growth.low > 0 else "improves" if growth.high < 0 else "no clear growth"
        against, above = _gap(self.last, self.standard_last), _gap(self.last, self.standard_first)
        if against is None or above is None:
            return "-"
        if not against.clear:
            return "not told apart"
        if against.low > 0:
            return "worse"
        return "prevents" if above.mean <= 0 else "mitigates" if above.low > 0 else "mitigates or prevents"

    def cells(self) -> list[Any]:
        """Its row in the table."""
        guided = self.omega > 0
        return [
            _titled(self.share),
            f"{self.omega:g}",
            list(self.first.values()),
            list(self.last.values()),
            told(_gap(self.last, self.first), "lower"),
            told(_gap(self.last, self.standard_first), "lower") if guided else "-",
            told(_gap(self.last, self.standard_last), "lower") if guided else "-",
            self.verdict,
        ]


def _ending(found: Findings, metric: str, share: float, omega: float) -> Ending:
    numbers = cast(list[int], found.axis("generation"))
    first, last, standard_first, standard_last = (
        _by_seed(found, metric, share, strength, number)
        for strength in (omega, 0.0)
        for number in (numbers[0], numbers[-1])
    )
    return Ending(share, omega, first, last, standard_first, standard_last)


def _by_seed(found: Findings, metric: str, share: float, omega: float, number: float) -> dict[int, float]:
    return by_seed(found.where(share=share, omega=omega, generation=number), metric)


def _floor(found: Findings, metric: str) -> list[float]:
    """The distance of true samples, for each repetition."""
    rows = {row.axes["seed"]: row for row in found.rows}
    return [value for row in rows.values() if (value := row.truth.get(metric)) is not None]


def _data(found: Findings, metric: str) -> list[float]:
    """The distance of the real data themselves, for each repetition."""
    values = []
    for row in {row.axes["seed"]: row for row in found.rows}.values():
        points, condition = row.task.items(torch.arange(row.task.size() or 0))
        (one,) = (one for one in row.task.metrics() if one.name == metric)
        context = Context(row.task, {}, cast(Sampler, None))  # distances of samples ask for no sampler
        value = one.measure(Arm("data", points, condition), context)
        values += [] if value is None else [value]
    return values


def _gap(these: Mapping[int, float], those: Mapping[int, float]) -> Difference | None:
    return confidence_interval([these[seed] - those[seed] for seed in these if seed in those])


def _titled(share: float) -> str:
    return "fully synthetic" if share == FULLY else f"{100 * share:.3g} % synthetic"


def _said(endings: Sequence[Ending], metric: str, last: int) -> Iterator[str]:
    """A sentence on the standard loop and one on SIMS for each share, and one on the threshold."""
    for one in endings:
        if not one.measured:
            loop = f"SIMS at omega {one.omega:g}" if one.omega else "standard"
            yield f"{_titled(one.share)}, {loop}: {metric} has no value at generation {last if one.first else 1}"
    best: list[Ending] = []
    for share in dict.fromkeys(one.share for one in endings):
        here = [one for one in endings if one.share == share and one.measured]
        yield from (
            f"{_titled(share)}, standard: {one.verdict}; {metric} {_mean(one.first)} at generation 1, "
            f"{_mean(one.last)} at {last}"
            for one in here
            if not one.omega
        )
        guided = [one for one in here if one.omega]
        if guided:
            one = min(guided, key=lambda one: statistics.fmean(one.last.values()))
            best.append(one)
            yield (
                f"{_titled(share)}, SIMS at its best omega, {one.omega:g}: {one.verdict}; {_mean(one.first)} at "
                f"generation 1, {_mean(one.last)} at {last}, growth {told(_gap(one.last, one.first), 'lower')}"
            )
    kept = [one for one in best if one.verdict == "prevents"]
    if best and best[0].standard_last and len(best[0].last) > 1:
        names = ", ".join(_titled(one.share) for one in kept) or "no loop"
        lost = ", ".join(_titled(one.share) for one in best if one not in kept) or "none"
        yield f"SIMS keeps the last generation as near as the standard's first in: {names}; not shown for: {lost}"


def _mean(values: Mapping[int, float]) -> str:
    return f"{statistics.fmean(values.values()):.3f}"


def _draw(found: Findings, metric: str, path: Path) -> None:
    """Write a PNG with a panel for each loop: mean and standard deviation over repetitions against the generation."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    shares, omegas, numbers = (cast(list[float], found.axis(name)) for name in ("share", "omega", "generation"))
    figure = Figure(figsize=(3.3 * len(shares) + 0.6, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(shares), squeeze=False, sharey=True).ravel()
    levels = (
        (_data(found, metric), "#777777", "--", "the real data themselves"),
        (_floor(found, metric), "#c98a1b", ":", "true samples (floor)"),
    )
    for panel, share in zip(panels, shares, strict=True):
        for values, colour, style, label in levels:
            if values:
                panel.axhline(statistics.fmean(values), color=colour, linewidth=1, linestyle=style, label=label)
        for place, omega in enumerate(omegas):
            rows = [list(_by_seed(found, metric, share, omega, number).values()) for number in numbers]
            # Not a number is a gap in the line: no repetition has a value there.
            means = [statistics.fmean(row) if row else math.nan for row in rows]
            stds = [statistics.pstdev(row) if row else math.nan for row in rows]
            colour = "#222222" if not omega else COLOURS[place % len(COLOURS)]
            panel.plot(
                numbers, means, color=colour, marker=MARKS[place % len(MARKS)], markersize=3.5, linewidth=1.4,
                label=f"SIMS, ω {omega:g}" if omega else "standard",
            )  # fmt: skip
            low, high = ([mean + sign * std for mean, std in zip(means, stds, strict=True)] for sign in (-1, 1))
            panel.fill_between(numbers, low, high, color=colour, alpha=0.12, linewidth=0)
        panel.set_title(_titled(share), fontsize=9)
        panel.set_xlabel("generation", fontsize=9)
        panel.set_xticks(numbers)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25, linewidth=0.5)
    panels[0].set_ylim(bottom=0)  # last: the panels share it
    panels[0].set_ylabel(f"{metric} to p_r", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=8)
    figure.savefig(path)
