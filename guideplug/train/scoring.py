"""The input of a selector: the losses of a step's candidates under the learner, possibly guided, and a reference.

Losses are computed without a graph, and on the same noisy examples unless the selector plans otherwise
(`CandidateRequest.separate_noise`). The learner is in evaluation mode, as in sampling, unless the options say
otherwise.

For an example with a dropped condition, every network is evaluated under its own null condition, the networks that
guide the learner included. If all null conditions are equal, this is one batch. Else these rows are scored separately,
by the same denoiser without a condition, D(x; sigma, null), each network under its own null condition.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug.denoise import Denoiser, Leaf, equal_conditions
from guideplug.errors import DivergenceError, SelectionError
from guideplug.guide import guided_by
from guideplug.rng import TrainingStreams
from guideplug.select import CandidateRequest, Losses
from guideplug.train.examples import ExampleSource, NoisyExamples, with_dropped_conditions
from guideplug.train.options import TrainOptions
from guideplug.train.parts import parts_of

__all__ = ["Scoring"]


@final
@frozen
class Scoring:
    """The scoring of the candidates of a training's steps.

    Args:
        learner: the trained network.
        draws: the source of noisy examples.
        options: the training's options.
        references: the selector's other networks, by role.
        tables: precomputed losses of references, (items, noise streams), by role.
        role: the learner's role, for messages.
    """

    learner: Leaf
    draws: ExampleSource
    options: TrainOptions
    references: Mapping[str, Denoiser]
    tables: Mapping[str, Tensor]
    role: str

    def losses(self, plan: CandidateRequest, drawn: NoisyExamples, streams: TrainingStreams) -> Losses:
        """The losses requested by a plan on the examples drawn for it.

        Raises:
            ConditionError: a condition is dropped, and a network has no null condition.
            DivergenceError: a loss is not finite.
            SelectionError: a requested network is missing.
        """
        learner = reference = None
        if plan.learner:
            with self._mode():
                learner = self._of(self.role, self._scored_learner(plan), drawn, plan.scored, streams.step)
        if plan.reference is not None:
            reference = self._reference(plan, drawn, streams)
        return Losses(plan.count, learner, reference)

    @contextmanager
    def _mode(self) -> Iterator[None]:
        """The learner in the mode of scoring."""
        before = self.learner.training
        self.learner.train(before and self.options.score_mode == "train")
        try:
            yield
        finally:
            self.learner.train(before)

    def _scored_learner(self, plan: CandidateRequest) -> Denoiser:
        """The learner, guided if the selector requests it."""
        if plan.guider is None:
            return self.learner
        try:
            return guided_by(plan.guider, self.learner, self.references)
        except KeyError as error:
            raise SelectionError(
                f"guider {plan.guider.name!r}, which the selector scores the learner under, asked for the role "
                f"{error.args[0]!r}, and the selector's needs() does not name it"
            ) from None

    def _reference(self, plan: CandidateRequest, drawn: NoisyExamples, streams: TrainingStreams) -> Tensor:
        """The reference's losses: from a table if there is one, else computed."""
        role = plan.reference
        assert role is not None
        if plan.separate_noise:
            drawn = self.draws.draw(plan.count, evolve(streams, noise_for="reference"))
        elif role in self.tables and drawn.examples.ids is not None and drawn.streams is not None:
            ids, numbers = (part[: plan.scored].cpu() for part in (drawn.examples.ids, drawn.streams))
            known: Tensor = self.tables[role][ids, numbers]
            return known
        if role not in self.references:
            raise SelectionError(f"the selector scores with a network for the role {role!r}, and none was given")
        return self._of(role, self.references[role], drawn, plan.scored, streams.step)

    @torch.no_grad()
    def _of(self, role: str, denoiser: Denoiser, drawn: NoisyExamples, count: int | None, step: int) -> Tensor:
        """The losses of the first ``count`` examples, or of all, on the CPU."""
        sigma = drawn.sigma
        parts = parts_of(len(sigma) if count is None else count, self.options.accumulate, whole=count is None)
        scores = torch.cat([self._part(denoiser, drawn, part) for part in parts]).float().cpu()
        if not bool(torch.isfinite(scores).all()):
            bad = sigma[:count].cpu()[~torch.isfinite(scores)]
            raise DivergenceError(
                f"training {self.role!r} diverged: the loss of {role!r} that step {step} is selected by is not "
                f"finite at sigma {float(bad.max()):.4g}; try a lower lr than {self.options.lr:g}, or clip=1"
            )
        return scores

    def _part(self, denoiser: Denoiser, drawn: NoisyExamples, part: slice | None) -> Tensor:
        """The losses of a part of the examples, dropped conditions as each network's own null."""
        loss, sigma, sigma_data = self.options.score_loss, drawn.sigma, self.learner.space.sigma_data
        examples, *others = (with_dropped_conditions(drawn, network) for network in denoiser.leaves())
        if all(equal_conditions(examples.condition, other.condition) for other in others):
            return loss.of(denoiser, examples, sigma, sigma_data, part)
        assert drawn.drop is not None  # otherwise no condition is dropped
        rows = torch.arange(len(sigma), device=sigma.device)[part or slice(None)]
        drop = drawn.drop[rows]
        losses = torch.empty(len(rows), device=sigma.device)
        for point, where in ((denoiser, ~drop), (denoiser.unconditional(), drop)):
            if bool(where.any()):
                losses[where] = loss.of(point, examples, sigma, sigma_data, rows[where]).float()
        return losses
