"""Sources of the noisy examples of training steps.

- `FreshNoise`: the data draw examples at new noise levels in every step.
- `NoiseStreams`: finite data with K noise streams per item. Stream k of item i determines its noise level, its noise,
  and whether its condition is dropped; a step draws items and streams. The data are then N K fixed noisy examples,
  whose losses of a fixed network can be computed once (`LossTable`).

The streams belong to the data and do not depend on the training's seed, so that trainings share a table.
"""

from typing import Protocol, cast, final

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug.config import Strategy, breach, described
from guideplug.denoise import (
    Condition,
    Leaf,
    equal_conditions,
    is_condition,
    on_device,
    parts_of,
    per_row,
)
from guideplug.errors import ConditionError, RecipeError
from guideplug.noise import NoiseDistribution
from guideplug.rng import SampleStreams, TrainingStreams, derived_seed
from guideplug.task import Examples
from guideplug.train.dropping import dropped

__all__ = [
    "NO_SEPARATE_NOISE",
    "Data",
    "ExampleSource",
    "Finite",
    "FreshNoise",
    "LossTable",
    "NoiseStreams",
    "NoisyExamples",
    "check_examples",
    "check_null",
    "dropped",
    "finite",
    "with_dropped_conditions",
]

NO_SEPARATE_NOISE = (
    "noise=separate draws fresh noise for the reference, and noise_streams is {}, which decides all noise beforehand: "
    "set noise_streams to 0, or score both under shared noise"
)


@frozen
class NoisyExamples:
    """The noisy examples of a step.

    Args:
        examples: noisy inputs, targets, conditions and ids.
        sigma: their noise levels (B,).
        drop: mask of examples trained under the null condition, bool (B,); None for none.
        streams: the number of each example's noise stream, int64 (B,); None for fresh noise.
    """

    examples: Examples
    sigma: Tensor
    drop: Tensor | None = None
    streams: Tensor | None = None


class Data(Protocol):
    """A source of examples: a task, or a set of samples."""

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        """One example per noise level in ``sigma`` (B,)."""


class Finite(Protocol):
    """Data with a finite number of items, such as a task whose ``size`` is not None."""

    def size(self) -> int | None:
        """The number of items."""

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """The clean samples (B, *) of some items, by number from 0, and their conditions."""


def finite(data: object) -> Finite:
    """The data, checked to have a finite number of items.

    Raises:
        RecipeError: the data are generated without end.
    """
    size = getattr(data, "size", None)
    if not callable(size) or not hasattr(data, "items") or size() is None:
        name = getattr(data, "name", type(data).__name__)
        raise RecipeError(
            f"noise_streams is for data with a finite number of items, and {name!r} draws its examples anew: "
            "set noise_streams to 0"
        )
    return cast(Finite, data)


class ExampleSource(Protocol):
    """A source of noisy examples."""

    def draw(self, count: int, streams: TrainingStreams) -> NoisyExamples:
        """``count`` examples of the step of ``streams``."""


@final
@frozen
class FreshNoise:
    """Noise drawn anew in each step.

    Args:
        data: the source of examples.
        noise: the distribution of noise levels.
        dropout: share of examples trained under the null condition.
    """

    data: Data
    noise: NoiseDistribution
    dropout: float = 0.0

    def draw(self, count: int, streams: TrainingStreams) -> NoisyExamples:
        """``count`` examples.

        Raises:
            RecipeError: in the first step, other noise is requested, and the data do not draw it separately.
        """
        if streams.noise_for and streams.step == 0:
            self._check_apart(streams)
        sigma = self.noise.draw(count, streams.generator("noise level"))
        examples = self.data.draw(sigma, streams)
        check_examples(self.data, examples, sigma)
        if not self.dropout:
            return NoisyExamples(examples, sigma)
        generator = streams.generator("condition dropout")
        return NoisyExamples(
            examples, sigma, torch.rand(count, generator=generator, device=generator.device) < self.dropout
        )

    def _check_apart(self, streams: TrainingStreams) -> None:
        """Check that the data draw the same items under other noise, with two examples at one level."""
        sigma = torch.ones(2, device=streams.device)
        ours, theirs = (self.data.draw(sigma, evolve(streams, noise_for=name)) for name in ("", streams.noise_for))
        if bool((ours.x == theirs.x).any()) or not all(
            map(equal_conditions, (ours.condition, ours.ids), (theirs.condition, theirs.ids))
        ):
            name = getattr(self.data, "name", type(self.data).__name__)
            raise RecipeError(
                f"noise=separate is for data whose noise, and nothing else, comes from streams.generator('noise'), and "
                f"{name!r} draws in another way: score learner and reference under shared noise"
            )


