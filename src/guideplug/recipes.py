"""The recipes of the core: train, fine-tune, load, snapshot, synthetic data.

Source of synthetic data as a training set for a guide: Alemohammad, Humayun, Agarwal, Collomosse and Baraniuk 2024,
"Self-improving diffusion models with synthetic data", arXiv:2408.16333.
"""

import abc
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import torch
from attrs import evolve, frozen
from attrs.validators import deep_iterable
from torch import Tensor, nn

from guideplug.config import Duration, Source, Strategy, at_least, between, non_negative, option, positive
from guideplug.denoise import Condition, Denoiser, Leaf, select_rows
from guideplug.draws import LossTable, NoiseStreams, finite
from guideplug.ema import MAX_LENGTH, post_hoc_weights, power_gamma, profile_error
from guideplug.errors import CheckpointError, RecipeError
from guideplug.guide import Guider
from guideplug.losses import Loss
from guideplug.noise import LogNormal, NoiseDistribution, SampleStreams, TrainingStreams, derived_seed
from guideplug.recipe import Recipe, Workshop
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.task import Examples, Network, Task, noised, seeded_build
from guideplug.tensors import fill_module, read_tensors, tensors_digest

__all__ = [
    "Constant",
    "Cosine",
    "FineTune",
    "InverseSqrt",
    "Load",
    "Options",
    "ReferenceLosses",
    "Schedule",
    "Snapshot",
    "Synthetic",
    "Train",
    "stored_averages",
]

MAX_AVERAGES = 512
"""More make the least squares for a length slow and no better."""
MAX_PROFILE_ERROR = 0.05
"""A combination of averages that is further from the wanted profile, relative to it, is refused."""


class Schedule(Strategy):
    """The learning rate over the steps."""

    kind: ClassVar[str] = "schedule"

    needs_end: ClassVar[bool] = False
    """Whether it needs to know how far the training has come, which a time limit does not tell reproducibly."""

    @abc.abstractmethod
    def factor(self, step: int, progress: float) -> float:
        """The factor on the learning rate at a step, counted from 0, when ``progress`` of the duration is done."""


@final
@frozen
class Constant(Schedule):
    """The learning rate stays as it is."""

    name = "constant"

    def factor(self, step: int, progress: float) -> float:
        return 1.0


@final
@frozen
class InverseSqrt(Schedule):
    """The learning rate falls as 1 / sqrt(step / after) once ``after`` steps are done (arXiv:2312.02696, eq. 67)."""

    name = "inverse-sqrt"
    after: int = option(512, help="steps at the full learning rate", unit="iterations", validator=at_least(1))

    def factor(self, step: int, progress: float) -> float:
        return float(max(step / self.after, 1.0) ** -0.5)


@final
@frozen
class Cosine(Schedule):
    """The learning rate falls along half a cosine to ``end`` of itself; needs a duration in iterations or examples."""

    name = "cosine"
    needs_end = True
    end: float = option(0.0, help="share of the learning rate that is left at the end", validator=between(0, 1))

    def factor(self, step: int, progress: float) -> float:
        return self.end + (1.0 - self.end) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


