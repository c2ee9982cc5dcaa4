"""SIMS that shifts a distribution: more of one class than the data have, by guiding away from less of it.

The base D_r is trained, without labels, on a mixture of two classes of which class 0 has the share p. The auxiliary D_s
is a copy that was fine-tuned on samples of the base, chosen so that class 0 has the mirrored share 2 p - q among them;
q is the target. Sampling goes away from it:

    D_r(x; sigma) + omega * (D_r(x; sigma) - D_s(x; sigma)),   omega = 0 is the base

For a control the auxiliary is fine-tuned in the same way on samples with the unchanged share p.

What to expect (our derivation, an approximation): where classes lie apart, samples of the density p_r^(1 + omega) /
p_s^omega have the log odds of the base plus omega times the base's less the auxiliary's. For p = 0.5 the mirrored share
has the opposite log odds of the target, so that the target is reached at omega = 1, if the auxiliary learned its share.
The figure has that curve; how far the auxiliary itself is from its share is in a table.

Claims of S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse and R. Baraniuk 2024, "Self-improving diffusion
models with synthetic data", arXiv:2408.16333, there for two groups of images of faces, from 50 % to 70 %:

1. The share grows smoothly with omega, to the target.
2. The quality of each group's samples gets better on the way.
3. The omega that is best for the share may not be the one that is best for quality.

Quality is measured so that the shares do not count: class-mmd compares each class by itself with true samples of it,
and inside is the share of samples where nearly all true ones are, which narrower samples than true ones have too.
Differences are paired over seeds, with intervals of 95 %.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast, final

from attrs import frozen

from guideplug import (
    Difference,
    Duration,
    Findings,
    Report,
    Source,
    Study,
    Table,
    Trial,
    between,
    confidence_interval,
    option,
    positive,
    up_to,
)
from guideplug_studies.curves import COLOURS
from guideplug_studies.words import BETTER, exact, told

__all__ = ["Shift"]

SHARE = "class-0-share"
QUALITY = ("class-mmd", "inside")
"""Whether each class is whole, and how many samples stray: the second likes samples that are too narrow."""
SHIFTED, CONTROL, ITSELF = "mirrored", "unchanged", "auxiliary"
"""Which auxiliary guides; and the mirrored one sampled by itself."""


@final
@frozen
class Shift(Study):
    """SIMS that raises a class's share above the data's, and what that does to quality."""

    name = "shift"
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    base: float = option(0.5, help="share of class 0 in the data", validator=between(0, 1, ends=False))
    target: float = option(0.7, help="share of class 0 that is wanted", validator=between(0, 1, ends=False))
    omegas: tuple[float, ...] = option((0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0), help="strengths of SIMS; 0 is the base")
    seeds: tuple[int, ...] = option((0, 1, 2, 3, 4), help="of the trainings and samples")
    control: bool = option(True, help="whether there is an auxiliary whose share is unchanged, too")
    duration: Duration = option(Duration(1000, "it"), help="how long the base is trained", converter=Duration.of)
    budget: Duration = option(Duration(250, "it"), help="how long auxiliaries are fine-tuned", converter=Duration.of)
    batch: int = option(512, help="examples per step", unit="examples", validator=up_to(100_000_000))
    lr: float = option(0.0004, help="learning rate of the fine-tuning", validator=positive)
    count: int = option(
        4096, help="samples that an auxiliary is fine-tuned on", unit="samples", validator=up_to(100_000_000, least=2)
    )
    steps: int = option(16, help="Heun steps that samples are drawn in", unit="steps", validator=up_to(10_000, least=2))
    samples: int = option(4096, help="samples of each trial", unit="samples", validator=up_to(100_000_000, least=2))

    def __attrs_post_init__(self) -> None:
        if not 0 < self.mirrored < 1:
            raise ValueError(
                f"target is {self.target:g}, and base {self.base:g}: the mirrored share would be {self.mirrored:g}, "
                "which is none; give a target nearer to base"
            )
        if self.target == self.base:
            raise ValueError(f"target is {self.target:g}, which is base: give another")
        for omega in self.omegas:
            if not 0 <= omega < math.inf:
                raise ValueError(f"omegas has {omega:g}: omega is finite and at least 0")
        if not self.seeds:
            raise ValueError("seeds is empty: give at least one")
        if 0 not in self.omegas or len(set(self.omegas)) < 2:
            raise ValueError(f"omegas are {list(self.omegas)}: give 0, which is the base, and others")

    @property
    def mirrored(self) -> float:
        """The share of class 0 that the auxiliary is fine-tuned on."""
        return round(2 * self.base - self.target, 9)

    def trials(self) -> Sequence[Trial]:
        kinds = [SHIFTED, *([CONTROL] if self.control else [])]
        places = [(kind, omega) for kind in kinds for omega in sorted(set(self.omegas)) if omega or kind == SHIFTED]
        return [
            Trial({"auxiliary": kind, "omega": float(omega), "seed": seed}, self._run(kind, omega, seed))
            for seed in dict.fromkeys(self.seeds)
            for kind, omega in [*places, (ITSELF, 0.0)]
        ]

    def _run(self, kind: str, omega: float, seed: int) -> Mapping[str, object]:
        run = {
            "task": f"mixture(classes=2, labels=false, shares=[{exact(self.base)}, {exact(round(1 - self.base, 12))}])",
            "seed": seed,
            "sample_seed": seed,
            "samples": self.samples,
            "sampler": f"heun(num_steps={self.steps})",
            "train": {"duration": str(self.duration), "batch": self.batch},
        }
        share = self.base if kind == CONTROL else self.mirrored
        tuned = (
            # Twice as many to choose from, so that hardly one is taken twice.
            f"on=resampled(of=synthetic(of={{base}}, count={2 * self.count}, seed={seed}), share={exact(share)}, "
            f"group=0, count={self.count}, seed={seed}), duration={self.budget}, lr={exact(self.lr)}, "
            f"schedule=constant, warmup=0, seed={seed}"
        )
        if kind == ITSELF:
            base = f"train(seed={seed})"
            return {**run, "guider": "none", "models": {"main": f"fine-tune(of={base}, {tuned.format(base=base)})"}}
        if not omega:
            return {**run, "guider": "none"}
        models = {"synthetic": f"fine-tune(of=main, {tuned.format(base='main')})"}
        return {**run, "guider": f"sims(omega={exact(omega)})", "models": models}

    def expected(self, omega: float) -> float:
        """The share of class 0 under p_r^(1 + omega) / p_s^omega, of classes that lie apart."""
        own, other = (math.log(share / (1 - share)) for share in (self.base, self.mirrored))
        return 1 / (1 + math.exp(-own - omega * (own - other)))

    def report(self, found: Findings) -> Report:
        metrics = [SHARE, *QUALITY, *(name for name in found.better if name not in (SHARE, *QUALITY))]
        metrics = [name for name in metrics if found.values(name)]
        rows: list[list[Any]] = [["true samples", "-", "-", *(_truths(found, name) for name in metrics)]]
        for kind, omega in dict.fromkeys((row.axes["auxiliary"], cast(float, row.axes["omega"])) for row in found.rows):
            here = found.where(auxiliary=kind, omega=omega)
            base = omega == 0 and kind == SHIFTED
            rows.append(
                [
                    "base" if base else "the auxiliary itself" if kind == ITSELF else kind,
                    "-" if kind == ITSELF else f"{omega:g}",
                    self.expected(omega) if kind == SHIFTED else self.mirrored if kind == ITSELF else self.base,
                    *(here.values(name) for name in metrics),
                ]
            )
        return Report(
            {"shift": Table(["auxiliary", "omega", "expected share", *metrics], rows)},
            self._said(found),
            {"shift": lambda path: self._draw(found, path)},
        )

    def _said(self, found: Findings) -> list[str]:
        shares = _curves(found, SHARE)
        moved, omegas = shares[SHIFTED], sorted(shares[SHIFTED])
        means = {omega: statistics.fmean(row.values()) for omega, row in moved.items()}
        upwards = 1 if self.target > self.base else -1
        rising = all(upwards * (means[b] - means[a]) > 0 for a, b in itertools.pairwise(omegas))
        seeds = list(moved[0.0])
        reached = [self._crossing({omega: row[seed] for omega, row in moved.items()}) for seed in seeds]
        at = [omega for omega in reached if omega is not None]
        said = [
            f"the share {'grows' if upwards > 0 else 'falls'} with omega{'' if rising else ', but not at every step'}: "
            + ", ".join(f"{means[omega]:.3f} at {omega:g}" for omega in omegas),
            f"the target {self.target:g} is reached in {len(at)} of {len(seeds)} seeds"
            + (
                f", at omega {statistics.fmean(at):.2f} ± {statistics.pstdev(at):.2f} (between points by a line)"
                if at
                else ""
            ),
        ]
        itself = found.where(auxiliary=ITSELF).values(SHARE)
        said.append(
            f"the auxiliary by itself has a share of {statistics.fmean(itself):.3f}, of {self.mirrored:g} to learn"
        )
        nearest = min(omegas, key=lambda omega: abs(means[omega] - self.target))
        said += [one for metric in QUALITY for one in self._of_quality(found, metric, nearest)]
        if self.control:
            last = omegas[-1]
            gap = _gap(shares[CONTROL][last], moved[0.0])
            said.append(f"control: with the unchanged share, omega {last:g} moves the share by " + told(gap, "lower"))
        if len(seeds) < 2:
            said.append("one seed: no interval")
        return said

    def _of_quality(self, found: Findings, metric: str, nearest: float) -> list[str]:
        """What the omega that is best for the share costs, or gives, in quality."""
        curve = _curves(found, metric).get(SHIFTED, {})
        if 0.0 not in curve or nearest not in curve:
            return []  # no value where a class is lost

        def bad(omega: float) -> dict[int, float]:
            return {seed: found.distance(metric, value) for seed, value in curve[omega].items()}

        best = min(curve, key=lambda omega: statistics.fmean(bad(omega).values()))
        better = found.better[metric]

        def against(omega: float, other: float) -> str:
            gap = _gap(bad(omega), bad(other))
            if gap is None:
                return "no interval"
            verdict = "not clear" if not gap.clear else "better" if gap.high < 0 else "worse"
            return f"{told(gap, better)}, {verdict}"

        said = []
        if nearest:
            said.append(
                f"{metric} at omega {nearest:g}, the nearest to the target, less the base's: {against(nearest, 0.0)}"
            )
        if best == 0:
            return [*said, f"the omega that is best for {metric} is 0: no strength is better than the base"]
        if best == nearest:
            return [*said, f"the omega that is best for {metric} is that for the share, {best:g}"]
        return [
            *said,
            f"the omega that is best for {metric} is {best:g}, for the share {nearest:g}; {metric} at the "
            f"latter less that at the former (chosen on these numbers, which flatters it): {against(nearest, best)}",
        ]

    def _crossing(self, curve: Mapping[float, float]) -> float | None:
        """Where a curve first reaches the target, between its points by a line."""
        points = sorted(curve.items())
        for (a, low), (b, high) in itertools.pairwise(points):
            if low != high and 0 <= (self.target - low) / (high - low) <= 1:
                return a + (b - a) * (self.target - low) / (high - low)
        return None

    def _draw(self, found: Findings, path: Path) -> None:
        """Write a PNG: the share against omega, and quality against omega."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 3.8), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 1 + len(QUALITY)).ravel()
        looks = {SHIFTED: (COLOURS[0], f"auxiliary of share {self.mirrored:g}"), CONTROL: ("#777777", "control")}
        better = {**BETTER, "truth": "share of class 0"}
        for panel, metric in zip(panels, (SHARE, *QUALITY), strict=True):
            for kind, curve in _curves(found, metric).items():
                colour, title = looks[kind]
                omegas = sorted(curve)
                rows = [list(curve[omega].values()) for omega in omegas]
                means, stds = [statistics.fmean(row) for row in rows], [statistics.pstdev(row) for row in rows]
                panel.errorbar(
                    omegas, means, yerr=stds if max(map(len, rows)) > 1 else None, color=colour, marker="o",
                    markersize=3.5, linewidth=1.4, elinewidth=0.8, capsize=2, label=title,
                )  # fmt: skip
            truth = _truths(found, metric)
            if metric != SHARE and truth:
                level = statistics.fmean(truth)
                panel.axhline(level, color=COLOURS[4], linewidth=1, linestyle=":", label="true samples")
            panel.set_title(f"{metric}: {better[found.better[metric]]}", fontsize=9)
            panel.set_xlabel("ω (0 is the base)", fontsize=9)
            panel.tick_params(labelsize=8)
            panel.grid(alpha=0.25, linewidth=0.5)
        moved = {omega: statistics.fmean(row.values()) for omega, row in _curves(found, SHARE)[SHIFTED].items()}
        grid = [max(moved) * step / 100 for step in range(101)]
        panels[0].plot(
            grid, [self.expected(omega) for omega in grid], color=COLOURS[0], linewidth=1, linestyle=":",
            label="expected of exact scores",
        )  # fmt: skip
        panels[0].axhline(self.target, color=COLOURS[1], linewidth=1, linestyle="--", label=f"target {self.target:g}")
        crossing = self._crossing(moved)
        for panel in panels:
            if crossing is not None:
                panel.axvline(crossing, color=COLOURS[1], linewidth=0.8, alpha=0.5)
            panel.legend(frameon=False, fontsize=8)
        figure.savefig(path)


