"""Autoguidance: away from what a weaker version of the same model says.

    D_w(x; sigma, c) = D(x; sigma, c) + (w - 1) * (D(x; sigma, c) - D_weak(x; sigma, c))

The weak network is smaller and less trained, for the same data and conditions; both make alike errors, the weak one
larger ones, so the difference points away from them.

Source: T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila and S. Laine 2024, "Guiding a diffusion model with
a bad version of itself", arXiv:2406.02507, section 3.
Cost: one call of each network.
"""

from collections.abc import Mapping
from typing import final

from attrs import frozen

from guideplug import Denoiser, Guider, Recipe, Source, Task, WeightSchedule, finite, hook, option


@final
@frozen
class Autoguidance(Guider):
    """A model guided by a weaker version of itself."""

    name = "autoguidance"
    source = Source(
        "T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine",
        2024,
        "Guiding a Diffusion Model with a Bad Version of Itself",
        "https://arxiv.org/abs/2406.02507",
        "section 3",
    )
    weight: float | WeightSchedule = option(
        2.0, help="guidance weight; 1 is off. The paper's optima lie between 1.7 and 2.9", validator=finite
    )
    model: str = option("weak", help="role of the weak network")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return {self.model: task.recipe("weak", main)}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + (self.weight - 1) * (base - models[self.model])


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Autoguidance]
