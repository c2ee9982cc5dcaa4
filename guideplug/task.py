"""Tasks: data, conditions, noise levels, recipes, metrics and figures under one name; and networks for them."""

import abc
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar, cast

import torch
from attrs import Factory, field, frozen
from torch import Tensor

from guideplug.config import Strategy, breach, decides_nothing
from guideplug.denoise import (
    Condition,
    Denoiser,
    Domain,
    Leaf,
    NoiseDomain,
    Space,
    Start,
    fault_of_leaf,
    labels_of,
    per_row,
)
from guideplug.denoise.api1 import note, own, put
from guideplug.files.checkpoints.pickled_network import PickledNetwork
from guideplug.recipe import Recipe
from guideplug.rng import Streams, TrainingStreams
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
    """Training examples: noisy inputs and targets.

    Args:
        x: noisy samples (B, *).
        target: the clean samples (B, *), or the exact denoised ones if known.
        condition: the condition of the samples.
        ids: stable numbers of the data items, (B,), or None for generated data.
        group: the numbers of the samples' groups, (B,), if known only when drawing; see `Task.group`.
    """

    x: Tensor
    target: Tensor
    condition: Condition = None
    ids: Tensor | None = None
    group: Tensor | None = None


def noised(
    clean: Tensor, sigma: Tensor, streams: TrainingStreams, condition: Condition = None, ids: Tensor | None = None
) -> Examples:
    """Examples from clean samples (B, *), with noise of level sigma (B,) added and the clean samples as targets."""
    noise = torch.randn(clean.shape, generator=streams.generator("noise"), device=clean.device)
    return Examples(clean + per_row(sigma, clean) * noise, clean, condition, ids)


@frozen
class Arm:
    """Samples to measure, with their origin.

    Args:
        name: "truth", "exact", "unguided", "guided".
        samples: (N, *), decoded.
        condition: the condition of the samples.
        start: the noisy samples at the start of sampling, (N, *), or None for true samples.
        denoiser: the sampled denoiser, or None for true samples.
        title: the title in figures; by default the name.
    """

    name: str
    samples: Tensor
    condition: Condition = None
    start: Tensor | None = None
    denoiser: Denoiser | None = None
    title: str = field(default=Factory(lambda arm: arm.name, takes_self=True))

    @property
    def labels(self) -> Tensor | None:
        """The condition if it holds labels (N,), whole numbers; else None."""
        return labels_of(self.condition)


Resampler: TypeAlias = Callable[[Tensor], Tensor]
"""A metric as a function of weights (R, N), a row per resample, to values (R,); see `Metric.resampler`."""


@decides_nothing
class Metric(Strategy):
    """A measure of the quality of samples."""

    kind: ClassVar[str] = "metric"
    better: ClassVar[Literal["higher", "lower", "truth"]]
    """The better direction; "truth" for nearer to the value of true samples."""
    aspect: ClassVar[Literal["fidelity", "coverage", "both", "accuracy", "memorisation"]]
    formula: ClassVar[str]
    """The formula in words and symbols, for the documentation."""
    fewest: ClassVar[int] = 1
    """The fewest samples, and true samples where it compares with them, of which it has a value."""

    def applies(self, task: "Task") -> bool:
        """Whether it is defined for the samples of a task."""
        return True

    @abc.abstractmethod
    def measure(self, arm: Arm, context: "Context") -> float | None:
        """The value for an arm, or None without one (such as a loss of true samples)."""

    def resampler(self, arm: Arm, context: "Context") -> Resampler | None:
        """The metric as a function of the multiplicity of each sample of an arm, for its interval.

        Args:
            arm: an arm with N samples.
            context: the shared context of metrics.

        Returns:
            A function of weights, float64 (R, N), whole numbers, a row per resample: the values of `measure` for the
            arm with samples repeated by the weights, float64 (R,). None, the default, if the metric cannot be resampled
            or has no value: it then has no interval, and cannot be a task's primary metric.
        """
        return None


class Weighted(Metric):
    """A metric as a function of the multiplicity of each sample."""

    @abc.abstractmethod
    def resampler(self, arm: Arm, context: "Context") -> Resampler | None: ...

    def measure(self, arm: Arm, context: "Context") -> float | None:
        """The value with each sample counted once."""
        of_weights = self.resampler(arm, context)
        return None if of_weights is None else float(of_weights(torch.ones(1, len(arm.samples), dtype=torch.float64)))


class PerSample(Weighted):
    """A metric that is a mean over samples."""

    @abc.abstractmethod
    def each(self, arm: Arm, context: "Context") -> Tensor | None:
        """The value of each sample, floating-point (N,), or of the first ones; None without values."""

    def measure(self, arm: Arm, context: "Context") -> float | None:
        """The mean over samples."""
        values = self.each(arm, context)
        return None if values is None else float(values.mean())

    def resampler(self, arm: Arm, context: "Context") -> Resampler | None:
        """The mean over each resample."""
        values = self.each(arm, context)
        if values is None:
            return None
        values, first = values.double(), slice(len(values))
        return lambda weights: weights[:, first] @ values / weights[:, first].sum(1)


@decides_nothing
@frozen
class Context:
    """The shared context of metrics in one run: the task, the reference arms, the sampler, and cached results.

    Args:
        task: the task.
        references: the arms of comparison, such as true samples, by name.
        sampler: the sampler of the run.
        seed: the seed of metrics that draw.
        cache: results shared between metrics.
    """

    task: "Task"
    references: Mapping[str, Arm]
    sampler: Sampler
    seed: int = 0
    cache: dict[str, Any] = field(factory=dict)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """The result of ``make``, computed once per run and cached under ``key``."""
        if key not in self.cache:
            self.cache[key] = make()
        return cast(T, self.cache[key])


