"""CFG++: the unconditional step, whose end is guided and whose noise is not.

With D_u the unconditional denoised samples, D_lambda = D_u + lambda (D_c - D_u), e = sigma' / sigma, Euler's step is

    x' = D_lambda + e (x - D_u)

which is the unconditional step x' = e x + (1 - e) D_u, moved by lambda (D_c - D_u). So it is classifier-free guidance
with a weight of its own for each step, w = lambda / (1 - e), and lambda in the last one; in general

    D_w(x; sigma, c) = D_u + lambda / gain (D_c - D_u)

where gain is the coefficient of D in x' (`guideplug.LinearStep`): 1 - e for Euler's method and for DDIM at eta 0,
1 - sigma_down / sigma with fresh noise. Solvers whose end depends on more than one evaluation have no such gain, and
are refused: those of Heun, and those with several steps.

Source: H. Chung, J. Kim, G. Y. Park, H. Nam and J. C. Ye 2024, "CFG++: manifold-constrained classifier free guidance
for diffusion models", arXiv:2406.08070, with lambda 0.6 in its code. The form with fresh noise is that of ComfyUI.
Cost: that of classifier-free guidance.
"""

from collections.abc import Mapping, Sequence
from typing import final

from attrs import frozen

from guideplug import (
    Denoiser,
    DenoiserError,
    Guider,
    Level,
    LinearStep,
    Recipe,
    Source,
    Task,
    Weight,
    WeightInput,
    WeightSchedule,
    non_negative,
    option,
)

__all__ = ["CFGPlusPlus"]


@final
@frozen
class CFGPlusPlus(Guider):
    """CFG++: classifier-free guidance whose weight grows as steps shrink; for Euler's method and DDIM."""

    name = "cfg++"
    source = Source(
        "H. Chung, J. Kim, G. Y. Park, H. Nam, J. C. Ye",
        2024,
        "CFG++: Manifold-constrained Classifier Free Guidance for Diffusion Models",
        "https://arxiv.org/abs/2406.08070",
    )
    strength: float | WeightSchedule = option(
        0.6,
        help="lambda, share of the difference at the end of a step; 0 is unconditional",
        validator=non_negative,
    )
    model: str = option("unconditional", help="role of the unconditional network, where it is a network of its own")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        recipe = task.recipe("unconditional", main)
        return {} if recipe is None else {self.model: recipe}

    def may_use(self) -> Sequence[str]:
        return [self.model]

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        unconditional = models[self.model] if self.model in models else base.unconditional()
        return unconditional + self.strength * _PerGain() * (base - unconditional)


@final
class _PerGain(Weight):
    """1 / gain, of the step's end in the denoised samples."""

    in_steps = True

    def forward(self, at: WeightInput) -> Level:
        if not isinstance(at.step, LinearStep):
            raise DenoiserError(
                "cfg++ weighs by how much of an evaluation the end of the step holds, which is said by euler, "
                "flow-euler, ddim and euler-ancestral, without clip; take one of these, or in a loop of your own Euler "
                "steps pass toward=after, step=guideplug.LinearStep(sigma, after)"
            )
        return 1 / at.step.gain

    def extra_repr(self) -> str:
        """The weight as printed in a formula."""
        return "(1 / gain)"
