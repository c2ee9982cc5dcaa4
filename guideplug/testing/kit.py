"""Laws tried on everything that a plugin offers, for ``guideplug plugins check``."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import torch

from guideplug.config import Reader, Strategy, short
from guideplug.config.grammar import parse
from guideplug.config.tree import Call
from guideplug.denoise import Space, WeightSchedule
from guideplug.errors import ExpressionError, GuideplugError, Interrupted
from guideplug.executors import Executor
from guideplug.features import Features
from guideplug.guide import Guider
from guideplug.objective import Objective
from guideplug.observe import Observer
from guideplug.recipe import Recipe
from guideplug.registry.registry import KINDS, Offer, Plugin, Registry
from guideplug.reward import Reward
from guideplug.rng import SampleStreams
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.study import Study
from guideplug.task import Metric, Network, Task
from guideplug.testing.examples import examples_of, suited
from guideplug.testing.executors import EXECUTOR, Executing
from guideplug.testing.features import FEATURES, features_case
from guideplug.testing.guided import Guided, models_for
from guideplug.testing.guiders import GUIDER
from guideplug.testing.imports import IMPORT, Imported
from guideplug.testing.law import Finding, reason_of
from guideplug.testing.metrics import METRIC, Measuring
from guideplug.testing.networks import NETWORK, NetworkCase
from guideplug.testing.objectives import OBJECTIVE, objective_case
from guideplug.testing.observers import OBSERVER, Observing
from guideplug.testing.oracles import Conditioning
from guideplug.testing.recipes import RECIPE
from guideplug.testing.rewards import REWARD, RewardCase
from guideplug.testing.samplers import SAMPLER, Sampling
from guideplug.testing.schedules import SCHEDULE
from guideplug.testing.selectors import SELECTOR, Selecting
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.studies import STUDY, StudyCase
from guideplug.testing.tasks import TASK, TaskCase
from guideplug.testing.toys import LineDenoiser, Normal, Slope, Smooth, Straight

__all__ = ["Checked", "Kit"]


@attrs.frozen
class Checked:
    """The findings on one offer of a plugin.

    Args:
        what: its kind and name; or ``plugin``, for the plugin itself.
        tried: the instance that laws were tried on, as an expression.
        findings: one per law.
        seconds: the duration of the check.
    """

    what: str
    tried: str
    findings: Sequence[Finding]
    seconds: float = 0.0


class Kit:
    """Try the laws on the offers of a registry's plugins.

    Args:
        registry: the plugins, also for looking up other strategies.
        files: the local plugins in it.
    """

    def __init__(self, registry: Registry, files: Sequence[str] = ()) -> None:
        self._registry, self._files = registry, list(files)
        self._made: dict[str, list[Strategy]] = {}

    def check(self, plugin: Plugin, cost: Imported | None, only: str | None = None) -> Iterator[Checked]:
        """Check the offers of a plugin, one after the other.

        Args:
            plugin: the plugin; a broken one has a single finding.
            cost: the cost of its import from `guideplug.testing.imports.imported`; None to skip it.
            only: the name of a single strategy to check.
        """
        if plugin.broken:
            yield Checked("plugin", plugin.name, [Finding(LOADS, plugin.broken, "repair it, or uninstall it")])
            return
        if only is None:
            yield Checked("plugin", plugin.name, [Finding(LOADS), *(IMPORT.findings(cost) if cost else ())])
        for offer in plugin.offers:
            if only in (None, offer.name):
                yield from self._offer(plugin, offer)

    def _offer(self, plugin: Plugin, offer: Offer) -> Iterator[Checked]:
        title = f"{offer.kind} {offer.name}"
        if isinstance(offer.what, str):
            yield _timed(title, offer.what, partial(self._preset, offer))
            return
        with tempfile.TemporaryDirectory() as folder, ExitStack() as seeds:
            # A global draw of a plugin is a finding; it must not change the caller's generators.
            seeds.enter_context(torch.random.fork_rng(devices=[]))
            place = Path(folder)
            try:
                strategy = self._example(plugin, offer.what, place)
            except (Interrupted, KeyboardInterrupt):
                raise
            except BaseException as error:  # a plugin's class method may raise anything
                fix = "let the class method example return the options that must be given"
                yield Checked(title, offer.name, [Finding("an example can be made", reason_of(error), fix)])
                return
            self._made.setdefault(plugin.name, []).append(strategy)
            yield _timed(title, short(cast(Any, strategy)), partial(self._laws, plugin, strategy, place))
            if isinstance(strategy, Task):
                for metric in strategy.metrics():
                    yield _timed(f"metric {metric.name}", f"on {strategy.name}", partial(_measured, metric, strategy))

    def _example(self, plugin: Plugin, cls: type[Strategy], folder: Path) -> Strategy:
        """The first instance that can plan with its inner strategies, or the first of all."""
        others = [*self._made.get(plugin.name, ()), *self._tasks(plugin, folder)]
        examples = list(examples_of(cls, folder, others))
        return next((strategy for strategy in examples if _plans(strategy)), examples[0])

    def _preset(self, offer: Offer) -> Iterator[Finding]:
        law, fix = "the preset is an expression that can be read", "write it as users would, with names that are here"
        kind = next(kind for kind in KINDS.values() if kind.kind == offer.kind)
        try:
            read = Reader(self._registry).expression(str(offer.what), cast(Any, kind))
        except GuideplugError as error:
            yield Finding(law, reason_of(error), fix)
        else:
            yield Finding(law, None if isinstance(read, kind) else f"it is no {offer.kind}", fix)

    def _laws(self, plugin: Plugin, strategy: Strategy, folder: Path) -> Iterator[Finding]:
        """The laws of all strategies, and those of its kind."""
        yield from STRATEGY.findings(strategy)
        if isinstance(strategy, Guider):
            yield from GUIDER.findings(self._guided(strategy))
        elif isinstance(strategy, WeightSchedule):
            yield from SCHEDULE.findings(strategy)
        elif isinstance(strategy, Selector):
            yield from SELECTOR.findings(Selecting(strategy))
        elif isinstance(strategy, Sampler):
            yield from SAMPLER.findings(Sampling(strategy))
        elif isinstance(strategy, Task):
            yield from TASK.findings(TaskCase(strategy))
        elif isinstance(strategy, Network):
            yield from NETWORK.findings(NetworkCase(strategy, suited(strategy, self._tasks(plugin, folder))))
        elif isinstance(strategy, Recipe):
            yield from RECIPE.findings(strategy)
        elif isinstance(strategy, Reward):
            yield from REWARD.findings(_reward_case(strategy))
        elif isinstance(strategy, Objective):
            yield from OBJECTIVE.findings(objective_case(strategy))
        elif isinstance(strategy, Features):
            yield from FEATURES.findings(features_case(strategy))
        elif isinstance(strategy, Metric):
            tasks = [*self._tasks(plugin, folder), Normal()]
            task = next((task for task in tasks if strategy.applies(task)), Normal())
            yield from METRIC.findings(Measuring(strategy, task))
        elif isinstance(strategy, Observer):
            strategy.check()
            yield from OBSERVER.findings(Observing(strategy))
        elif isinstance(strategy, Executor):
            yield from EXECUTOR.findings(Executing(strategy))
        elif isinstance(strategy, Study):
            yield from STUDY.findings(StudyCase(strategy, self._files))

    def _tasks(self, plugin: Plugin, folder: Path) -> Iterator[Task]:
        """An instance of each task, the plugin's own first."""
        others = [other for other in self._registry.plugins if other is not plugin]
        for offer in (offer for owner in (plugin, *others) for offer in owner.offers if offer.kind == Task.kind):
            if isinstance(offer.what, type):
                try:
                    yield cast(Task, next(examples_of(offer.what, folder)))
                except Exception:  # reported by the check of the task itself
                    continue

    def _guided(self, guider: Guider) -> Guided:
        """A guider with suitable networks: closed forms of points, of images, of images of any size; or trained."""
        needed = _needed(guider)

        def make(**options: Any) -> Guider:
            return cast(Guider, attrs.evolve(cast(Any, guider), **options))

        def models(shape: tuple[int, ...], kind: Conditioning) -> Mapping[str, Any]:
            networks = models_for(guider, kind, shape=shape)
            weights = {role: Slope() for role, recipe in needed.items() if self._makes_weight(recipe)}
            return {**{role: networks[role] for role in needed}, **networks, **weights}

        def trained(kind: Conditioning) -> Mapping[str, Any]:
            return {role: LineDenoiser(POINTS, 1 + number) for number, role in enumerate(needed)}

        guiders = [
            Guided(make, partial(models, (2,)), (2,)),
            Guided(make, partial(models, (1, 8, 8)), (1, 8, 8)),
            Guided(make, partial(models, (2, 8, 8)), (2, 8, 8), Smooth),
            Guided(make, trained, (2,), lambda kind: LineDenoiser(POINTS, 0)),
        ]
        return next((guided for guided in guiders if _accepts(guided)), guiders[0])

    def _makes_weight(self, recipe: "Recipe | str | None") -> bool:
        """Whether a recipe makes a weight instead of a network, judged by its own `from_file`."""
        try:
            call = parse(recipe) if isinstance(recipe, str) else recipe
            cls = self._registry.find(Recipe.kind, call.name) if isinstance(call, Call) else type(call)
            return isinstance(cls, type) and issubclass(cls, Recipe) and cls.from_file("any.safetensors") is not None
        except (GuideplugError, ExpressionError):
            return False