class Network(Strategy):
    """An architecture of denoisers with its options."""

    kind: ClassVar[str] = "denoiser"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _adapt_network(cls)

    @abc.abstractmethod
    def build(self, domain: Domain) -> Leaf:
        """The untrained denoiser for a domain's samples, on the CPU; the domain is a task, or stands alone.

        Initial weights may be drawn from torch's global generator, which is seeded for the call and restored after it.

        Raises:
            ValueError: the architecture does not support such samples.
        """

    def content(self) -> str:
        """Deciding content besides the options, such as a hash of code named by an option."""
        return ""

    def sampler(self, domain: Domain) -> str:
        """The expression of the default sampler of its denoisers: the domain's, unless the network needs another."""
        return domain.sampler()

    @classmethod
    def of_pickled(cls, snapshot: PickledNetwork) -> "tuple[Network, NoiseDomain] | None":
        """The network of a snapshot of another program, and what it denoises; None, the default, for other classes.

        The weights have the names that they have in the network's ``state_dict``.

        Raises:
            ValueError: the class is known, and its arguments are not.
        """
        return None


class Task(Strategy):
    """A modelling task: a `Domain` with data, recipes, metrics and figures.

    Final frozen attrs classes; the fields are options of the data.
    """

    kind: ClassVar[str] = "task"

    @property
    @abc.abstractmethod
    def space(self) -> Space:
        """Data shape, standard deviation, and noise levels."""

    @abc.abstractmethod
    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        """One training example per noise level in ``sigma`` (B,), on its device."""

    @abc.abstractmethod
    def start(self, streams: Streams, sigma: float) -> Start:
        """The initial states of the samples numbered by ``streams``, at noise level ``sigma``."""

    @property
    def num_labels(self) -> int | None:
        """The number of labels, 0 to num_labels - 1; None if conditions are not labels."""
        return None

    @abc.abstractmethod
    def recipe(self, role: str, main: "Recipe | None") -> "Recipe | None":
        """The default recipe of a role: "main" (with ``main`` None), "weak", "unconditional", ...

        None if the task has no default for the role. Recipes derived from ``main`` omit its selector.
        """

    @abc.abstractmethod
    def sampler(self) -> str:
        """The expression of the default sampler."""

    def samples(self) -> int:
        """The default number of samples of a run."""
        return 1024

    def num_true(self) -> int | None:
        """The number of true samples that there are for `truth`; None, the default, for any number."""
        return None

    def size(self) -> int | None:
        """The number of distinct training examples; None for data generated without end."""
        return None

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """The clean samples (B, *) of some of the `size` examples, by number from 0, and their conditions; on the CPU.

        Raises:
            NotImplementedError: the training data are generated without end, which is the default.
        """
        raise NotImplementedError(f"task {self.name!r} draws its examples anew")

    def groups(self) -> Sequence[str]:
        """The names of the groups of training examples, such as classes; a run reports their selected shares.

        Empty, the default, without groups.
        """
        return ()

    def group(self, examples: Examples) -> Tensor | None:
        """The number of each example's group in `groups`, int64 (B,); None, the default, without groups."""
        return examples.group

    def group_of(self, x: Tensor) -> Tensor | None:
        """The number in `groups` of each clean sample (B, *), as networks see them, int64 (B,).

        None, the default, if the group does not follow from the sample without its condition.
        """
        return None

    def fingerprint(self) -> str:
        """The identity of the data besides the options: a hash of their bytes, or of their generator."""
        return ""

    @decides_nothing
    @abc.abstractmethod
    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        """Reference arms, best first: true samples, named "truth", and optionally the exact denoiser's, "exact"."""

    @decides_nothing
    @abc.abstractmethod
    def metrics(self) -> Sequence[Metric]:
        """The metrics, in the order of the table."""

    @decides_nothing
    def primary(self) -> Sequence[str]:
        """The names of the metrics that determine verdicts, at most one per aspect; others are only shown.

        Empty, the default, for no verdict. A primary metric has a `Metric.resampler`.
        """
        return ()

    @decides_nothing
    @abc.abstractmethod
    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        """Draw the arms side by side as a PNG at ``path``."""

    @decides_nothing
    def pictures(self, samples: Tensor) -> Tensor | None:
        """Decoded samples (N, *) as pictures to look at, uint8 (N, 3, H, W); None, the default, if they are no images.

        Grids of samples by weight, pairs of unguided and guided ones, and nearest training images are drawn of it.
        """
        return None

    @decides_nothing
    def animate(self, arms: Sequence[Arm], sampler: Sampler, seed: int, path: Path) -> bool:
        """Draw the trajectories of the arms' samples as a GIF at ``path``.

        Args:
            arms: arms with a start and a denoiser; starts are on the CPU, denoisers on their device of sampling.
            sampler: the sampler of the trajectories.
            seed: the seed of the arms' random streams, whose samples are numbered from 0.
            path: the file to write.

        Returns:
            Whether a file was written; False, the default, for tasks without an animation.
        """
        return False


def seeded_build(network: Network, domain: Domain, seed: int) -> Leaf:
    """The untrained denoiser of ``network``, with initial weights determined by ``seed`` alone.

    Raises:
        ContractError: the network builds something else than a denoiser of the domain's samples.
        ValueError: the network does not support such samples.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        leaf = network.build(domain)
    if fault := fault_of_leaf(leaf, domain.space.shape):
        raise breach(network, fault)
    leaf.built_by = network
    return leaf


def _adapt_network(cls: type[Network]) -> None:
    """Adapt a network written for plugin API 1, ``build(self, task)``, which is built for tasks alone."""
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
