"""Fitting a weight network to a frozen model.

Each iteration draws clean samples with their labels (training examples at level 0), a pair of levels for each
(`levels`), and m particles at both levels (`consistency`); Adam follows the gradient of the loss in the network's
parameters, at a learning rate that falls to 0 by a cosine. Nothing of the models is changed. Every draw comes from
(seed, purpose, iteration), so a fit repeated is the same one, and one that was killed goes on from its last state.

Source: A. Galashov et al. 2025, "Learn to guide your diffusion model", arXiv:2510.00815. beta 1, lambda 1, 4 particles
and the gap .1 are the paper's; the sizes, the learning rate and its schedule are ours.
Cost: ``iterations`` calls of each network, with ``batch * particles`` outputs for each of its conditions.
"""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, final

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug import (
    Builder,
    Condition,
    Guider,
    Leaf,
    LoopState,
    Planned,
    PlannedBatch,
    PythonRef,
    Recipe,
    Reward,
    Task,
    TrainingStreams,
    WeightInput,
    between,
    non_negative,
    opposite,
    option,
    positive,
    select_rows,
    up_to,
)
from guideplug_learned.affine import asked_roles, at_weight, check_affine, check_weight
from guideplug_learned.consistency import paired, particles
from guideplug_learned.errors import DivergedError, LearnedError
from guideplug_learned.fitted import Fitted
from guideplug_learned.guider import SOURCE
from guideplug_learned.levels import draw_levels
from guideplug_learned.network import WeightNetwork, num_classes
from guideplug_learned.reward import Scores

__all__ = ["Fit"]

CHECK_EVERY = 32
COUNTED = 4096
"""Samples that labels are counted in."""