POINTS = Space((2,))
LOADS = "it is loaded, and offers what keeps the rules of hooks"


def _timed(title: str, tried: str, laws: Callable[[], Iterator[Finding]]) -> Checked:
    begin = time.perf_counter()
    findings: list[Finding] = []
    try:
        findings.extend(laws())
    except (Interrupted, KeyboardInterrupt):
        raise
    except BaseException as error:  # raised before any law, such as while finding a task for a network
        findings.append(Finding("it can be tried", reason_of(error), "see what it says"))
    return Checked(title, tried, findings, time.perf_counter() - begin)


def _measured(metric: Metric, task: Task) -> Iterator[Finding]:
    yield from STRATEGY.findings(metric)
    yield from METRIC.findings(Measuring(metric, task))


def _reward_case(reward: Reward) -> RewardCase:
    task = getattr(reward, "task", None) or Normal()
    true = next(arm for arm in task.truth(6, Straight(), 0) if arm.name == "truth")
    start = task.start(SampleStreams(0, range(6)), task.space.sigma_max)
    return RewardCase(reward, true.samples, start.condition if true.condition is None else true.condition)


def _needed(guider: Guider) -> Mapping[str, "Recipe | str | None"]:
    """The needs of a guider for the first task that it accepts."""
    for shape in ((2,), (1, 8, 8), (2, 8, 8)):
        task = Normal(shape=shape)
        try:
            return guider.needs(task, cast(Recipe, task.recipe("main", None)))
        except Exception:  # reported by the law about needs
            continue
    return {}


def _accepts(guided: Guided) -> bool:
    """Whether the guider accepts such networks."""
    try:
        for case in guided.cases:
            case.guided(guided.guider)(case.x, 0.5, case.condition)
    except GuideplugError:
        return False
    except Exception:  # a bug, reported by the laws
        return True
    return True


def _plans(strategy: Strategy) -> bool:
    """Whether a selector can plan with its inner selectors; other kinds are checked at construction."""
    if not isinstance(strategy, Selector):
        return True
    try:
        strategy.plan(256, strategy.init())
    except ValueError:
        return False
    return True
