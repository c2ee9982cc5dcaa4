"""Any metric against the guidance weight, for any guiders, over seeds of the trainings and of the guides.

A curve for each guider: an expression with a range, such as ``autoguidance(weight=1.25:3.5:0.25)``. Options called
omega are drawn at w = 1 + omega, so that all guiders share an axis.

Which weight is best is chosen on the same samples that it is measured on, so its value is a little too good. The column
"held out" has for each seed the value at the weight that is best on the mean of the other seeds: the result with a
weight chosen on other data. Differences to unguided sampling are of the held-out values, paired over seeds, with
95 % intervals that are widened because held-out values depend on each other (`guideplug.metrics.held_out`).

With ``guide_seeds`` each training has the mean over the same guides, so that guides are crossed with trainings: the
intervals are about these guides, and say nothing of others.

Source of the search over weights: Karras et al. 2024, arXiv:2406.02507, section 5: weights from 1 to 3.5.
"""

from collections.abc import Sequence
from typing import Any, final

from attrs import frozen

from guideplug import (
    Difference,
    Expression,
    Findings,
    Report,
    Study,
    Table,
    Task,
    Trial,
    held_out_interval,
    option,
    up_to,
    without_ranges,
)
from guideplug_studies.curves import UNGUIDED, Curve, curve, draw_curves, points, unguided_by_seed
from guideplug_studies.words import ARROWS, WIDENED, told

__all__ = ["Weights"]

OWN = "own"
"""A guide of the training's own seed."""
COLUMNS = (
    "metric", "guider", "unguided", "best w", "of each seed", "held out", "difference, 95 %", "verdict",
)  # fmt: skip


@final
@frozen
class Weights(Study):
    """Any metric against the guidance weight, for any guiders: the best weight and its spread over seeds."""

    name = "weights"
    task: Task | None = option(None, help="the task; none for the default one")
    guiders: tuple[Expression, ...] = option(
        (
            Expression("cfg(weight=1.25:3.5:0.25)"),
            Expression("autoguidance(weight=1.25:3.5:0.25)"),
            Expression("sims(omega=0.25:2.5:0.25)"),
            Expression(
                "zip(blend([cfg(weight=1.25:3.5:0.25), autoguidance(weight=1.25:3.5:0.25)], shares=[0.25, 0.75]))"
            ),
        ),
        help="expressions with a range each; several ranges in one go side by side in zip(...)",
    )
    seeds: tuple[int, ...] = option((0, 1, 2, 3, 4), help="of the trainings")
    guide_seeds: tuple[int, ...] = option((), help="of the guides, each with every seed; none for the training's own")
    roles: tuple[str, ...] = option(
        ("weak", "unconditional", "synthetic"), help="roles that a guide's seed is for, where they are there"
    )
    samples: int | None = option(
        None, help="samples of each trial; none for the task's", unit="samples", validator=up_to(100_000_000, least=2)
    )

    def trials(self) -> Sequence[Trial]:
        run: dict[str, object] = {} if self.task is None else {"task": self.task}
        if self.samples is not None:
            run["samples"] = self.samples
        found = []
        for seed in self.seeds:
            for guider, guide, weight, expression in self._points():
                sets = {} if guide == OWN else {f"models.{role}.seed": guide for role in self.roles}
                axes: dict[str, str | float] = {"guider": guider, "weight": weight, "seed": seed, "guide": guide}
                found.append(Trial(axes, {**run, "guider": expression, "seed": seed}, sets))
        return found

    def _points(self) -> list[tuple[str, str, float, str]]:
        """Guider, the guide's seed, weight and expression of every point of the curves."""
        found = [(UNGUIDED, OWN, 1.0, UNGUIDED)]
        for guider in self.guiders:
            for weight, expression in points(guider):
                found += [(guider, guide, weight, expression) for guide in map(str, self.guide_seeds or (OWN,))]
        return found

    def report(self, found: Findings) -> Report:
        every = {
            metric: [
                one for guider in self.guiders if (one := curve(found, guider, metric)).candidates(found, metric).whole
            ]
            for metric in found.better
        }
        curves = {metric: several for metric, several in every.items() if several}
        told_of = [(metric, one.guider, *self._row(found, metric, one)) for metric in curves for one in curves[metric]]
        figure = {"weights": lambda path: draw_curves(found, curves, self._titles(), path)}
        return Report(
            {"weights": Table(COLUMNS, [row for _, _, row, _ in told_of])},
            [*self._sentences(told_of), *self._caveats()],
            figure if curves else {},
        )

    def _row(self, found: Findings, metric: str, one: Curve) -> tuple[list[Any], Difference | None]:
        unguided = unguided_by_seed(found, metric)
        weights = one.candidates(found, metric)
        best, held = weights.best(), weights.held_out()
        gap = held_out_interval(
            [
                found.distance(metric, held[seed]) - found.distance(metric, unguided[seed])
                for seed in held
                if seed in unguided
            ]
        )
        each = list(weights.best_of_each().values())
        row: list[Any] = [
            f"{metric} {ARROWS[found.better[metric]]}",
            without_ranges(one.guider),
            list(unguided.values()),
            f"{best:g}",
            f"{min(each):g} to {max(each):g}" if len(each) > 1 else "-",
            list(held.values()),
            told(gap, found.better[metric]),
            "-" if gap is None or not gap.clear else "better" if gap.high < 0 else "worse",
        ]
        return row, gap

    def _sentences(self, told_of: Sequence[tuple[str, str, list[Any], Difference | None]]) -> list[str]:
        """What each guider does, of metric, guider, row and difference of every curve."""
        said = []
        for guider in self.guiders:
            own = [(metric, row, gap) for metric, name, row, gap in told_of if name == guider]
            verdicts: dict[str, list[str]] = {"better": [], "worse": []}
            for metric, row, gap in own:
                if gap is not None and gap.clear:
                    verdicts[str(row[-1])].append(f"{metric} (w {row[3]})")
            parts = [f"{what} than unguided in {', '.join(names)}" for what, names in verdicts.items() if names]
            if not own:
                nothing = "no metric has values of it at one weight for every seed"
            elif len(self.seeds) < 2:
                nothing = "of one seed nothing can be told"
            else:
                nothing = "no metric tells it from unguided, held out"
            about = f", {self._about}" if self._about and any(gap is not None for _, _, gap in own) else ""
            said.append(f"{without_ranges(guider)}{about}: {'; '.join(parts) or nothing}")
        return said

    @property
    def _about(self) -> str:
        """What intervals are about alone; empty where each training has a guide of its own."""
        if not self.guide_seeds:
            return ""
        return "for these guides" if len(set(self.guide_seeds)) > 1 else "for this guide"

    def _caveats(self) -> list[str]:
        if len(self.seeds) < 2:
            return ["one seed: no interval, and the best weight is chosen on the samples that it is measured on"]
        said = [
            f"each metric has its own best weight; {len(self.seeds)} seeds, held-out values, intervals of 95 % for "
            f"each metric by itself, {WIDENED}"
        ]
        if self.guide_seeds:
            said.append(
                f"intervals are {self._about}: every training is guided by the same {len(set(self.guide_seeds))}, and "
                "nothing is said of others"
            )
        return said

    def _titles(self) -> dict[str, str]:
        return {guider: without_ranges(guider) for guider in self.guiders}
