"""The loss of each example: that of an objective, by default the weighted error of the denoised sample.

    loss_i = lambda(sigma_i) * mean over data dimensions of (D(x_i; sigma_i, c_i) - target_i)^2

The weight lambda balances the noise levels: "edm" is that of arXiv:2206.00364, table 1; "score" turns the denoising
error into the error of the score.
"""

from typing import Any, Literal, final

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from guideplug.config import Source, short
from guideplug.denoise import Denoiser, select_rows
from guideplug.errors import RecipeError
from guideplug.objective import Objective, ObjectiveInput
from guideplug.task import Examples

__all__ = ["Denoising", "Loss"]


@final
@frozen
class Denoising(Objective):
    """The weighted squared error of the denoised sample."""

    name = "denoising"
    source = Source(
        "T. Karras, M. Aittala, T. Aila, S. Laine",
        2022,
        "Elucidating the Design Space of Diffusion-Based Generative Models",
        "https://arxiv.org/abs/2206.00364",
        "equation 8 and table 1",
    )

    def losses(self, examples: ObjectiveInput) -> Tensor:
        """lambda(sigma) times the mean squared error over data dimensions, (B,)."""
        (denoised,) = examples.evaluate()
        return examples.weight * examples.squared_error(denoised)


@final
@frozen
class Loss:
    """The loss of an example.

    Args:
        weighting: the weight of the error: edm (s^2 + d^2) / (s d)^2, score 1 / s^2, uniform 1.
        precision: the precision of the denoiser's arithmetic.
        objective: what is made of the denoised sample and the network's named outputs.
    """

    weighting: Literal["edm", "score", "uniform"] = "edm"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    objective: Objective = field(factory=Denoising)

    def weight(self, sigma: Tensor, sigma_data: float) -> Tensor:
        """The weight of the mean squared denoising error per level, (B,)."""
        if self.weighting == "score":
            return sigma**-2
        if self.weighting == "edm":
            return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
        return torch.ones_like(sigma)

    def of(
        self,
        denoiser: Denoiser,
        examples: Examples,
        sigma: Tensor,
        sigma_data: float,
        rows: Any = None,
        network: Denoiser | None = None,
    ) -> Tensor:
        """The loss of each example, or of the examples indexed by ``rows``, (B,).

        Args:
            denoiser: any point, guided or not.
            examples: noisy inputs, targets and conditions.
            sigma: their noise levels (B,).
            sigma_data: the data's standard deviation.
            rows: indices or a slice of the examples; None for all.
            network: the network whose named outputs the objective reads; by default the denoiser.

        Raises:
            DenoiserError: the network lacks an output that the objective reads.
            RecipeError: the objective returned something else than a loss per example.
        """
        if rows is not None:
            condition = select_rows(examples.condition, rows)
            examples = evolve(examples, x=examples.x[rows], target=examples.target[rows], condition=condition)
            sigma = sigma[rows]
        weight = self.weight(sigma, sigma_data)
        losses: object = self.objective.losses(
            ObjectiveInput(denoiser, network or denoiser, examples, sigma, weight, self.precision)
        )
        if not isinstance(losses, Tensor) or losses.shape != sigma.shape:
            form = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else f"a {type(losses).__name__}"
            raise RecipeError(
                f"objective {short(self.objective)} returned {form} for {len(sigma)} examples: return one loss per "
                f"example, a tensor of shape ({len(sigma)},)"
            )
        return losses