def _place(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() == "none":
        return None  # TOML has no null: there, none is a text
    if not isinstance(value, str):
        return value
    try:
        return PythonRef.checked(value, "reward")
    except ValueError as error:
        raise ValueError(f"{error}, or the name of a reward that a plugin offers") from None


@final
@frozen(kw_only=True)
class Fit(Recipe):
    """Fit the weight of a guider over a frozen network, by self-consistency and optionally a reward."""

    name = "fit"
    source = SOURCE
    denoiser: ClassVar[None] = None
    """What it makes is no denoiser, and has no architecture among them."""

    of: Recipe = option(help="the network that is guided; it stays as it is")
    task: Task = option(help="the data")
    guider: Guider = option(help="whose weight is fitted")
    models: Mapping[str, Recipe] = option(
        factory=dict, help="the guider's other networks, by role; without them those that the run has for the roles"
    )
    beta: float = option(1.0, help="power of the distances", validator=[positive, between(0.0, 2.0)])
    diversity: float = option(
        1.0, help="how much the steps' distances among themselves count, lambda; 1 is an energy distance, 0 none",
        validator=between(0.0, 1.0),
    )  # fmt: skip
    particles: int = option(
        4, help="noisy versions of a clean sample at each of the two levels", validator=up_to(1_024)
    )
    gap: float = option(
        0.1, help="least distance of the two levels, as a share of the sampler's grid",
        validator=between(0.0, 1.0, ends=False),
    )  # fmt: skip
    reward: str | Reward | None = option(
        None, help="a reward by its name, or your function (x0, condition) -> scores, as module:function or "
        "FILE.py:function; that is code",
        converter=_place,
    )  # fmt: skip
    reward_weight: float = option(1.0, help="gamma, the weight of the reward", validator=non_negative)
    batch: int = option(256, help="clean samples per iteration", validator=up_to(1_000_000))
    iterations: int = option(1000, help="steps of Adam", unit="iterations", validator=up_to(100_000_000))
    lr: float = option(0.001, help="learning rate at the start", validator=positive)
    width: int = option(64, help="width of the weight network's layers", validator=up_to(65_536))
    seed: int = option(0, help="seed of the initial weights and of every random draw")

    def __attrs_post_init__(self) -> None:
        check_weight(self.guider)
        if self.diversity > 0.0 and self.particles < 2:
            raise LearnedError(
                f"particles is {self.particles}: distances among them need two; give diversity=0, or more particles"
            )

    def with_roles(self, roles: Mapping[str, Recipe]) -> Recipe:
        """With the recipes of the roles that its guider asks for, where it names none."""
        if self.models:
            return self
        try:
            asked = asked_roles(self.guider, self.task.space, roles)
        except KeyError:
            return self  # the check says what is missing
        return evolve(self, models={role: roles[role] for role in asked})

    @classmethod
    def from_file(cls, path: str) -> Recipe:
        """What reads a weight network that was fitted before."""
        return Fitted(path=path)

    def build(self) -> nn.Module:
        generator = TrainingStreams(self.seed, 0).generator("initialisation")
        return WeightNetwork.of(self.task.space, num_classes(self._clean(COUNTED)[1]), self.width, generator)

    def _clean(self, count: int) -> tuple[Tensor, Condition]:
        """Clean samples of the task and their conditions, always the same ones."""
        examples = self.task.draw(torch.zeros(count), TrainingStreams(0, 0))
        return examples.x, examples.condition

    def content(self) -> str:
        """The fingerprint of the data, and the hash of the code of a reward of your own."""
        reward = "" if self.reward is None else Scores(self.reward).digest()
        return self.task.fingerprint() + reward

    def check(self) -> None:
        """Whether the guider is affine and has its networks, the conditions are labels, the reward can be used."""
        check_affine(self.guider, self.task.space)
        try:
            asked_roles(self.guider, self.task.space, self.models)
        except KeyError as error:
            role = error.args[0]
            raise LearnedError(
                f"fit: guider {self.guider.name!r} needs a network for its role {role!r}: name it, as in "
                f"models=table({role}=...)"
            ) from None
        x, condition = self._clean(COUNTED if self.reward is None else 8)
        num_classes(condition)
        if self.reward is not None:
            base = self.of.build()
            Scores(self.reward).check(base.decode(x) if isinstance(base, Leaf) else x, condition)

    def evaluates(self) -> Iterator[Planned]:
        """Its batches: what its guider goes away from, at levels that step to others."""
        low, high = self.task.space.sigma_min, self.task.space.sigma_max
        middle = (low * high) ** 0.5
        yield PlannedBatch(
            user="its fit",
            of=self.of,
            task=self.task,
            levels=(high, middle),
            toward=(middle, low),
            guider=at_weight(self.guider, 0.0),
            models=self.models,
        )

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Fit it."""
        assert isinstance(module, WeightNetwork)
        base = _denoiser(builder.obtain(self.of), "of")
        others = {role: _denoiser(builder.obtain(recipe), role) for role, recipe in self.models.items()}
        pair = paired(base, opposite(self.guider, base, others))
        reward = None if self.reward is None else Scores(self.reward)
        optimiser = torch.optim.Adam(module.parameters(), lr=self.lr, betas=(0.9, 0.99))
        loop = LoopState(module, optimiser)
        builder.checkpoint(loop)
        builder.progress(loop.step, self.iterations)
        begin = time.perf_counter() - loop.facts.get("seconds", 0.0)
        while loop.step < self.iterations:
            step = loop.step
            optimiser.param_groups[0]["lr"] = 0.5 * self.lr * (1 + math.cos(math.pi * step / self.iterations))
            loss, omega = self._loss(module, base, pair, reward, step)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            loop.step += 1
            loop.facts["seconds"] = time.perf_counter() - begin
            looked_at = None
            if loop.step % CHECK_EVERY == 0 or loop.step == self.iterations:
                looked_at = float(loss.detach())
                if not math.isfinite(looked_at):
                    blame = "" if reward is None else f", or the {reward.who}"
                    raise DivergedError(
                        f"the fit of {self.guider.name!r} diverged by step {loop.step}: the loss is {looked_at}; a "
                        f"network{blame} is not finite there, or lr is too large"
                    )
                loop.facts |= {
                    "last_loss": looked_at,
                    "omega": float(omega.mean()),
                    "zeros": float((omega == 0).double().mean()),
                }
            builder.progress(loop.step, self.iterations, looked_at)
        return {"iterations": self.iterations, **loop.facts}

    def _loss(
        self, module: WeightNetwork, base: Leaf, pair: nn.Module, reward: Scores | None, step: int
    ) -> tuple[Tensor, Tensor]:
        """The loss of one iteration, and the weights (n,) that it is of."""
        device = module.levels.device
        streams = TrainingStreams(self.seed, step, device=device)
        space = self.task.space
        with torch.no_grad():
            examples = self.task.draw(torch.zeros(self.batch, device=device), streams)
            sigma, toward = draw_levels(self.batch, space, self.gap, streams.generator("levels"))
            shape = (2, self.batch, self.particles, *space.shape)
            noise, other = torch.randn(shape, generator=streams.generator("particles"), device=device)
            found = particles(pair, examples.x, examples.condition, sigma, toward, noise, other)  # type: ignore[arg-type]
        omega = module(WeightInput(sigma, toward, space, examples.condition)).expand(self.batch)
        loss = found.loss(omega, self.beta, self.diversity)
        if reward is not None:
            rows = torch.arange(self.batch, device=device).repeat_interleave(self.particles)
            predicted = base.decode(found.predicted(omega).reshape(-1, *space.shape))
            scores = reward(predicted, select_rows(examples.condition, rows))
            loss = loss - self.reward_weight * scores.mean()
        return loss, omega.detach()


def _denoiser(module: nn.Module, role: str) -> Leaf:
    if not isinstance(module, Leaf):
        raise LearnedError(f"fit: {role} is a {type(module).__name__}, which is no denoiser: give a recipe of one")
    return module