@final
@frozen(kw_only=True)
class Options:
    """How a denoiser is trained: everything in one place, the table ``[train]`` of a configuration."""

    duration: Duration = option(help="how long: 4096it, 3.3Mex or 90s", converter=Duration.of)
    batch: int = option(
        help="examples drawn for a step; a selector's super-batch", unit="examples", validator=at_least(1)
    )
    lr: float = option(1e-3, help="learning rate", validator=positive)
    optimizer: Literal["adam", "adamw", "sgd"] = option("adam", help="optimiser; sgd has momentum beta 1")
    betas: tuple[float, float] = option(
        (0.9, 0.99), help="decay of the optimiser's averages", validator=deep_iterable(between(0, 1))
    )
    weight_decay: float = option(0.0, help="weight decay", validator=non_negative)
    schedule: Schedule = option(factory=Constant, help="learning rate over the steps")
    warmup: int = option(0, help="steps in which the learning rate rises from 0", unit="steps", validator=at_least(0))
    clip: float | None = option(None, help="largest norm of the gradient, or none")
    accumulate: int = option(1, help="parts that a batch goes through the network in", validator=at_least(1))
    precision: Literal["fp32", "bf16"] = option("fp32", help="precision of the network's arithmetic in training")
    score_precision: Literal["same", "bf16"] = option(
        "same", help="precision in which a selector's losses are computed: as in training, or bf16"
    )
    noise: NoiseDistribution = option(factory=LogNormal, help="distribution of the noise level")
    noise_streams: int = option(
        0,
        help="noise streams an item of finite data: its noise is one of so many, and a reference's losses are computed "
        "once; 0 for fresh noise",
        validator=at_least(0),
    )
    weighting: Literal["edm", "score", "uniform"] = option(
        "edm", help="weight on the denoising error: edm (s^2 + d^2) / (s d)^2, score 1 / s^2, uniform 1"
    )
    condition_dropout: float = option(
        0.0, help="share of examples trained under the null condition", validator=between(0, 1)
    )
    ema: tuple[float, ...] = option(
        (0.05,), help="EMA lengths; the first is what is used", validator=deep_iterable(between(0, MAX_LENGTH))
    )
    averages: int = option(
        0,
        help="how many times along the training every EMA length is stored, for lengths chosen afterwards",
        validator=between(0, MAX_AVERAGES),
        decides=False,
    )

    def __attrs_post_init__(self) -> None:
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise ValueError(f"clip is {self.clip!r}: it must be positive, or none")
        if not self.ema:
            raise ValueError("ema is empty: give at least one EMA length, such as [0.05]")
        if 0.0 in self.ema:
            raise ValueError("ema has a length of 0: an EMA length is a share of the training, such as 0.05")
        if 1.0 in self.betas:
            raise ValueError(f"betas are {self.betas}: 1 would never forget; give numbers below 1")

    @property
    def loss(self) -> Loss:
        """The loss of an example in training."""
        return Loss(self.weighting, self.precision)

    @property
    def score_loss(self) -> Loss:
        """The loss of an example that a selector goes by."""
        return Loss(self.weighting, self.precision if self.score_precision == "same" else "bf16")

    def check(self) -> None:
        """Refuse a schedule that needs to know the end of a training with a time limit, and averages of no use."""
        if self.schedule.needs_end and self.duration.unit == "s":
            raise RecipeError(
                f"schedule {self.schedule.name!r} needs to know where a training ends, and the duration "
                f"{self.duration} is a time: give iterations or examples (1500it), or --set train.schedule=constant"
            )
        if self.averages and self.steps is None:
            raise RecipeError(
                f"averages is {self.averages}, evenly along a training, and the duration {self.duration} does not tell "
                "its steps: give iterations (1500it), or averages=0"
            )
        if self.averages and len(self.ema) < 2:
            raise RecipeError(
                f"averages is {self.averages}, and the training keeps the one EMA length {self.ema[0]:g}: others are "
                "combined of two, as in --set train.ema=[0.05,0.1]; or give averages=0"
            )

    @property
    def averaged_at(self) -> tuple[int, ...]:
        """The steps after which the averages are stored, evenly spaced; the last is the end."""
        if not self.averages or self.steps is None:
            return ()
        count = min(self.averages, self.steps)
        return tuple(-(-self.steps * number // count) for number in range(1, count + 1))

    @property
    def steps(self) -> int | None:
        """The number of optimiser steps, if it is known beforehand."""
        return int(self.duration.amount) if self.duration.unit == "it" else None


@final
@frozen(kw_only=True)
class Train(Recipe):
    """Train a denoiser on a task's data from scratch."""

    name = "train"
    task: Task = option(help="the data")
    denoiser: Network = option(help="the architecture")
    options: Options = option(help="how it is trained")
    seed: int = option(0, help="decides the initial weights and every draw")
    selector: Selector | None = option(None, help="which of a super-batch's examples are trained on")
    models: Mapping[str, Recipe] = option(factory=dict, help="the networks that the selector scores with, by role")

    def build(self) -> Leaf:
        """The untrained denoiser; its initial weights follow from the seed."""
        return seeded_build(self.denoiser, self.task, derived_seed("initialisation", self.seed))

    def initialize(self, module: nn.Module, workshop: Workshop) -> None:
        """Put the initial weights in place: they are there already."""

    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """Train it."""
        return workshop.train(self, module)

    def content(self) -> str:
        """The data's fingerprint; where code of the user's own builds the network, the initial weights too."""
        own = tensors_digest(self.build().state_dict()) if self.denoiser.content() else ""
        return self.task.fingerprint() + own

    def check(self) -> None:
        self.options.check()
        if self.options.noise_streams:
            finite(self.task)
        if self.selector is not None:
            try:
                self.selector.lasting(self.options.duration)
            except ValueError as error:
                raise RecipeError(str(error)) from None

    @property
    def tables(self) -> "Mapping[str, ReferenceLosses]":
        """The losses that can be computed once for the selector, by role: the reference's, where noise has streams."""
        options = self.options
        if self.selector is None or not options.noise_streams:
            return {}
        selector = self.selector.lasting(options.duration)
        role = selector.plan(options.batch, selector.init()).reference
        if role is None or role not in self.models:
            return {}
        loss = options.score_loss
        table = ReferenceLosses(
            of=self.models[role],
            task=self.task,
            streams=options.noise_streams,
            noise=options.noise,
            condition_dropout=options.condition_dropout,
            weighting=loss.weighting,
            precision=loss.precision,
        )
        return {role: table}

    @property
    def iterations(self) -> int | None:
        return self.options.steps

    def lasting(self, duration: Duration) -> "Train":
        """The same, for another duration."""
        return evolve(self, options=evolve(self.options, duration=duration))


@final
@frozen(kw_only=True)
class FineTune(Recipe):
    """Train a copy of a recipe's denoiser further, on its task's data or on synthetic ones."""

    name = "fine-tune"
    of: Recipe = option(help="whose copy is trained")
    on: "Recipe | Task" = option(help="the data: a task, or synthetic samples")
    options: Options = option(help="how it is trained")
    seed: int = option(0, help="decides every draw")

    def __attrs_post_init__(self) -> None:
        if isinstance(self.on, Recipe) and not isinstance(self.on, Synthetic):
            raise ValueError(f"on is the recipe {self.on.name!r}: give a task, or synthetic(of=..., count=...)")

    def build(self) -> nn.Module:
        return self.of.build()

    def initialize(self, module: nn.Module, workshop: Workshop) -> None:
        """Copy the other's weights."""
        module.load_state_dict(workshop.obtain(self.of).state_dict())

    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """Start from the other's weights and train."""
        self.initialize(module, workshop)
        return workshop.train(self, module)

    def content(self) -> str:
        return self.on.fingerprint() if isinstance(self.on, Task) else ""

    def check(self) -> None:
        self.options.check()
        if self.options.noise_streams and isinstance(self.on, Task):
            finite(self.on)

    @property
    def iterations(self) -> int | None:
        return self.options.steps

    def lasting(self, duration: Duration) -> "FineTune":
        """The same, for another duration."""
        return evolve(self, options=evolve(self.options, duration=duration))


@final
@frozen(kw_only=True)
class Load(Recipe):
    """Read weights from a safetensors file. Nothing in the file is executed; its bytes are part of the identity."""

    name = "load"
    stored = False
    path: str = option(help="a .safetensors file")
    task: Task = option(help="the data that the denoiser is for")
    denoiser: Network = option(help="the architecture whose weights they are")

    def build(self) -> Leaf:
        return seeded_build(self.denoiser, self.task, 0)

    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """Fill in the weights.

        Raises:
            CheckpointError: the file is missing, damaged, of another format, or has other tensors than the network.
        """
        self._fill(module)
        return {"path": self.path}

    def _fill(self, module: nn.Module) -> None:
        tensors, _ = read_tensors(Path(self.path))
        fill_module(module, tensors, self.path)

    def content(self) -> str:
        """The hash of the file's bytes."""
        try:
            return hashlib.sha256(Path(self.path).read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read: {error.strerror}; check the path") from None

    def check(self) -> None:
        """Read the file and compare it with the architecture."""
        self._fill(self.build())


@final
@frozen(kw_only=True)
class Snapshot(Recipe):
    """A training at an earlier moment, or its average of another EMA length: no training of its own.

    A length that the training keeps is exact. Any other is combined of the averages that it stores along the way
    (`Options.averages`), and refused where their combination is not near enough (`guideplug.ema`).
    """

    name = "snapshot"
    of: Recipe = option(help="the training")
    at: Duration | None = option(None, help="the moment, in iterations; none for the end")
    ema: float | None = option(None, help="the EMA length; none for the first that the training keeps")

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.of, Train | FineTune):
            raise ValueError(f"of is the recipe {self.of.name!r}: a snapshot is of train or fine-tune")
        options = self.of.options
        if self.ema is not None:
            power_gamma(self.ema)
        if self.at is not None and self.at.unit != "it":
            raise ValueError(f"at is {self.at}: give iterations, as in 512it")
        if self.at is not None and options.steps is not None and self.at.amount > options.steps:
            raise ValueError(f"at is {self.at}: the training ends at {options.duration}")
        if not self.kept:
            self._check_near_enough()

    def _check_near_enough(self) -> None:
        """Refuse a length that what is stored cannot give."""
        options, lengths = self.training.options, ", ".join(f"{length:g}" for length in self.training.options.ema)
        if len(options.ema) < 2 or not options.averaged_at:
            raise ValueError(
                f"ema is {self.ema:g}: the training keeps {lengths}; add it to the training's ema, or keep two lengths "
                "and store averages along a training of known iterations, as in --set train.ema=[0.05,0.1] --set "
                "train.averages=64"
            )
        stored, step = self._stored, self._step
        assert self.ema is not None
        error = profile_error(stored, post_hoc_weights(stored, step, self.ema), step, self.ema) if stored else 1.0
        if error > MAX_PROFILE_ERROR:
            near = sorted(sorted(options.averaged_at, key=lambda moment: abs(moment - step))[:2])
            moments = " and ".join(f"{moment}it" for moment in near)
            helps = "" if step in near else f"ask for a stored moment ({moments} are nearest), "
            count = len(stored) // len(options.ema)
            raise ValueError(
                f"ema is {self.ema:g} at {step}it: averages of {lengths} stored at {count} moments until then give it "
                f"with an error of {100 * error:.0f} %, more than {100 * MAX_PROFILE_ERROR:g} %: {helps}store more of "
                "them (train.averages), or keep a length nearer to it (train.ema)"
            )

    @property
    def kept(self) -> bool:
        """Whether the training keeps its length, so that it is exact."""
        return self.ema is None or self.ema in self.training.options.ema

    @property
    def _step(self) -> int:
        steps = self.training.options.steps if self.at is None else int(self.at.amount)
        assert steps is not None
        return steps

    @property
    def _stored(self) -> tuple[tuple[int, float], ...]:
        """What is stored until then: steps and lengths."""
        options = self.training.options
        return tuple((step, length) for step in options.averaged_at if step <= self._step for length in options.ema)

    @property
    def parts(self) -> tuple[tuple["Snapshot", float], ...]:
        """The stored averages that it is combined of, with their coefficients; itself where its length is kept."""
        if self.kept:
            return ((self, 1.0),)
        assert self.ema is not None
        kept = stored_averages(self.training)
        coefficients = post_hoc_weights(self._stored, self._step, self.ema)
        return tuple(zip(kept[: len(coefficients)], coefficients, strict=True))

    def content(self) -> str:
        """How often averages are stored, where it is combined of them: that decides the combination."""
        return "" if self.kept else f"{self.training.options.averages} averages"

    @property
    def training(self) -> Train | FineTune:
        """The training it is of."""
        assert isinstance(self.of, Train | FineTune)
        return self.of

    def build(self) -> nn.Module:
        return self.of.build()

    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """Take the weights from the training's folder, where they are kept, or train up to the moment."""
        module.load_state_dict(workshop.snapshot(self))
        return {}


def stored_averages(training: Train | FineTune) -> tuple[Snapshot, ...]:
    """The averages that a training stores along the way, by step, then by length; the last are of its end."""
    options = training.options
    return tuple(
        Snapshot(of=training, at=None if step == options.steps else Duration(step, "it"), ema=length)
        for step in options.averaged_at
        for length in options.ema
    )


@final
@frozen(kw_only=True)
class Synthetic(Recipe):
    """A data set of samples drawn from a recipe's denoiser, under the conditions that its task gives."""

    name = "synthetic"
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    of: Recipe = option(help="whose denoiser draws them")
    task: Task = option(help="the task that starts and conditions come from")
    sampler: Sampler = option(help="how they are drawn")
    count: int = option(4096, help="how many samples", unit="samples", validator=at_least(1))
    guider: Guider | None = option(None, help="how the drawing is guided, by guiders without other networks")
    seed: int = option(0, help="decides the draws")

    def build(self) -> "SampleSet":
        return SampleSet(self.task, self.count, self.stream_seed)

    @property
    def stream_seed(self) -> int:
        """The seed of the samples' random streams: never that of a run's samples, which would be these very ones."""
        return derived_seed("synthetic", self.seed)

    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """Draw them."""
        assert isinstance(module, SampleSet)
        module.x.copy_(workshop.synthesize(self))
        return {"count": self.count}

    def content(self) -> str:
        """The fingerprint of the data that the conditions are drawn from."""
        return self.task.fingerprint()

    def denoiser(self, base: Denoiser) -> Denoiser:
        """What draws them, given the network of ``of``."""
        return base if self.guider is None else self.guider.guide(base, {})


@final
@frozen(kw_only=True)
class ReferenceLosses(Recipe):
    """The losses of a network on every noisy example of finite data with noise streams, computed once."""

    name = "reference-losses"
    source = Source(
        "S. Mindermann et al.",
        2022,
        "Prioritized Training on Points that are Learnable, Worth Learning, and Not Yet Learnt",
        "https://arxiv.org/abs/2206.07137",
        "algorithm 1, whose irreducible losses are computed before training",
    )
    of: Recipe = option(help="the network")
    task: Task = option(help="the data, of a finite number of items")
    streams: int = option(help="noise streams an item", validator=at_least(1))
    noise: NoiseDistribution = option(factory=LogNormal, help="distribution of the noise level")
    condition_dropout: float = option(0.0, help="share of examples under the null condition", validator=between(0, 1))
    weighting: Literal["edm", "score", "uniform"] = option("edm", help="weight on the denoising error")
    precision: Literal["fp32", "bf16"] = option("fp32", help="precision of the network's arithmetic")

    def build(self) -> LossTable:
        return LossTable(self.draws.items, self.streams)

    @property
    def draws(self) -> NoiseStreams:
        """What numbers the noisy examples."""
        return NoiseStreams(finite(self.task), self.streams, self.noise, self.condition_dropout)

    @property
    def loss(self) -> Loss:
        """The loss that is computed."""
        return Loss(self.weighting, self.precision)

    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """Compute them."""
        assert isinstance(module, LossTable)
        losses, seconds = workshop.score(self)
        module.losses.copy_(losses)
        return {"evaluations": losses.numel(), "seconds": seconds}

    def content(self) -> str:
        """The fingerprint of the data."""
        return self.task.fingerprint()


@final
class SampleSet(nn.Module):
    """Samples as training data: each is drawn with equal chance, with fresh noise, under the condition it has."""

    x: Tensor

    def __init__(self, task: Task, count: int, seed: int) -> None:
        super().__init__()
        self._task, self._seed = task, seed
        self._condition: Condition = None
        self._known = False
        self.register_buffer("x", torch.zeros(count, *task.space.shape))

    def size(self) -> int:
        """How many samples there are."""
        return len(self.x)

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """Some of the samples (B, *), by number, and the conditions that they were drawn under."""
        if not self._known:  # they follow from the streams, which are the same
            starts = SampleStreams(self._seed, range(len(self.x)), self.x.device)
            self._condition = self._task.start(starts, self._task.space.sigma_max).condition
            self._known = True
        ids = ids.to(self.x.device)
        return self.x[ids], select_rows(self._condition, ids)

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        """One noisy sample for each level in ``sigma`` (B,)."""
        ids = torch.randint(len(self.x), (len(sigma),), generator=streams.generator("data"), device=sigma.device)
        clean, condition = self.items(ids)
        return noised(clean, sigma, streams, condition, ids)
