"""Objectives: what a training step minimises.

    minimised = 1 / n  sum over the n examples i of a step of  w_i loss_i

loss_i is the objective's loss of example i alone, and w_i its weight of importance, which a selector gives that draws
examples unevenly; without one it is 1. The step's value is linear in the losses, so that weights w_i = 1 / (N p_i) of
draws with probabilities p_i out of N keep it unbiased.

Selectors score examples by the same losses (`Objective.losses`): those of the learner, or of the guided learner, and
those of a reference, each network with its own named outputs.
"""

import abc
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from attrs import frozen
from torch import Tensor

from guideplug.config import Strategy
from guideplug.denoise import Denoiser, evaluate_together
from guideplug.task import Examples

__all__ = ["Objective", "ObjectiveInput", "minimised"]


@frozen(eq=False)
class ObjectiveInput:
    """The noisy examples of a loss, and the network that is evaluated on them.

    Args:
        denoiser: the trained network; where a selector scores, the guided learner or a reference.
        network: the network whose named outputs are read, under the conditions of ``denoiser``.
        examples: noisy inputs x (B, *), targets (B, *) and conditions.
        sigma: their noise levels (B,), in data units.
        weight: the weight lambda(sigma) of the mean squared denoising error, (B,), by the training's ``weighting``.
        precision: the precision of the network's arithmetic.
    """

    denoiser: Denoiser
    network: Denoiser
    examples: Examples
    sigma: Tensor
    weight: Tensor
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def evaluate(self, *outputs: str) -> list[Tensor]:
        """The denoised samples (B, *), then the named outputs of the network, from one call of each network.

        Raises:
            DenoiserError: the network has no such output.
        """
        expressions = [self.denoiser, *(self.network.output(name) for name in outputs)]
        x = self.examples.x
        narrow = torch.float16 if self.precision == "fp16" else torch.bfloat16
        with torch.autocast(x.device.type, narrow, enabled=self.precision != "fp32"):
            return evaluate_together(expressions, x, self.sigma, self.examples.condition)

    def squared_error(self, denoised: Tensor) -> Tensor:
        """The squared error of denoised samples (B, *), averaged over the data's dimensions, (B,)."""
        target = self.examples.target
        return (denoised.to(target.dtype) - target).square().flatten(1).mean(1)


class Objective(Strategy):
    """What a training step minimises. Final frozen attrs classes; the fields are its options."""

    kind: ClassVar[str] = "objective"

    @abc.abstractmethod
    def losses(self, examples: ObjectiveInput) -> Tensor:
        """The loss of each example, (B,), finite, each a function of that example alone.

        Weights of importance and the mean over a step are applied by the caller (`minimised`); the number of examples
        differs between calls, for a step is passed through the network in parts.

        Args:
            examples: the noisy examples; ``examples.evaluate()`` evaluates the network.
        """

    def reads(self) -> Sequence[str]:
        """The named outputs of the network that `losses` evaluates; none by default."""
        return ()


def minimised(losses: Tensor, weights: Tensor | None, count: int) -> Tensor:
    """The share of a step's value that some of its examples contribute, a number.

    Args:
        losses: the losses of these examples (B,).
        weights: their weights of importance (B,); None for 1.
        count: the number of all the step's examples.
    """
    weighted = losses if weights is None else losses * weights
    return weighted.sum() / count
