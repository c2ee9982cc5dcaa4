"""Learned guidance weights, on a model that is well trained and on ones that are not.

    D(x; sigma, c) = D_0 + (w - 1) (D_0 - D_guide),   w - 1 = omega: constant, in an interval, or learned omega(c, s, t)

A. Galashov et al. 2025, "Learn to guide your diffusion model", arXiv:2510.00815, say of a labelled Gaussian mixture:

1. well trained, any omega > 0 makes the MMD to the true samples of each class worse;
2. well trained, the learned omega is about 0;
3. trained less, a larger omega makes it better;
4. trained less, the learned omega makes it better than any constant one.

Their set-up is not published. Ours is the task ``mixture``, its network trained for some numbers of iterations, and
Euler's steps, which are the deterministic ones that the weight is fitted for. The constant weight and the interval are
chosen on the other seeds ("held out"), each among several, as if chosen on other data; the learned
weight is fitted once for each network and is not chosen. Unguided sampling is not among the choices. Differences are
paired over seeds, with 95 % intervals by Student's t, those of held-out values widened
(`guideplug.metrics.held_out`).

Cost: for each seed and training one fit and as many runs as there are settings.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, final

from attrs import frozen
from attrs.validators import deep_iterable

from guideplug import (
    Candidates,
    Difference,
    Duration,
    Findings,
    Measured,
    Metric,
    Registry,
    Report,
    Source,
    Study,
    Table,
    Task,
    Trial,
    confidence_interval,
    finite,
    held_out_interval,
    option,
    up_to,
)
from guideplug_studies.curves import UNGUIDED, by_seed
from guideplug_studies.weight_panels import arm_panels, grid_of, omega_panels, omegas
from guideplug_studies.words import WIDENED, exact, told

__all__ = ["Learned"]

CONSTANT, INTERVAL, LEARNED = "constant", "interval", "learned"
ARMS = (UNGUIDED, CONSTANT, INTERVAL, LEARNED)
NEARLY_ZERO = 0.05
"""A mean omega below this is called about 0."""


@final
@frozen
class Learned(Study):
    """Learned guidance weights against constant ones and intervals, well and under-trained (arXiv:2510.00815)."""

    name = "learned"
    source = Source(
        "A. Galashov, A. Pokle, A. Doucet, A. Gretton, M. Delbracio, V. De Bortoli",
        2025,
        "Learn to Guide Your Diffusion Model",
        "https://arxiv.org/abs/2510.00815",
    )
    task: Task | None = option(None, help="a task with labels and the metrics; none for mixture")
    guiders: tuple[str, ...] = option(("cfg",), help="names of guiders whose weight it is, such as autoguidance")
    durations: tuple[Duration, ...] = option(
        tuple(Duration.of(text) for text in ("2000it", "100it", "50it", "25it")),
        help="of the training; the first is the one that is well trained",
    )
    weights: tuple[float, ...] = option(
        (1.1, 1.25, 1.5, 2.0, 3.0, 5.0), help="constant weights, off at 1", validator=deep_iterable(finite)
    )
    intervals: tuple[tuple[float, float], ...] = option(
        ((0.1, 1.0), (0.3, 3.0), (1.0, 20.0)), help="from above the first to the second level", unit="data units"
    )
    interval_weights: tuple[float, ...] = option(
        (1.25, 3.0), help="weights in each interval, off at 1", validator=deep_iterable(finite)
    )
    metric: str = option("mmd", help="by which settings are chosen and claims judged")
    others: tuple[str, ...] = option(("sliced-w2",), help="other metrics in the tables")
    steps: int = option(64, help="Euler's steps", validator=up_to(10_000, least=2))
    iterations: int | None = option(
        None, help="of a fit; none for its default", unit="iterations", validator=up_to(100_000_000)
    )
    seeds: tuple[int, ...] = option((0, 1, 2, 3, 4), help="of the trainings and fits")
    samples: int = option(4096, help="samples of each trial", unit="samples", validator=up_to(100_000_000, least=2))

    def __attrs_post_init__(self) -> None:
        if any(weight == 1.0 for weight in (*self.weights, *self.interval_weights)):
            raise ValueError("a weight of 1 is unguided sampling, which is there anyway: leave it out")

    def trials(self) -> Sequence[Trial]:
        self._check_metric()
        found = []
        for seed in self.seeds:
            for duration in self.durations:
                run = {
                    "task": self.task or "mixture",
                    "duration": str(duration),
                    "sampler": f"euler(num_steps={self.steps})",
                    "samples": self.samples,
                    "seed": seed,
                }
                for arm, guider, setting, expression in self._settings():
                    sets = {"models.weights.seed": str(seed)} if arm == LEARNED else {}
                    if arm == LEARNED and self.iterations is not None:
                        sets["models.weights.iterations"] = str(self.iterations)
                    axes: dict[str, str | int] = {
                        "training": str(duration),
                        "guider": guider,
                        "arm": arm,
                        "setting": setting,
                        "seed": seed,
                    }
                    found.append(Trial(axes, {**run, "guider": expression}, sets))
        return found

    def _check_metric(self) -> None:
        """Before anything is trained for it.

        Raises:
            ValueError: the task does not have the metric, and no installed plugin offers it.
        """
        registry = Registry.installed()
        task: Any = self.task or registry.find("task", "mixture")()  # type: ignore[operator]
        further = [one for one in (kind() for kind in registry.classes(Metric)) if one.applies(task)]
        known = [one.name for one in (*task.metrics(), *further)]
        if self.metric not in known:
            raise ValueError(f"the task has no metric {self.metric!r}; it has {', '.join(known)}")

    def _settings(self) -> list[tuple[str, str, str, str]]:
        """Arm, guider, what is chosen, and the expression of every trial of a training."""
        found = [(UNGUIDED, UNGUIDED, "", UNGUIDED)]
        for name in dict.fromkeys(self.guiders):
            found += [
                (CONSTANT, name, f"w {exact(weight)}", f"{name}(weight={exact(weight)})") for weight in self.weights
            ]
            found += [
                (
                    INTERVAL,
                    name,
                    f"w {exact(weight)} in ({exact(low)}, {exact(high)}]",
                    f"interval({name}(weight={exact(weight)}), low={exact(low)}, high={exact(high)})",
                )
                for low, high in self.intervals
                for weight in self.interval_weights
            ]
            found.append((LEARNED, name, "", f"learned({name})"))
        return found

    def report(self, found: Findings) -> Report:
        metrics = [name for name in (self.metric, *self.others) if found.values(name)]
        if self.metric not in metrics:
            known = ", ".join(name for name in found.better if found.values(name)) or "none"
            raise ValueError(f"study learned: metric {self.metric!r} has no value in any trial; {known} has")
        cells = [
            _Cell.of(found, str(training), guider, metric)
            for guider in dict.fromkeys(self.guiders)
            for metric in metrics
            for training in found.axis("training")
        ]
        weights = {
            guider: {
                str(training): omegas(self._fitted(found, guider, training), self.steps)
                for training in found.axis("training")
            }
            for guider in dict.fromkeys(self.guiders)
        }
        judged = [cell for cell in cells if cell.metric == self.metric]
        figures = {"learned": lambda path: arm_panels(judged, path)}
        for guider, of_each in weights.items():
            levels = grid_of(found.rows[0].task, self.steps)
            figures[f"omega-{guider}"] = _omega_figure(of_each, levels, guider)
        return Report(
            {
                "learned": Table(
                    ("metric", "guider", "training", *("none", "constant", "interval", "learned"), "mean ω"),
                    [cell.values(weights) for cell in cells],
                ),
                "differences": Table(
                    (
                        "metric",
                        "guider",
                        "training",
                        "best constant",
                        "constant - none",
                        "best interval",
                        "learned - none",
                        "learned - constant",
                        "learned - interval",
                    ),
                    [cell.differences() for cell in cells],
                ),
                "constants": Table(
                    ("metric", "guider", "training", "none", *(f"w {exact(weight)}" for weight in self.weights)),
                    [cell.constants() for cell in cells],
                ),
            },
            [*(line for cell in judged for line in self._said(cell, weights)), *self._caveats()],
            figures,
        )

    def _fitted(self, found: Findings, guider: str, training: object) -> list[Measured]:
        return list(found.where(training=str(training), guider=guider, arm=LEARNED).rows)

    # Words

    def _said(self, cell: "_Cell", weights: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """The claims on one training, and what the numbers say."""
        if len(self.seeds) < 2:
            return []
        where = f"{cell.guider}, {cell.training}"
        omega = weights[cell.guider][cell.training].mean_of_seeds
        if cell.training == str(self.durations[0]):
            return [f"{where} (well trained): {self._first_claim(cell)}", f"{where}: {self._second_claim(cell, omega)}"]
        return [f"{where} (under-trained): {self._third_claim(cell)}", f"{where}: {self._fourth_claim(cell, omega)}"]

    def _first_claim(self, cell: "_Cell") -> str:
        gaps = {setting: cell.gap(values, cell.none) for setting, values in cell.constant.items()}
        worse = [setting for setting, gap in gaps.items() if gap is not None and gap.low > 0]
        better = [setting for setting, gap in gaps.items() if gap is not None and gap.high < 0]
        text = f"of {len(gaps)} constant weights {len(worse)} are clearly worse than none, {len(better)} clearly better"
        rest = [setting for setting in gaps if setting not in worse]
        listed = f" ({', '.join(rest)} not)" if rest and worse else ""
        return f"any omega > 0 worsens {cell.metric}: {_verdict(not rest)}; {text}{listed}"

    def _second_claim(self, cell: "_Cell", omega: Sequence[float]) -> str:
        mean = statistics.fmean(omega)
        gap = cell.gap(cell.learned, cell.none)
        return (
            f"the learned omega is about 0: {_verdict(mean < NEARLY_ZERO)}, its mean over levels and labels is "
            f"{mean:.3f}; learned - none is {cell.told(gap)}"
        )

    def _third_claim(self, cell: "_Cell") -> str:
        gap = cell.chosen_gap(cell.held(cell.constant), cell.none)
        return (
            f"a larger omega helps: {_judged(gap)}; the best constant weight is {cell.best(cell.constant)}, held out - "
            f"none is {cell.told(gap)}"
        )

    def _fourth_claim(self, cell: "_Cell", omega: Sequence[float]) -> str:
        parts = {
            "none": cell.gap(cell.learned, cell.none),
            "the best constant": cell.chosen_gap(cell.learned, cell.held(cell.constant)),
        }
        if cell.interval:
            parts["the best interval"] = cell.chosen_gap(cell.learned, cell.held(cell.interval))
        listed = "; ".join(f"than {name} {_judged(gap)}, {cell.told(gap)}" for name, gap in parts.items())
        return f"the learned omega (mean {statistics.fmean(omega):.2f}) helps more: {listed}"

    def _caveats(self) -> list[str]:
        if len(self.seeds) < 2:
            return ["one seed: no interval, and settings are chosen on the samples that they are measured on"]
        return [
            f"{len(self.seeds)} seeds; the constant weight and the interval are chosen for each training, held out; "
            f"intervals of 95 % for each difference by itself, those of chosen settings {WIDENED}"
        ]


Values = Mapping[int, float]


@frozen
class _Cell:
    """One metric of one guider on one training, by seed: unguided, for each setting, learned."""

    metric: str
    guider: str
    training: str
    none: Values
    constant: Mapping[str, Values]
    interval: Mapping[str, Values]
    learned: Values
    found: Findings

    @classmethod
    def of(cls, found: Findings, training: str, guider: str, metric: str) -> "_Cell":
        here = found.where(training=training)

        def settings(arm: str) -> Mapping[str, Values]:
            of_arm = here.where(guider=guider, arm=arm)
            return {str(setting): by_seed(of_arm.where(setting=setting), metric) for setting in of_arm.axis("setting")}

        return cls(
            metric, guider, training, by_seed(here.where(arm=UNGUIDED), metric), settings(CONSTANT), settings(INTERVAL),
            by_seed(here.where(guider=guider, arm=LEARNED), metric), found,
        )  # fmt: skip

    @property
    def better(self) -> str:
        """Which way is better."""
        return self.found.better[self.metric]

    def gaps(self, one: Values, other: Values) -> list[float]:
        """The paired differences of distances: below 0 the first is better."""
        distance = self.found.distance
        return [distance(self.metric, one[seed]) - distance(self.metric, other[seed]) for seed in one if seed in other]

    def gap(self, one: Values, other: Values) -> Difference | None:
        """The mean difference of two arms that are not chosen."""
        return confidence_interval(self.gaps(one, other))

    def chosen_gap(self, one: Values, other: Values) -> Difference | None:
        """The mean difference where an arm is held out."""
        return held_out_interval(self.gaps(one, other))

    def told(self, gap: Difference | None) -> str:
        """A difference in words, of values where more is better."""
        return told(gap, self.better, digits=2)

    def _candidates(self, settings: Mapping[str, Values]) -> Candidates[str]:
        return Candidates(settings, lambda value: self.found.distance(self.metric, value), tuple(self.none))

    def best(self, settings: Mapping[str, Values]) -> str:
        """The setting that is best on the mean over the seeds, among those with a value for every seed."""
        candidates = self._candidates(settings)
        return candidates.best() if candidates.whole and candidates.seeds else "-"

    def held(self, settings: Mapping[str, Values]) -> Values:
        """For each seed the value of the setting that is best on the others."""
        candidates = self._candidates(settings)
        return candidates.held_out() if candidates.whole else {}

    @property
    def arms(self) -> dict[str, Values]:
        """What stands for each arm."""
        held = self.held(self.constant), self.held(self.interval)
        return dict(zip(ARMS, (self.none, *held, self.learned), strict=True))

    def _head(self) -> list[Any]:
        return [self.metric, self.guider, self.training]

    def values(self, weights: Mapping[str, Mapping[str, Any]]) -> list[Any]:
        """The row of values."""
        arms = [list(values.values()) for values in self.arms.values()]
        return [*self._head(), *arms, weights[self.guider][self.training].mean_of_seeds]

    def differences(self) -> list[Any]:
        """The row of differences."""
        constant, inside = self.held(self.constant), self.held(self.interval)
        gaps = [
            self.told(self.gap(self.learned, self.none)),
            *(self.told(self.chosen_gap(self.learned, other)) for other in (constant, inside)),
        ]
        first = self.told(self.chosen_gap(constant, self.none))
        return [*self._head(), self.best(self.constant), first, self.best(self.interval), *gaps]

    def constants(self) -> list[Any]:
        """The row of constant weights."""
        return [*self._head(), list(self.none.values()), *(list(values.values()) for values in self.constant.values())]


def _omega_figure(of_each: Mapping[str, Any], levels: Sequence[float], guider: str) -> Any:
    return lambda path: omega_panels(of_each, levels, guider, path)


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def _judged(gap: Difference | None) -> str:
    """What a difference says of 'it is better'."""
    if gap is None or not gap.clear:
        return "not settled"
    return "yes" if gap.high < 0 else "no, clearly worse"
