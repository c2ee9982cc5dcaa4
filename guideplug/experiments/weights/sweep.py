"""Draw and measure the samples of each weight, all from the same noise.

    x(w) = sampler(guider at w, same noise),   w in the range;   x(unguided) = sampler(main network, same noise)

What is alike is evaluated once: true samples and what metrics keep of them, and networks where trajectories have not
parted (`shared_start`): at the start, down to the level where guidance begins, and along all of a weight that is off.
One weight's samples are in memory at a time, beside the unguided and the true ones.

Cost: the calls of a guided run for each further weight, less what is shared.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from guideplug.config import plugin_errors, short
from guideplug.denoise import Denoiser
from guideplug.errors import DivergenceError
from guideplug.executors.interrupt import StopToken
from guideplug.experiments.weights.pictures import Kept
from guideplug.experiments.weights.result import MeasuredArm, WeightSweep
from guideplug.experiments.weights.shared_start import SharedStart
from guideplug.experiments.weights.sweep_plan import SweepPlan
from guideplug.guide import Guider
from guideplug.observe import Observers
from guideplug.run.arms import draw_arms_of_run, evaluations_by_role
from guideplug.run.builder import StoreBuilder
from guideplug.run.checked import check_lines
from guideplug.run.failure import Failures
from guideplug.run.folder import RunFolder
from guideplug.run.measure import measured, metrics_of
from guideplug.run.preflight import denoiser_of, guided
from guideplug.run.results import sample_arrays
from guideplug.run.task_answers import truth_of
from guideplug.run.tried import try_arms
from guideplug.run.verdict import verdicts
from guideplug.store import Store
from guideplug.task import Arm, Context, Metric

__all__ = ["draw_sweep"]

SAMPLES = "samples"
"""The folder of the samples, a file for each weight."""


def draw_sweep(
    plan: SweepPlan, folder: RunFolder, store: Store, observers: Observers, stop: StopToken
) -> tuple[WeightSweep, Kept]:
    """Draw, keep and measure the samples of each weight.

    Args:
        plan: the sweep.
        folder: receives the samples of each weight, ``samples/WEIGHT.npz``.
        store: of networks.
        observers: receive ``sample``, ``measure``, ``metrics`` and ``warning``.
        stop: raises if a stop was requested.

    Returns:
        The results, and the samples that pictures show.

    Raises:
        GuideplugError: what failed.
    """
    config, begin = plan.config, time.perf_counter()
    builder = StoreBuilder(store, torch.device(config.device), observers, stop=stop)
    builder.expect(config.recipes)
    built = {role: builder.build(recipe) for role, recipe in config.recipes.items()}
    networks = {role: denoiser_of(item.module, role) for role, item in built.items()}
    warnings = list(check_lines(built, config.task, config.samples))
    for text in warnings:
        observers("warning", text=text)
    points = [guided(guider, networks) for guider in plan.guiders]
    for guider, point in zip(plan.guiders, points, strict=True):
        arms = {"unguided": networks["main"], "guided": point}
        try_arms(arms, networks, guider, config.sampler, config.task, torch.device(config.device))
    return _Sweep(plan, folder, observers, stop, networks).drawn(
        warnings, {role: item.identity for role, item in built.items()}, begin
    )


@attrs.define
class _Sweep:
    """A sweep with its networks."""

    plan: SweepPlan
    folder: RunFolder
    observers: Observers
    stop: StopToken
    networks: Mapping[str, Any]
    _failures: Failures = attrs.field(factory=Failures, init=False)
    _shared: SharedStart = attrs.field(factory=SharedStart, init=False)

    def drawn(self, warnings: Sequence[str], identities: Mapping[str, str], begin: float) -> tuple[WeightSweep, Kept]:
        plan, config = self.plan, self.plan.config
        metrics = metrics_of(config.task, plan.registry)
        main, unguided_cost = self._draw("unguided", self.networks["main"], None)
        truths = truth_of(config.task, config.samples, config.sampler, config.sample_seed, like=main)
        context = Context(config.task, {arm.name: arm for arm in truths}, config.sampler, config.sample_seed)
        real = next(arm for arm in truths if arm.name == "truth")
        truth = MeasuredArm("truth", self._measure(real, metrics, context))
        unguided = attrs.evolve(unguided_cost, metrics=self._measure(main, metrics, context))
        kept = Kept(config.task, plan.option, real, main)
        arms = []
        for weight, guider in zip(plan.weights, plan.guiders, strict=True):
            arm, measured_arm = self._at(weight, guider, main)
            if arm is not None:
                values = self._measure(arm, metrics, attrs.evolve(context, cache=dict(context.cache)))
                judged = self._judge(metrics, main, arm, {"truth": truth.metrics, "unguided": unguided.metrics,
                                                          "guided": values}, context)  # fmt: skip
                measured_arm = attrs.evolve(measured_arm, metrics=values, verdicts=judged)
                kept.keep(weight, arm)
            arms.append(measured_arm)
        sweep = WeightSweep(
            task=short(config.task),
            expression=plan.expression,
            option=plan.option,
            samples=config.samples,
            seed=config.sample_seed,
            table=metrics,
            primary=config.task.primary(),
            truth=truth,
            unguided=unguided,
            arms=arms,
            warnings=warnings,
            failures=self._failures.listed,
            record={"networks": dict(identities), "seconds": time.perf_counter() - begin},
        )
        return sweep, kept

    def _at(self, weight: float, guider: Guider, main: Arm) -> tuple[Arm | None, MeasuredArm]:
        """The samples of a weight; None where they diverge."""
        name = f"{self.plan.option} {weight:g}"
        point = guided(guider, self.networks)
        try:
            arm, cost = self._draw(name, point, guider)
        except DivergenceError as error:
            return None, MeasuredArm(name, {}, weight, diverged=str(error))
        return arm, attrs.evolve(cost, weight=weight)

    def _draw(self, name: str, point: Denoiser, guider: Guider | None) -> tuple[Arm, MeasuredArm]:
        """Samples of a denoiser, kept in the folder, and what they cost."""
        config, begin = self.plan.config, time.perf_counter()
        key = "unguided" if guider is None else "guided"

        self._shared.next_arm()

        def each(arm: str, done: int, total: int) -> None:
            self.observers("sample", arm=name, done=done, total=total)
            self.stop()

        with plugin_errors():
            drawn, tallies = draw_arms_of_run(
                config,
                {key: point.mapped(self._shared.around)},
                each=each,
                guider=guider,
            )
        arm = attrs.evolve(drawn[key], title=name, denoiser=point)
        self._keep(name.rpartition(" ")[2], arm)
        counts = evaluations_by_role(tallies[key], self.networks)
        return arm, MeasuredArm(name, {}, evaluations=counts, seconds=time.perf_counter() - begin)

    def _keep(self, name: str, arm: Arm) -> None:
        self.folder.write_arrays(sample_arrays({arm.name: arm}), str(Path(SAMPLES) / f"{name}.npz"))

    def _measure(self, arm: Arm, metrics: Sequence[Metric], context: Context) -> dict[str, float | None]:
        self.observers("measure", arm=arm.title, metric=metrics[0].name if metrics else "", done=0, total=len(metrics))
        values = measured(arm, metrics, context, self.stop, self._failures)
        self.observers("metrics", arm=arm.title, values=values)
        return values

    def _judge(
        self,
        metrics: Sequence[Metric],
        before: Arm,
        after: Arm,
        values: Mapping[str, Mapping[str, float | None]],
        context: Context,
    ) -> Any:
        own = attrs.evolve(context, cache=dict(context.cache))
        return verdicts(metrics, self.plan.config.task.primary(), before, after, values, own, self._failures)
