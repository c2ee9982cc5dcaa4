"""Tasks: data, conditions, noise levels, recipes, metrics and figures under one name; and networks for them."""

import abc
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, cast

import torch
from attrs import Factory, field, frozen
from torch import Tensor

from guideplug.config import Strategy, decides_nothing
from guideplug.denoise import Condition, Denoiser, Domain, Leaf, Space, Start, labels_of, per_row
from guideplug.denoise.api1 import note, own, put
from guideplug.recipe import Recipe
from guideplug.rng import SampleStreams, TrainingStreams
from guideplug.sample import Sampler

__all__ = [
    "Arm",
    "Context",
    "Examples",
    "Metric",
    "Network",
    "PerSample",
    "Resampler",
    "Task",
    "Weighted",
    "noised",
    "seeded_build",
]

T = TypeVar("T")


@frozen
class Examples:
    """Training examples: noisy inputs and what a perfect denoiser answers.

    Args:
        x: noisy samples (B, *).
        target: the clean samples (B, *), or the exact denoised ones where they are known.
        condition: what they were drawn under.
        ids: stable numbers of the data they come from, (B,), or None where data are drawn anew.
        group: the numbers of the groups that they were drawn from, (B,), where that is known only when drawing; see
            `Task.group`.
    """

    x: Tensor
    target: Tensor
    condition: Condition = None
    ids: Tensor | None = None
    group: Tensor | None = None


def noised(
    clean: Tensor, sigma: Tensor, streams: TrainingStreams, condition: Condition = None, ids: Tensor | None = None
) -> Examples:
    """Examples from clean samples (B, *): noise of level sigma (B,) added, the clean samples as targets."""
    noise = torch.randn(clean.shape, generator=streams.generator("noise"), device=clean.device)
    return Examples(clean + per_row(sigma, clean) * noise, clean, condition, ids)


@frozen
class Arm:
    """Samples to be measured, and where they come from.

    Args:
        name: "truth", "exact", "unguided", "guided".
        samples: (N, *), decoded.
        condition: what they were drawn under.
        start: the noisy samples they came from, (N, *), or None for true samples.
        denoiser: what made them, or None for true samples.
        title: what to call it in figures; by default its name.
    """

    name: str
    samples: Tensor
    condition: Condition = None
    start: Tensor | None = None
    denoiser: Denoiser | None = None
    title: str = field(default=Factory(lambda arm: arm.name, takes_self=True))

    @property
    def labels(self) -> Tensor | None:
        """The condition where it is labels (N,), whole numbers; None where it is anything else, or missing."""
        return labels_of(self.condition)


Resampler: TypeAlias = Callable[[Tensor], Tensor]
"""A metric of resamples: weights (R, N), a row per resample, to values (R,); see `Metric.resampler`."""


@decides_nothing
class Metric(Strategy):
    """A number that says how good samples are."""

    kind: ClassVar[str] = "metric"
    better: ClassVar[Literal["higher", "lower", "truth"]]
    """Which way is better; "truth" for as near to true samples as can be."""
    aspect: ClassVar[Literal["fidelity", "coverage", "both", "accuracy", "memorisation"]]
    formula: ClassVar[str]
    """What is computed, in words and symbols; printed in the documentation."""

    def applies(self, task: "Task") -> bool:
        """Whether it makes sense for the samples of a task."""
        return True

    @abc.abstractmethod
    def measure(self, arm: Arm, context: "Context") -> float | None:
        """The value for an arm, or None where it has none (a loss of true samples, say)."""

    def resampler(self, arm: Arm, context: "Context") -> Resampler | None:
        """The metric as a function of how often each sample of an arm counts, which gives it its interval.

        Args:
            arm: with N samples.
            context: what metrics share.

        Returns:
            A function of weights, float64 (R, N), whole numbers, a row per resample: what `measure` gives for an arm
            that repeats its samples so often, float64 (R,). None, the default, where the metric cannot be resampled or
            has no value: it has no interval then, and cannot be a task's primary.
        """
        return None


class Weighted(Metric):
    """A metric that is a function of how often each sample counts."""

    @abc.abstractmethod
    def resampler(self, arm: Arm, context: "Context") -> Resampler | None: ...

    def measure(self, arm: Arm, context: "Context") -> float | None:
        """The value where each sample counts once."""
        of_weights = self.resampler(arm, context)
        return None if of_weights is None else float(of_weights(torch.ones(1, len(arm.samples), dtype=torch.float64)))


class PerSample(Weighted):
    """A metric that is a mean over samples."""

    @abc.abstractmethod
    def each(self, arm: Arm, context: "Context") -> Tensor | None:
        """The value of each sample, floating-point (N,), or of the first ones; None where it has none."""

    def measure(self, arm: Arm, context: "Context") -> float | None:
        """Their mean."""
        values = self.each(arm, context)
        return None if values is None else float(values.mean())

    def resampler(self, arm: Arm, context: "Context") -> Resampler | None:
        """Their mean over each resample."""
        values = self.each(arm, context)
        if values is None:
            return None
        values, first = values.double(), slice(len(values))
        return lambda weights: weights[:, first] @ values / weights[:, first].sum(1)