@final
@frozen
class NoiseStreams:
    """Finite data with ``count`` noise streams per item.

    Args:
        data: the items.
        count: noise streams per item, K.
        noise: the distribution of noise levels.
        dropout: share of the noisy examples that are trained under the null condition.
    """

    data: Finite
    count: int
    noise: NoiseDistribution
    dropout: float = 0.0

    @property
    def items(self) -> int:
        """The number of items, N."""
        size = self.data.size()
        assert size is not None  # by `finite`
        return size

    def draw(self, count: int, streams: TrainingStreams) -> NoisyExamples:
        """``count`` of the N K noisy examples, uniform, with replacement.

        Raises:
            RecipeError: other noise is requested: that of an item's streams is fixed.
        """
        if streams.noise_for:
            raise RecipeError(NO_SEPARATE_NOISE.format(self.count))
        generator = streams.generator("data", "cpu")
        ids = torch.randint(self.items, (count,), generator=generator)
        return self.numbered(ids, torch.randint(self.count, (count,), generator=generator), streams.device)

    def numbered(self, ids: Tensor, streams: Tensor, device: torch.device) -> NoisyExamples:
        """The noisy examples of some items (B,) under some of their streams (B,)."""
        clean, condition = self.data.items(ids)
        own = SampleStreams(derived_seed("noise streams"), (ids * self.count + streams).numpy(), device)
        sigma = self.noise.quantile(own.uniform((), "noise level")).float()
        clean = clean.to(device)
        noise = own.normal(clean.shape[1:], "noise")
        x = clean + per_row(sigma, clean) * noise
        drop = own.uniform((), "condition dropout") < self.dropout if self.dropout else None
        examples = Examples(x, clean, on_device(condition, device), ids.to(device))
        return NoisyExamples(examples, sigma, drop, streams.to(device))


@final
class LossTable(nn.Module):
    """The loss of one network on each noisy example of finite data: ``losses``, float32, (N, K)."""

    losses: Tensor

    def __init__(self, items: int, streams: int) -> None:
        super().__init__()
        self.register_buffer("losses", torch.zeros(items, streams))


def check_examples(data: Data, examples: object, sigma: Tensor) -> None:
    """Refuse examples by what is known of them on the host; no value is read.

    Args:
        data: the source of the examples, a task or a module of samples.
        examples: one per level.
        sigma: the noise levels (B,).

    Raises:
        ContractError: they are of another kind, number, shape, type or device, of a task.
        RecipeError: the same, of other data.
    """
    fault = _fault(examples, sigma, tuple(data.space.shape) if hasattr(data, "space") else None)
    if fault:
        raise breach(data, fault) if isinstance(data, Strategy) else RecipeError(f"{type(data).__name__} {fault}")


def _fault(examples: object, sigma: Tensor, shape: tuple[int, ...] | None) -> str:
    """What is wrong with examples for ``sigma``, in words; empty where nothing is."""
    if not isinstance(examples, Examples):
        return f"drew {described(examples)}: return Examples(x, target)"
    count = len(sigma)
    for name, values in (("x", examples.x), ("target", examples.target)):
        if not isinstance(values, Tensor):
            return f"drew {described(values)} as {name}: return tensors"
        if len(values) != count or (shape is not None and tuple(values.shape[1:]) != shape):
            want = f"{(count, *shape)}" if shape is not None else f"({count}, *)"
            return f"drew {name} of shape {tuple(values.shape)} for {count} levels: return shape {want}"
        if values.dtype != sigma.dtype or values.device != sigma.device:
            return f"drew {name} as {described(values)} on {values.device}: return {sigma.dtype} on {sigma.device}"
    if examples.x.shape != examples.target.shape:
        return f"drew x of shape {tuple(examples.x.shape)} and target of shape {tuple(examples.target.shape)}"
    if not is_condition(examples.condition):
        return f"drew {described(examples.condition)} as a condition: return a tensor, or a dict or list of these"
    parts = {f"condition {name}".strip(): part for name, part in parts_of(examples.condition).items()}
    for name, part in {**parts, "ids": examples.ids, "group": examples.group}.items():
        if part is not None and (part.ndim == 0 or len(part) != count):
            return f"drew {name} of shape {tuple(part.shape)} for {count} examples: return a row for each"
    return ""


def with_dropped_conditions(drawn: NoisyExamples, network: Leaf) -> Examples:
    """The examples, with dropped conditions replaced by the network's null condition.

    Raises:
        ConditionError: the network has no null condition, or one of another kind than the data's.
    """
    if drawn.drop is None:
        return drawn.examples
    check_null(network)
    null = network.null_condition(len(drawn.sigma), drawn.sigma.device)
    return evolve(drawn.examples, condition=dropped(drawn.examples.condition, null, drawn.drop, network.masks))


def check_null(network: Leaf) -> None:
    """Refuse a network without a null condition, which dropped conditions need.

    Raises:
        ConditionError: the network has no null condition.
    """
    if not network.has_null:
        raise ConditionError(
            f"condition_dropout: the network {network.role!r}, a {type(network).__name__}, has no null condition, "
            "which examples with a dropped condition are trained and scored under: give it one, as in "
            "wrap(..., null=10), or --set train.condition_dropout=0"
        )
