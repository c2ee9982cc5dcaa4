"""Training: one loop, with optional data selection.

A step draws a super-batch, scores it if the selector requests it (`guideplug.train.scoring`), keeps the selection, and
back-propagates the selection alone:

    loss = mean over kept i of  w_i * lambda(sigma_i) * mean over data dimensions of (D(x_i; sigma_i, c_i) - target_i)^2

or, with another objective than the default, of w_i times its loss of example i (`guideplug.objective`).

In fp16 the loss is scaled before back-propagation, and a step whose gradients overflow is left out, with half the scale
from then on (P. Micikevicius et al. 2018, "Mixed precision training", arXiv:1710.03740; `torch.amp.GradScaler`).

Every draw derives from (seed, purpose, step, rank), so a training that is interrupted at any step and resumed from its
state equals an uninterrupted one to the bit (on one machine, with one number of threads).
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

import torch
from attrs import asdict, astuple
from torch import Tensor

from guideplug.config import Duration, Strategy, decides_nothing, named
from guideplug.denoise import Denoiser, Leaf, tally
from guideplug.errors import DivergenceError, SelectionError
from guideplug.objective import minimised
from guideplug.rng import TrainingStreams, derived_seed
from guideplug.select import Losses, Selection, Selector
from guideplug.task import Examples, Task
from guideplug.train.count import Reached
from guideplug.train.counters import Counters, Moment
from guideplug.train.ema import PowerAverages
from guideplug.train.examples import Data, ExampleSource, FreshNoise, NoiseStreams, finite, with_dropped_conditions
from guideplug.train.loop_state import load_optimizer, optimizer_tensors, under
from guideplug.train.options import TrainOptions
from guideplug.train.parts import parts_of
from guideplug.train.scoring import Scoring
from guideplug.train.selection import check_state, plan_of, select

__all__ = ["CHECK_EVERY", "Training"]

CHECK_EVERY = 32
"""Most steps between checks for finite losses, and between reports: a check synchronises with the accelerator."""
CHECK_SECONDS = 10.0
"""Seconds of training after which a check comes before its step, so that a slow network reports too."""
LEAST_SCALE = 2.0**-16
"""The scale of the loss in fp16 below which a training has diverged; it begins at 2**16 and halves at an overflow."""
COMPOSITION_EVERY = 16
"""Selecting steps between counts of the selected groups of the data."""


@final
class Training:
    """A training in progress.

    Args:
        learner: the network, trained in place.
        data: the training data.
        options: the training options.
        seed: the seed of every draw.
        selector: the selector of a super-batch's examples; None for all.
        references: the selector's other networks, by role.
        tables: precomputed losses of references, (items, noise streams), by role.
        role: the network's role, for messages.
    """

    def __init__(
        self,
        learner: Leaf,
        data: Data,
        options: TrainOptions,
        *,
        seed: int,
        selector: Selector | None = None,
        references: Mapping[str, Denoiser] | None = None,
        tables: Mapping[str, Tensor] | None = None,
        role: str = "main",
    ) -> None:
        self.learner, self.data, self.options, self.role = learner, data, options, role
        self.selector = None if selector is None else selector.lasting(options.duration)
        self.draws = draws_of(data, options)
        self.scoring = Scoring(learner, self.draws, options, dict(references or {}), dict(tables or {}), role)
        self.seed = seed
        self.device = next(learner.parameters()).device
        if self.device.type == "cpu":
            _keep_freed_memory()
        self.optimizer = _optimizer(learner, options)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=options.precision == "fp16")
        self.averages = PowerAverages(learner, options.ema)
        self.step = 0
        self.checked = 0
        """The step of the last check that was due."""
        self._checked_seconds = 0.0
        self.counters = Counters()
        self.history: list[Moment] = []
        self._pace: tuple[int, ...] | None = None
        self.selector_state = self.selector.init() if self.selector is not None else {}
        self._recent: list[tuple[int, Tensor, Tensor, Tensor]] = []
        self._drawn = options.batch
        self._kept = options.batch
        """The number of examples that the last step back-propagated."""
        self.last_loss = float("nan")

    def done(self, duration: Duration | None = None) -> bool:
        """Whether a duration is reached, by default that of the options."""
        duration = duration or self.options.duration
        return self.reached(duration.unit) >= duration.amount

    def reached(self, unit: str) -> float:
        """The finished amount in a unit of duration: optimiser steps, examples back-propagated, or seconds."""
        reached = {"it": self.step, "ex": self.counters.backpropagated, "s": self.counters.total_seconds}
        return reached[unit]

    @property
    def progress(self) -> float:
        """The finished share of the options' duration."""
        return self.reached(self.options.duration.unit) / self.options.duration.amount

    def run(self, until: Duration | None = None, each: Callable[["Training"], None] | None = None) -> None:
        """Train until the duration is reached.

        Args:
            until: a duration that replaces that of the options.
            each: called after every step; an exception from it ends the training between two steps.

        Raises:
            DivergenceError: a loss or a weight is not finite; the message names step and noise level.
            SelectionError: the selection is invalid.
        """
        self.learner.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            while not self.done(until):
                # For layers with random draws, such as dropout: resumable, and the caller's generators are restored.
                _seed_layers(derived_seed("layers", self.seed, self.step), self.device)
                self._step()
                if each is not None:
                    each(self)
        self.check_finite()
        self.learner.eval()

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, if it back-propagates as many examples as the last one."""
        return self._rate(self._kept)

    def _rate(self, count: int) -> float:
        """The learning rate of the next step, which back-propagates ``count`` examples."""
        options, counters = self.options, self.counters
        now = Reached(self.step, counters.backpropagated)
        if options.stretched:  # a step on b of B examples is B / b steps, of b examples each
            now, count = Reached(int(counters.stretched), self.step * options.batch), options.batch
        after = Reached(now.steps + 1, now.examples + count)
        warm = min(after.share(options.warmup), 1.0) if options.warmup else 1.0
        return options.lr * warm * options.schedule.factor(now, self.progress)

    def _step(self) -> None:
        options, counters = self.options, self.counters
        before = counters.moment(self.step)
        streams = TrainingStreams(self.seed, self.step, device=self.device)
        plan = None if self.selector is None else plan_of(self.selector, options.batch, self.selector_state)
        if self.selector is not None and not self.selector.switched_off(self.selector_state):
            counters.selecting += 1
        with counters.timed("data"):
            self._drawn = options.batch if plan is None else plan.count
            drawn = self.draws.draw(self._drawn, streams)
            examples, sigma = with_dropped_conditions(drawn, self.learner), drawn.sigma
        selection = None
        if self.selector is not None and plan is not None:
            losses = Losses(plan.count)
            if plan.learner or plan.reference is not None:
                with counters.timed("score"), tally() as counts:
                    losses = self.scoring.losses(plan, drawn, streams)
                counters.scored += plan.count if plan.scored is None else plan.scored
                counters.evaluations += sum(count.outputs for count in counts.counts.values())
            with counters.timed("select"):
                generator = streams.generator("selection", "cpu")
                try:
                    selection, self.selector_state = select(self.selector, losses, self.selector_state, generator)
                except ValueError as error:
                    raise SelectionError(f"{named(self.selector)} failed in step {self.step}: {error}") from error
                if self.step == 0:
                    check_state(self.selector, self.selector_state)
                self._note(selection, scored=losses.learner is not None or losses.reference is not None)
                if self.step % COMPOSITION_EVERY == 0 and len(selection.indices) < plan.count:
                    self._count_groups(drawn.examples, selection)
        with counters.timed("learn"):
            self._learn(examples, sigma, selection)
        counters.seen += len(sigma)
        self.step += 1
        self._keep_pace(before, counters.moment(self.step))
        if self.step % CHECK_EVERY == 0 or counters.total_seconds - self._checked_seconds > CHECK_SECONDS:
            with counters.timed("learn"):  # contains the synchronisation with an accelerator
                self.check_finite()
            self.checked, self._checked_seconds = self.step, counters.total_seconds

    def _keep_pace(self, before: Moment, after: Moment) -> None:
        """Record the step at which selecting, or the numbers drawn, scored or learned per step, change."""
        pace = tuple(b - a for a, b in zip(astuple(before)[2:], astuple(after)[2:], strict=True))
        if pace != self._pace:
            self._pace = pace
            self.history.append(before)

    def _note(self, selection: Selection, *, scored: bool) -> None:
        counters = self.counters
        share = selection.effective_sample_size
        if scored and share is not None:
            counters.selections += 1
            counters.effective_sample_size += share
        assert self.selector is not None
        if counters.switched_off_at is None and self.selector.switched_off(self.selector_state):
            counters.switched_off_at = self.step + 1

    def _count_groups(self, examples: Examples, selection: Selection) -> None:
        names = self.data.groups() if isinstance(self.data, Task) else ()
        group = self.data.group(examples) if isinstance(self.data, Task) and names else None
        if group is None:
            return
        group, counters = group.cpu(), self.counters
        for counts, members in ((counters.offered, group), (counters.selected, group[selection.indices.cpu()])):
            per_group = torch.bincount(members, minlength=len(names)).tolist()
            counts[:] = [a + b for a, b in zip(counts or [0] * len(names), per_group, strict=True)]

    @property
    def composition(self) -> dict[str, Any] | None:
        """The counts of offered and selected examples per group of the task; None if not counted."""
        if not self.counters.offered or not isinstance(self.data, Task):
            return None
        return {
            "groups": list(self.data.groups()),
            "offered": list(self.counters.offered),
            "selected": list(self.counters.selected),
        }

    def _learn(self, examples: Examples, sigma: Tensor, selection: Selection | None) -> None:
        options = self.options
        chosen = None if selection is None else selection.indices.to(self.device)
        weights = None if selection is None or selection.weights is None else selection.weights.to(self.device)
        if chosen is not None and len(chosen) == len(sigma) and bool((selection.indices.diff() == 1).all()):  # type: ignore[union-attr]
            chosen = None  # all examples in order: no gather
        count = len(sigma) if chosen is None else len(chosen)
        self.optimizer.param_groups[0]["lr"] = self._rate(count)
        self.optimizer.zero_grad(set_to_none=True)
        kept: list[Tensor] = []
        for part in parts_of(count, options.accumulate):
            rows = part if chosen is None else chosen if part is None else chosen[part]
            losses = options.loss.of(self.learner, examples, sigma, self.learner.space.sigma_data, rows)
            kept.append(losses.detach())
            weight = weights if weights is None or part is None else weights[part]
            self.scaler.scale(minimised(losses, weight, count)).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.learner.parameters() if p.grad is not None])
        if options.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.learner.parameters(), options.clip, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.learner.after_step()
        self.counters.backpropagated += count
        self.counters.stretched += options.batch / count
        self._kept = count
        if options.ema_counts == "examples":
            self.averages.update(self.counters.backpropagated, count)
        else:
            self.averages.update(self.step + 1)
        self._recent.append((self.step, torch.cat(kept), sigma if chosen is None else sigma[chosen], norm))

    def check_finite(self) -> None:
        """Check the losses and gradients since the last check, the weights, and their averages.

        Raises:
            DivergenceError: a value is not finite.
        """
        recent, self._recent = self._recent, []
        means = torch.stack([losses.mean() for _, losses, _, _ in recent]).tolist() if recent else []
        norms = torch.stack([norm for *_, norm in recent]).tolist() if recent else []
        for (step, losses, sigma, _), mean, norm in zip(recent, means, norms, strict=True):
            if not mean < float("inf"):
                bad = sigma[~torch.isfinite(losses)]
                where = f" at sigma {float(bad.max()):.4g}" if len(bad) else ""
                if fault := self._data_fault(step):
                    raise DivergenceError(
                        f"training {self.role!r} diverged: the loss of step {step} is not finite{where}: {fault}"
                    )
                if step == 0 and self.learner.built_by is not None:
                    raise DivergenceError(
                        f"training {self.role!r} cannot begin: with its initial weights the loss of step 0 is not "
                        f"finite{where}, and the data are; {named(self.learner.built_by)} gives no finite numbers there"
                    )
                raise self._diverged(f"the loss of step {step} is not finite{where}")
            if not norm < float("inf") and self.scaler.is_enabled():
                self.counters.skipped += 1
            elif not norm < float("inf"):
                raise self._diverged(f"the gradient of step {step} is not finite, and its loss {mean:.4g} is")
        if self.scaler.get_scale() < LEAST_SCALE:
            raise self._diverged(f"in fp16 the gradients overflow at every scale of the loss down to {LEAST_SCALE:g}")
        if means:
            self.last_loss = sum(means) / len(means)
        weights: list[Tensor] = list(self.learner.parameters())
        averages = [value for length in self.options.ema for value in self.averages.parameters(length).values()]
        for what, values in (("a weight", weights), ("an average of the weights", averages)):
            if not bool(torch.isfinite(torch.stack(torch._foreach_norm(values))).all()):
                raise self._diverged(f"{what} is not finite after step {self.step - 1}")

    def _data_fault(self, step: int) -> str:
        """What is not finite of the examples of a step, which are drawn anew; empty where all are."""
        examples = self.draws.draw(self._drawn, TrainingStreams(self.seed, step, device=self.device)).examples
        for name, values in (("x", examples.x), ("target", examples.target)):
            bad = (~torch.isfinite(values).flatten(1).all(1)).nonzero()
            if len(bad):
                whose = named(self.data) if isinstance(self.data, Strategy) else "its data"
                return f"{whose} drew an {name} that is not finite, example {int(bad[0])}: repair the data"
        return ""

    def _diverged(self, what: str) -> DivergenceError:
        advice = f"try a lower lr than {self.options.lr:g}, or clip=1"
        if self.scaler.is_enabled():
            advice += ", or precision=bf16, which has the range of fp32"
        return DivergenceError(f"training {self.role!r} diverged: {what}; {advice}")

    # The state as tensors and plain data, so that reading it executes no code.

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The state for resuming: tensors by name, and plain data for JSON.

        Raises:
            DivergenceError: a value is not finite.
        """
        self.check_finite()
        if self.selector is not None:
            check_state(self.selector, self.selector_state)
        tensors = {f"module.{name}": value for name, value in self.learner.state_dict().items()}
        for length in self.options.ema:
            tensors |= {f"ema.{length!r}.{name}": value for name, value in self.averages.parameters(length).items()}
        tensors |= optimizer_tensors(self.optimizer)
        data = {
            "step": self.step,
            "selector_state": dict(self.selector_state),
            "counters": asdict(self.counters),
            "history": [list(astuple(moment)) for moment in self.history],
            "pace": self._pace,
            "last_loss": self.last_loss,
            "loss_scale": self.scaler.state_dict(),
        }
        return tensors, data

    def load_state(self, tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> None:
        """Restore the training from `state`."""
        self.learner.load_state_dict(under(tensors, "module."))
        for length in self.options.ema:
            self.averages.load(length, under(tensors, f"ema.{length!r}."))
        load_optimizer(self.optimizer, tensors)
        self.step = data["step"]
        self.selector_state = data["selector_state"]
        self.counters = Counters(**data["counters"])
        self._checked_seconds = self.counters.total_seconds
        self.history = [Moment(*values) for values in data["history"]]
        self._pace = None if data["pace"] is None else tuple(data["pace"])
        self.last_loss = data["last_loss"]
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(data["loss_scale"])

    @decides_nothing
    def current(self) -> dict[str, Callable[[], Leaf]]:
        """Copies of the network in evaluation mode, made when called: "raw", and the averages, such as "ema0.05"."""
        weights: dict[str, Callable[[], dict[str, Tensor]]] = {"raw": self.learner.state_dict}
        weights |= {f"ema{length:g}": partial(self.weights, length) for length in self.options.ema}
        return {name: partial(self._copy, of) for name, of in weights.items()}

    @decides_nothing
    def _copy(self, weights: Callable[[], dict[str, Tensor]]) -> Leaf:
        copied = copy.deepcopy(self.learner).requires_grad_(False).eval()
        copied.load_state_dict(weights())
        return copied

    def weights(self, ema: float | None = None) -> dict[str, Tensor]:
        """The network's state with averaged parameters, by default of the first EMA length."""
        length = self.options.ema[0] if ema is None else ema
        return {**self.learner.state_dict(), **self.averages.parameters(length)}


def draws_of(data: Data, options: TrainOptions) -> ExampleSource:
    """The source of noisy examples for data and options."""
    if not options.noise_streams:
        return FreshNoise(data, options.noise, options.condition_dropout)
    return NoiseStreams(finite(data), options.noise_streams, options.noise, options.condition_dropout)


def _seed_layers(seed: int, device: torch.device) -> None:
    """Seed the global generators of layers; `torch.manual_seed` would take half a millisecond."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _keep_freed_memory() -> None:
    """Make glibc keep the memory freed by a step, instead of returning it and faulting it in at each step.

    Its thresholds rise to the size of the largest block freed so far, up to 32 MiB. On two cores this halves the time
    of a step of the tree's network at batch 4096; other C libraries are not affected.
    """
    for _ in range(2):
        torch.empty(31 * 2**20, dtype=torch.uint8)


def _optimizer(learner: Leaf, options: TrainOptions) -> torch.optim.Optimizer:
    parameters = list(learner.parameters())
    if options.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=options.lr, momentum=options.betas[0], weight_decay=options.weight_decay)
    kind = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=options.lr, betas=options.betas, weight_decay=options.weight_decay, fused=True)