@decides_nothing
@frozen
class Context:
    """What metrics share within one run: the task, the reference arms, the sampler, and results worth computing once.

    Args:
        task: the task.
        references: arms that every run is compared with, such as true samples, by name.
        sampler: the sampler of the run.
        seed: for metrics that draw.
        cache: anything that one metric computes and another may reuse.
    """

    task: "Task"
    references: Mapping[str, Arm]
    sampler: Sampler
    seed: int = 0
    cache: dict[str, Any] = field(factory=dict)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, computed once in a run and kept in ``cache`` under ``key``."""
        if key not in self.cache:
            self.cache[key] = make()
        return cast(T, self.cache[key])


class Network(Strategy):
    """What a denoiser is built from: an architecture and its options."""

    kind: ClassVar[str] = "denoiser"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _adapt_network(cls)

    @abc.abstractmethod
    def build(self, domain: Domain) -> Leaf:
        """The untrained denoiser for a domain's samples, on the CPU: for a task, or for what is sampled without one.

        It may draw its initial weights from torch's global generator, which is seeded for the call and restored after.

        Raises:
            ValueError: it is not made for such samples.
        """

    def content(self) -> str:
        """What decides the network but is no option, such as a hash of code that an option names."""
        return ""


class Task(Strategy):
    """Something to model: a `Domain` with data, recipes, metrics and figures.

    Final frozen attrs classes; the fields are what can be chosen about the data.
    """

    kind: ClassVar[str] = "task"

    @property
    @abc.abstractmethod
    def space(self) -> Space:
        """Data shape, standard deviation, and noise levels."""

    @abc.abstractmethod
    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        """One training example for each noise level in ``sigma`` (B,), on its device."""

    @abc.abstractmethod
    def start(self, streams: SampleStreams, sigma: float) -> Start:
        """The starts of the samples that ``streams`` numbers, at noise level ``sigma``."""

    @property
    def num_labels(self) -> int | None:
        """How many labels a condition chooses from, 0 to num_labels - 1; None where conditions are no labels."""
        return None

    @abc.abstractmethod
    def recipe(self, role: str, main: "Recipe | None") -> "Recipe | None":
        """How a role's network is obtained by default: "main" (``main`` is None then), "weak", "unconditional", ...

        None where the task has no default for the role. What is derived from ``main`` leaves its selector out.
        """

    @abc.abstractmethod
    def sampler(self) -> str:
        """The expression of the sampler that fits the task, used where the user names none."""

    def samples(self) -> int:
        """How many samples a run draws by default."""
        return 1024

    def size(self) -> int | None:
        """How many distinct examples the training data have; None where they are drawn anew without end."""
        return None

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """The clean samples (B, *) of some of the `size` examples, by number from 0, and their conditions; on the CPU.

        Raises:
            NotImplementedError: the training data are drawn anew without end, which is the default.
        """
        raise NotImplementedError(f"task {self.name!r} draws its examples anew")

    def groups(self) -> Sequence[str]:
        """Names of the groups that training examples fall into, such as classes; a run says which were selected more.

        None, which is the default, where examples are not told apart.
        """
        return ()

    def group(self, examples: Examples) -> Tensor | None:
        """The number of each example's group in `groups`, int64 (B,); None, the default, where there are none."""
        return examples.group

    def group_of(self, x: Tensor) -> Tensor | None:
        """The number in `groups` of each clean sample (B, *), as networks see them, int64 (B,).

        None, the default, where a sample without its condition does not say it.
        """
        return None

    def fingerprint(self) -> str:
        """What identifies the data beyond the options: a hash of their bytes, or of what generates them."""
        return ""

    @decides_nothing
    @abc.abstractmethod
    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        """Reference arms, best first: true samples under the name "truth", perhaps the exact denoiser's as "exact"."""

    @decides_nothing
    @abc.abstractmethod
    def metrics(self) -> Sequence[Metric]:
        """What is measured, in the order of the table."""

    @decides_nothing
    def primary(self) -> Sequence[str]:
        """The names of the metrics that verdicts rest on, at most one per aspect; the others are shown and do not vote.

        None, the default, where no verdict is given. A primary metric has a `Metric.resampler`.
        """
        return ()

    @decides_nothing
    @abc.abstractmethod
    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        """Draw the arms beside each other and write a PNG to ``path``."""

    @decides_nothing
    def animate(self, arms: Sequence[Arm], sampler: Sampler, seed: int, path: Path) -> bool:
        """Draw how the starts of the arms flow to their samples, and write a GIF to ``path``.

        Args:
            arms: those that have a start and a denoiser; starts are on the CPU, a denoiser where it was sampled.
            sampler: whose steps are shown.
            seed: of the arms' random streams, whose samples are numbered from 0.
            path: where to.

        Returns:
            Whether it drew; a task without an animation, which is the default, does not.
        """
        return False


def seeded_build(network: Network, domain: Domain, seed: int) -> Leaf:
    """The untrained denoiser of ``network``, its initial weights decided by ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return network.build(domain)


def _adapt_network(cls: type[Network]) -> None:
    """Let a network that is written for plugin API 1, ``build(self, task)``, be built for tasks alone."""
    build = own(cls, "build")
    if build is None or list(inspect.signature(build).parameters)[1:] != ["task"]:
        return
    note(cls, build, "takes a task: write build(self, domain), a guideplug.Domain")

    def for_tasks(self: Network, domain: Domain) -> Leaf:
        if not isinstance(domain, Task):
            raise ValueError(f"{self.name} is written for plugin API 1, which builds for tasks alone: give a task")
        built: Leaf = build(self, domain)
        if built.num_labels is None:
            built.num_labels = domain.num_labels
        return built

    put(cls, "build", for_tasks)
