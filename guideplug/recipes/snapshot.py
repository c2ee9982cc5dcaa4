"""A training at an earlier moment, or another of its averages."""

from collections.abc import Iterable, Mapping
from typing import Any, final

from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug.config import Duration, option
from guideplug.recipe import Builder, Recipe
from guideplug.recipes.averages import Average, Averaged, stored_averages
from guideplug.train.ema import combined, post_hoc_weights, power_gamma, profile_error

__all__ = ["Snapshot"]


MAX_PROFILE_ERROR = 0.05
"""A combination of averages that is further from the wanted profile, relative to it, is refused."""


@final
@frozen(kw_only=True)
class Snapshot(Recipe):
    """A training at an earlier moment, or its average of another EMA length: no training of its own.

    A length that the training keeps is exact. Any other is combined of the averages that it stores along the way
    (`TrainOptions.averages`), and refused where their combination is not near enough (`guideplug.train.ema`).
    """

    name = "snapshot"
    free = True
    of: Recipe = option(help="the training")
    at: Duration | None = option(None, help="the step, in iterations; none for the end of the training")
    ema: float | None = option(None, help="the EMA length; none for the first that the training keeps")

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.of, Averaged):
            raise ValueError(f"of is the recipe {self.of.name!r}: a snapshot is of train or fine-tune")
        options = self.of.options
        if self.ema is not None:
            power_gamma(self.ema)
        if self.at is not None and self.at.unit != "it":
            raise ValueError(f"at is {self.at}: give iterations, as in 512it")
        if self.at is not None and options.steps is not None and self.at.amount > options.steps:
            raise ValueError(f"at is {self.at}: the training ends at {options.duration}")
        if not self.kept:
            self._check_near_enough()

    def _check_near_enough(self) -> None:
        """Refuse a length that what is stored cannot give."""
        options, lengths = self.training.options, ", ".join(f"{length:g}" for length in self.training.options.ema)
        if len(options.ema) < 2 or not options.averaged_at:
            raise ValueError(
                f"ema is {self.ema:g}: the training keeps {lengths}; add it to the training's ema, or keep two lengths "
                "and store averages along a training of known iterations, as in --set train.ema=[0.05,0.1] --set "
                "train.averages=64"
            )
        stored, step = self._stored, self._step
        assert self.ema is not None
        error = profile_error(stored, post_hoc_weights(stored, step, self.ema), step, self.ema) if stored else 1.0
        if error > MAX_PROFILE_ERROR:
            near = sorted(sorted(options.averaged_at, key=lambda moment: abs(moment - step))[:2])
            moments = " and ".join(f"{moment}it" for moment in near)
            helps = "" if step in near else f"ask for a stored moment ({moments} are nearest), "
            count = len(stored) // len(options.ema)
            raise ValueError(
                f"ema is {self.ema:g} at {step}it: averages of {lengths} stored at {count} moments until then give it "
                f"with an error of {100 * error:.0f} %, more than {100 * MAX_PROFILE_ERROR:g} %: {helps}store more of "
                "them (train.averages), or keep a length nearer to it (train.ema)"
            )

    @property
    def kept(self) -> bool:
        """Whether the training keeps its length, so that it is exact."""
        return self.ema is None or self.ema in self.training.options.ema

    @property
    def _step(self) -> int:
        steps = self.training.options.steps if self.at is None else int(self.at.amount)
        assert steps is not None
        return steps

    @property
    def _stored(self) -> tuple[tuple[int, float], ...]:
        """What is stored until then: steps and lengths."""
        options = self.training.options
        return tuple((step, length) for step in options.averaged_at if step <= self._step for length in options.ema)

    @property
    def parts(self) -> tuple[tuple[Average, float], ...]:
        """The stored averages that it is combined of, with their coefficients; itself where its length is kept."""
        if self.kept:
            return ((Average(of=self.training, at=self.at, ema=self.ema), 1.0),)
        assert self.ema is not None
        kept = stored_averages(self.training)
        coefficients = post_hoc_weights(self._stored, self._step, self.ema)
        return tuple(zip(kept[: len(coefficients)], coefficients, strict=True))

    def content(self) -> str:
        """How often averages are stored, where it is combined of them: that decides the combination."""
        return "" if self.kept else f"{self.training.options.averages} averages"

    @property
    def training(self) -> Averaged:
        """The training it is of."""
        assert isinstance(self.of, Averaged)
        return self.of

    def build(self) -> nn.Module:
        return self.of.build()

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Take the weights from the training's folder, where they are kept, or let it train up to the moment again."""
        module.load_state_dict(self.weights(builder))
        return {}

    def weights(self, builder: Builder) -> Mapping[str, Tensor]:
        """The state of the network: kept, or combined of the averages that the training stored along the way."""
        parts = self.parts
        stored = builder.stored([part for part, _ in parts])
        if self.kept:
            return next(stored)
        averaged = [name for name, _ in self.build().named_parameters(remove_duplicate=False)]
        return combined(zip(stored, (share for _, share in parts), strict=True), averaged)

    def asks_for(self) -> Iterable[Average]:
        """The averages that it is combined of."""
        return [part for part, _ in self.parts]

    def rests_on(self) -> Iterable[tuple[Recipe, Duration | None]]:
        """Its training, up to the moment."""
        return [(self.of, self.at)]

    def at_most(self, training: Recipe, at: Duration) -> Recipe | None:
        """The same, or that at ``at`` where it is later."""
        if self.of != training:
            return None
        return evolve(self, at=at) if self.at is None or self.at.amount > at.amount else self