Curves: TypeAlias = Mapping[str, Mapping[float, Mapping[int, float]]]
"""A metric by the auxiliary's kind, omega and seed."""


def _curves(found: Findings, metric: str) -> Curves:
    """The curves of a metric, at the strengths where every seed has a value."""
    base = found.where(auxiliary=SHIFTED, omega=0.0).by("seed", metric)
    seeds = len(found.axis("seed"))
    curves: dict[str, Mapping[float, Mapping[int, float]]] = {}
    for kind in (SHIFTED, CONTROL):
        here = found.where(auxiliary=kind)
        rows = {0.0: base, **{float(omega): here.where(omega=omega).by("seed", metric) for omega in here.axis("omega")}}
        whole = {omega: cast(dict[int, float], row) for omega, row in rows.items() if len(row) == seeds}
        if here.rows and whole:
            curves[kind] = whole
    return curves


def _truths(found: Findings, metric: str) -> list[float]:
    """A metric of true samples, for each seed."""
    rows = {row.axes["seed"]: row for row in found.rows}
    return [value for row in rows.values() if (value := row.truth.get(metric)) is not None]


def _gap(these: Mapping[int, float], those: Mapping[int, float]) -> Difference | None:
    return confidence_interval([these[seed] - those[seed] for seed in these if seed in those])
