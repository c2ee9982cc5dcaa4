"""EDM2's objective: the denoising error under a learned uncertainty per noise level.

    loss_i = lambda(sigma_i) / exp(u(sigma_i)) * mean over pixels of (D(x_i; sigma_i, c_i) - y_i)^2 + u(sigma_i)

u is a named output of the network, "logvar", learned with it; at its optimum exp(u) is the expected weighted error at
that noise level, so that each level contributes equally. lambda is the option ``weighting`` of training, "edm" in EDM2.
Adding u makes the value the negative logarithm of a normal density per pixel, up to a constant and a factor of two.

Scale: EDM2's code adds u to the error of each pixel and sums over pixels, which is this loss times the number N of
pixels and channels of a sample. The minimum is the same, and so are Adam's steps, up to its epsilon, for they do not
depend on the scale of gradients. Norms of gradients (the option ``clip``) and steps of sgd are smaller by N.

EDM2 draws noise levels with ``--set train.noise="log-normal(mean=-0.4, std=1.0)"``; an objective sets no other option.

Source: Karras, Aittala, Lehtinen, Hellsten, Aila and Laine 2024, arXiv:2312.02696, equations 21 and 22.
Cost: that of denoising: one call of the network, and a linear map of the noise level.
"""

from collections.abc import Sequence
from typing import final

from attrs import frozen
from torch import Tensor

from guideplug import Objective, ObjectiveInput, Source

__all__ = ["EDM2Uncertainty"]


@final
@frozen
class EDM2Uncertainty(Objective):
    """EDM2's loss with the log-variance that the network learns."""

    name = "edm2-uncertainty"
    source = Source(
        "T. Karras, M. Aittala, J. Lehtinen, J. Hellsten, T. Aila, S. Laine",
        2024,
        "Analyzing and Improving the Training Dynamics of Diffusion Models",
        "https://arxiv.org/abs/2312.02696",
        "equations 21 and 22",
    )

    def losses(self, examples: ObjectiveInput) -> Tensor:
        """The weight over exp(u), times the mean squared error over pixels, plus u, (B,)."""
        denoised, logvar = examples.evaluate("logvar")
        return examples.weight / logvar.exp() * examples.squared_error(denoised) + logvar

    def reads(self) -> Sequence[str]:
        return ("logvar",)
