"""Classifier-free guidance: away from what the model says without the condition.

    D_w(x; sigma, c) = D(x; sigma, c) + (w - 1) * (D(x; sigma, c) - D_u(x; sigma))

D_u is the same network under its null condition, or a network of its own where the task or the user gives one.

Source: J. Ho and T. Salimans 2022, "Classifier-free diffusion guidance", arXiv:2207.12598, eq. 6, whose w is ours - 1.
Cost: one call of the main network, with two outputs per sample; or one call of each of two networks.
"""

from collections.abc import Mapping, Sequence
from typing import final

from attrs import frozen

from guideplug import Denoiser, Guider, Recipe, Source, Task, WeightSchedule, finite, hook, option
from guideplug_cfg.plus_plus import CFGPlusPlus

__all__ = ["CFG", "CFGPlusPlus"]


@final
@frozen
class CFG(Guider):
    """Classifier-free guidance."""

    name = "cfg"
    source = Source(
        "J. Ho, T. Salimans", 2022, "Classifier-Free Diffusion Guidance", "https://arxiv.org/abs/2207.12598", "eq. 6"
    )
    weight: float | WeightSchedule = option(
        2.0, help="guidance weight; 1 is off, 0 the unconditional model", validator=finite
    )
    model: str = option("unconditional", help="role of the unconditional network, where it is a network of its own")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        recipe = task.recipe("unconditional", main)
        return {} if recipe is None else {self.model: recipe}

    def may_use(self) -> Sequence[str]:
        return [self.model]

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        unconditional = models[self.model] if self.model in models else base.unconditional()
        return base + (self.weight - 1) * (base - unconditional)


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [CFG, CFGPlusPlus]
