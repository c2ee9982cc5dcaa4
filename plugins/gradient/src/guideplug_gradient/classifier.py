"""Classifier guidance: along the gradient of log p(c | x), of a function of the user's own.

    D(x; sigma, c) = D_0(x; sigma, c) + s sigma^2 grad_x log p(c | x; sigma)        on = noisy
    D(x; sigma, c) = D_0(x; sigma, c) + s sigma^2 grad_x log p(c | D_0(x))          on = denoised

With s = 1 and the true log-probability of noisy samples this is Bayes' rule: D_0 for p(x) gives the denoiser of
p(x | c). The second form takes a classifier of clean samples; it puts p(c | E[x0 | x]) in the place of
E[p(c | x0) | x], which is too sure of itself where the noise is high.

The function is ``(x (B, *), sigma (B,), condition) -> log p (B,)``. x is in data units, clean plus sigma times noise:
a classifier made for variance-preserving x takes x / sqrt(1 + sigma^2). Which class to steer to is the function's own
decision; it may be that of the condition. It is code and runs as such.

Source: P. Dhariwal and A. Nichol 2021, "Diffusion models beat GANs on image synthesis", arXiv:2105.05233, section 4.
Cost: one call of the main network; the function and its gradient; on denoised samples a pass back through the network.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

from attrs import frozen
from torch import Tensor

from guideplug import Condition, Denoiser, GradientGuided, Guider, PythonRef, Source, finite, option
from guideplug_gradient.own import OwnFunction, loaded

__all__ = ["Classifier"]


def _place(value: Any) -> Any:
    return PythonRef.checked(value, "function") if isinstance(value, str) else value


@final
@frozen
class Classifier(Guider):
    """Guidance along the gradient of a log-probability, a function of your own."""

    name = "classifier"
    source = Source(
        "P. Dhariwal, A. Nichol",
        2021,
        "Diffusion Models Beat GANs on Image Synthesis",
        "https://arxiv.org/abs/2105.05233",
        "section 4",
    )
    function: str = option(
        help="(x, sigma, condition) -> log p (B,), as module:function or FILE.py:function; it is code and runs as such",
        converter=_place,
    )
    scale: float = option(1.0, help="factor on the gradient; 0 is off, 1 is Bayes' rule", validator=finite)
    on: Literal["noisy", "denoised"] = option(
        "noisy", help="whether the function is asked of noisy samples, or of predicted clean ones"
    )

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """A function of samples near 0.3."""
        code = folder / "classifier.py"
        code.write_text(
            "def log_p(x, sigma, condition):\n    return -0.5 * ((x - 0.3) ** 2).flatten(1).sum(1) / (1 + sigma**2)\n"
        )
        return {"function": f"{code}:log_p"}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        function = loaded(self.function, "classifier")
        through = self.on == "denoised"
        log_density = _Decoded(function, base) if through else function
        return base + self.scale * (GradientGuided(base, log_density, through=through, name=function.short) - base)

    def content(self) -> str:
        """The hash of the function's code."""
        return PythonRef(self.function, f"classifier {self.function}").digest()


@frozen
class _Decoded:
    """The function of predicted samples as people look at them, which differ from the base's where that is latent."""

    function: OwnFunction
    base: Denoiser

    def __call__(self, x: Tensor, sigma: Tensor, condition: Condition) -> Any:
        return self.function(self.base.decode(x), sigma, condition)
