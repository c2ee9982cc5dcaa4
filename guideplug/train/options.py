"""Training options of a denoiser."""

import math
from typing import Literal, final

from attrs import frozen
from attrs.validators import deep_iterable

from guideplug.config import Duration, at_least, between, option, positive
from guideplug.errors import RecipeError
from guideplug.noise import LogNormal, NoiseDistribution
from guideplug.objective import Objective
from guideplug.train.count import Count, count_of, no_fewer_than
from guideplug.train.ema import MAX_LENGTH
from guideplug.train.loss import Denoising, Loss
from guideplug.train.schedule import Constant, Schedule

__all__ = ["TrainOptions"]


MAX_AVERAGES = 512
MOST_LENGTHS = 64
"""More stored averages make the least squares of a length slower, not better."""


@final
@frozen(kw_only=True)
class TrainOptions:
    """Training options of a denoiser: the table ``[train]`` of a configuration."""

    duration: Duration = option(help="length of the training: 4096it, 3.3Mex or 90s", converter=Duration.of)
    batch: int = option(
        help="examples drawn per step; with a selector, the super-batch", unit="examples", validator=at_least(1)
    )
    lr: float = option(1e-3, help="learning rate", validator=positive)
    optimizer: Literal["adam", "adamw", "sgd"] = option("adam", help="optimiser; sgd has momentum beta 1")
    betas: tuple[float, float] = option(
        (0.9, 0.99), help="decay of the optimiser's averages", validator=deep_iterable(between(0, 1))
    )
    weight_decay: float = option(0.0, help="weight decay, at most 1,000", validator=between(0, 1_000))
    schedule: Schedule = option(factory=Constant, help="learning rate over the steps")
    warmup: Count = option(
        0,
        help="how long the learning rate rises from 0, in steps, or in examples as in 10Mex",
        unit="steps",
        converter=count_of,
        validator=no_fewer_than(0),
    )
    stretched: bool = option(
        False,
        help="whether a step that trains on b of B examples counts as B / b steps, or B examples, of the schedule and "
        "the warm-up",
        identity="unless default",
    )
    clip: float | None = option(None, help="largest norm of the gradient, or none")
    accumulate: int = option(
        1, help="number of parts in which a batch is passed through the network", validator=at_least(1)
    )
    precision: Literal["fp32", "bf16", "fp16"] = option(
        "fp32", help="precision of the network's arithmetic in training; fp16 with loss scaling"
    )
    score_precision: Literal["same", "bf16"] = option(
        "same", help="precision in which a selector's losses are computed: as in training, or bf16"
    )
    score_mode: Literal["eval", "train"] = option(
        "eval", help="mode of the learner while a selector's losses are computed; train keeps dropout layers active"
    )
    noise: NoiseDistribution = option(factory=LogNormal, help="distribution of the noise level")
    noise_streams: int = option(
        0,
        help="noise streams per item of finite data: its noise is one of so many, and a reference's losses are "
        "computed once; 0 for fresh noise",
        validator=at_least(0),
    )
    weighting: Literal["edm", "score", "uniform"] = option(
        "edm", help="weight on the denoising error: edm (s^2 + d^2) / (s d)^2, score 1 / s^2, uniform 1"
    )
    objective: Objective = option(
        factory=Denoising, help="what a step minimises, from the denoised samples", identity="unless default"
    )
    condition_dropout: float = option(
        0.0, help="share of examples trained under the null condition", validator=between(0, 1)
    )
    ema: tuple[float, ...] = option(
        (0.05,), help="EMA lengths; sampling uses the first", validator=deep_iterable(between(0, MAX_LENGTH))
    )
    ema_counts: Literal["steps", "examples"] = option(
        "steps",
        help="what an EMA length is a share of: steps, or examples back-propagated, which differ where a selector "
        "keeps more in some steps than in others",
        identity="unless default",
    )
    averages: int = option(
        0,
        help="number of steps at which every EMA length is stored, so that a length can be chosen after the training",
        validator=between(0, MAX_AVERAGES),
        identity=False,
    )

    def __attrs_post_init__(self) -> None:
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise ValueError(f"clip is {self.clip!r}: it must be positive, or none")
        if not self.ema:
            raise ValueError("ema is empty: give at least one EMA length, such as [0.05]")
        if len(self.ema) > MOST_LENGTHS:
            raise ValueError(
                f"ema has {len(self.ema):,} lengths, each a copy of the network: give at most {MOST_LENGTHS}"
            )
        if 0.0 in self.ema:
            raise ValueError("ema has a length of 0: an EMA length is a share of the training, such as 0.05")
        if 1.0 in self.betas:
            raise ValueError(f"betas are {self.betas}: 1 would never forget; give numbers below 1")

    @property
    def loss(self) -> Loss:
        """The loss of an example in training."""
        return Loss(self.weighting, self.precision, self.objective)

    @property
    def score_loss(self) -> Loss:
        """The loss of an example for a selector."""
        precision = self.precision if self.score_precision == "same" else "bf16"
        return Loss(self.weighting, precision, self.objective)

    def check(self) -> None:
        """Refuse a schedule that needs the number of steps in a training with a time limit, and useless averages."""
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
        if self.averages and self.ema_counts == "examples":
            raise RecipeError(
                f"averages is {self.averages}, and EMA lengths count examples: stored averages are combined by their "
                "steps; give ema_counts=steps, or averages=0"
            )
        if self.averages and len(self.ema) < 2:
            raise RecipeError(
                f"averages is {self.averages}, and the training keeps the one EMA length {self.ema[0]:g}: others are "
                "combined of two, as in --set train.ema=[0.05,0.1]; or give averages=0"
            )

    @property
    def averaged_at(self) -> tuple[int, ...]:
        """The steps after which averages are stored, evenly spaced; the last is the end."""
        if not self.averages or self.steps is None:
            return ()
        count = min(self.averages, self.steps)
        return tuple(-(-self.steps * number // count) for number in range(1, count + 1))

    @property
    def steps(self) -> int | None:
        """The number of optimiser steps; None if it is not known beforehand."""
        return int(self.duration.amount) if self.duration.unit == "it" else None
