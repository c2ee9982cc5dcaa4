"""The metrics of arms: those of the task, and those that plugins offer for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import attrs

from guideplug.config import named
from guideplug.config.origin import origin_of
from guideplug.denoise import Denoiser
from guideplug.errors import ConfigError
from guideplug.registry.registry import Registry
from guideplug.run.arms import draw_arms_of_run
from guideplug.run.failure import Failure, Failures, collected
from guideplug.run.metric_answers import check_metric, value_of
from guideplug.run.resolve import RunConfig
from guideplug.run.task_answers import truth_of
from guideplug.task import Arm, Context, Metric, Task

__all__ = ["Bench", "Truth", "measured", "metrics_of"]


def metrics_of(task: Task, registry: Registry) -> list[Metric]:
    """The metrics of a task, in the order of the table.

    Raises:
        ConfigError: two metrics have the same name.
    """
    further = (cls() for cls in registry.classes(cast(Any, Metric)))
    known: dict[str, Metric] = {}
    for metric in (*task.metrics(), *(metric for metric in further if metric.applies(task))):
        first = known.setdefault(metric.name, metric)
        if first is not metric:
            raise ConfigError(
                f"{named(task)} is measured by two metrics of the name {metric.name!r}, {_class(first)} and "
                f"{_class(metric)} of {origin_of(type(metric).__module__)}: give one another name, or leave its plugin "
                "out (GUIDEPLUG_DISABLE)"
            )
        check_metric(metric)
    return list(known.values())


def _class(metric: Metric) -> str:
    return f"{type(metric).__module__}.{type(metric).__qualname__}"


def measured(
    arm: Arm,
    metrics: Sequence[Metric],
    context: Context,
    each: Callable[[], None] = lambda: None,
    failures: Failures | None = None,
) -> dict[str, float | None]:
    """An arm's value per metric, None if missing, not finite, or failed; ``each`` is called after every metric.

    Metrics that raise are listed in ``failures``; without it they raise here.
    """
    values: dict[str, float | None] = {}
    for metric in metrics:
        values[metric.name] = None
        with collected(failures, "metric", metric.name, arm.name):
            values[metric.name] = value_of(metric, arm, context)
        each()
    return values


@attrs.frozen
class Truth:
    """The reference arms of a task, best first, the metrics' shared context, and the metrics of the first arm."""

    arms: Sequence[Arm]
    context: Context
    metrics: Mapping[str, float | None]
    failures: Sequence[Failure] = ()


@attrs.define
class Bench:
    """Sampling and measurement of many denoisers; shared reference arms are drawn once."""

    registry: Registry
    _truths: "dict[tuple[object, ...], Truth]" = attrs.field(factory=dict, init=False)

    def truth(self, config: RunConfig, stop: Callable[[], None] = lambda: None) -> Truth:
        """The reference for the samples of a run."""
        key = config.task, config.samples, config.sampler, config.sample_seed
        if key not in self._truths:
            arms = truth_of(config.task, config.samples, config.sampler, config.sample_seed)
            context = Context(config.task, {arm.name: arm for arm in arms}, config.sampler, config.sample_seed)
            failures = Failures()
            metrics = measured(arms[0], metrics_of(config.task, self.registry), context, stop, failures)
            self._truths[key] = Truth(arms, context, metrics, failures.listed)
        return self._truths[key]

    def sampled(
        self,
        config: RunConfig,
        point: Denoiser,
        name: str,
        failures: Failures,
        stop: Callable[[], None] = lambda: None,
    ) -> tuple[Arm, dict[str, float | None], float]:
        """The samples of a denoiser, their metrics, and network outputs per sample; metrics that raise are listed."""
        truth = self.truth(config, stop)
        drawn, tallies = draw_arms_of_run(
            config,
            {name: point},
            each=lambda arm, done, total: stop(),
        )
        context = attrs.evolve(truth.context, cache=dict(truth.context.cache))
        metrics = measured(drawn[name], metrics_of(config.task, self.registry), context, stop, failures)
        outputs = sum(count.outputs for count in tallies[name].counts.values())
        return drawn[name], metrics, outputs / config.samples
