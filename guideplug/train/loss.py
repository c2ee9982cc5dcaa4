"""The loss of each example: the weighted error of the denoised sample.

    loss_i = lambda(sigma_i) * mean over data dimensions of (D(x_i; sigma_i, c_i) - target_i)^2

The weight lambda balances the noise levels: "edm" is that of arXiv:2206.00364, table 1; "score" turns the denoising
error into the error of the score.
"""

from typing import Any, Literal, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug.denoise import Denoiser, select_rows
from guideplug.task import Examples

__all__ = ["Loss"]


@final
@frozen
class Loss:
    """The loss of an example.

    Args:
        weighting: the weight of the error: edm (s^2 + d^2) / (s d)^2, score 1 / s^2, uniform 1.
        precision: the precision of the denoiser's arithmetic.
    """

    weighting: Literal["edm", "score", "uniform"] = "edm"
    precision: Literal["fp32", "bf16"] = "fp32"

    def weight(self, sigma: Tensor, sigma_data: float) -> Tensor:
        """The weight of the mean squared denoising error per level, (B,)."""
        if self.weighting == "score":
            return sigma**-2
        if self.weighting == "edm":
            return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
        return torch.ones_like(sigma)

    def of(self, denoiser: Denoiser, examples: Examples, sigma: Tensor, sigma_data: float, rows: Any = None) -> Tensor:
        """The loss of each example, or of the examples indexed by ``rows``, (B,).

        Args:
            denoiser: any point, guided or not.
            examples: noisy inputs, targets and conditions.
            sigma: their noise levels (B,).
            sigma_data: the data's standard deviation.
            rows: indices or a slice of the examples; None for all.
        """
        x, target, condition = examples.x, examples.target, examples.condition
        if rows is not None:
            x, target, condition, sigma = x[rows], target[rows], select_rows(condition, rows), sigma[rows]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            denoised = denoiser(x, sigma, condition)
        error = (denoised.to(target.dtype) - target).square().flatten(1).mean(1)
        weighted: Tensor = self.weight(sigma, sigma_data) * error
        return weighted
