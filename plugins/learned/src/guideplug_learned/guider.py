"""Guidance whose weight is learned: how much, at each level, for each class.

    D(x; sigma, c) = D_0(x; sigma, c) + omega(c, sigma, toward) * (D_0(x; sigma, c) - O(x; sigma, c))

O is what the inner guider goes away from, so that w = 1 + omega is its weight, off at 1; toward is the level that the
sampler's step goes to. omega comes from a recipe of its own, `guideplug_learned.fit`.

Source: A. Galashov, A. Pokle, A. Doucet, A. Gretton, M. Delbracio and V. De Bortoli 2025, "Learn to guide your
diffusion model", arXiv:2510.00815.
Cost: the inner guider's, also where omega is 0, which cannot be known beforehand; before, one fit.
"""

from collections.abc import Mapping
from typing import Any, cast, final

from attrs import frozen

from guideplug import Denoiser, Guider, Recipe, Source, Task, Weight, opposite, option, short, strategy
from guideplug_learned.affine import check_affine, check_weight
from guideplug_learned.errors import LearnedError

__all__ = ["SOURCE", "Learned"]

SOURCE = Source(
    "A. Galashov, A. Pokle, A. Doucet, A. Gretton, M. Delbracio, V. De Bortoli",
    2025,
    "Learn to Guide Your Diffusion Model",
    "https://arxiv.org/abs/2510.00815",
)


@final
@frozen
class Learned(Guider):
    """A guider whose weight is learned, a function of the condition and of the levels of a step."""

    name = "learned"
    source = SOURCE
    guider: Guider = option(
        factory=lambda: strategy("cfg", Guider),
        help="the guider whose weight is learned, such as cfg or autoguidance; its own is left out",
    )
    model: str = option("weights", help="role of the weight network")

    def __attrs_post_init__(self) -> None:
        check_weight(self.guider)

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | str | None]:
        inner = super().needs(task, main)
        if self.model in inner:
            raise LearnedError(
                f"learned: its guider uses the role {self.model!r} too: give the weights another, as in model=other"
            )
        return {**inner, self.model: f"fit(of=main, guider={short(self.guider)}, seed={getattr(main, 'seed', 0)})"}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        check_affine(self.guider, base.space)
        weight = cast(Mapping[str, Any], models)[self.model]
        if not isinstance(weight, Weight):
            raise LearnedError(
                f"learned: the role {self.model!r} is a {type(weight).__name__}, and a weight is needed: give it a "
                f"fit, as in --model {self.model}='fit(iterations=500)', or a file with one"
            )
        others = {role: model for role, model in models.items() if role != self.model}
        return base + weight * (base - opposite(self.guider, base, others))
