"""A training at an earlier step, or with another average."""

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
"""The largest accepted error of a combination of averages, relative to the target profile."""


@final
@frozen(kw_only=True)
class Snapshot(Recipe):
    """A training at an earlier step, or its average of another EMA length; no further training.

    A length of the training is exact. Any other is a combination of the averages stored during the training
    (`TrainOptions.averages`), and is refused if its error is too large (`guideplug.train.ema`).
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
        """Refuse a length that the stored averages cannot approximate."""
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
        """Whether its length is one of the training's, and so exact."""
        return self.ema is None or self.ema in self.training.options.ema

    @property
    def _step(self) -> int:
        steps = self.training.options.steps if self.at is None else int(self.at.amount)
        assert steps is not None
        return steps

    @property
    def _stored(self) -> tuple[tuple[int, float], ...]:
        """The averages stored up to its step: steps and lengths."""
        options = self.training.options
        return tuple((step, length) for step in options.averaged_at if step <= self._step for length in options.ema)

    @property
    def parts(self) -> tuple[tuple[Average, float], ...]:
        """The stored averages of its combination, with their coefficients; a single one for an exact length."""
        if self.kept:
            return ((Average(of=self.training, at=self.at, ema=self.ema), 1.0),)
        assert self.ema is not None
        kept = stored_averages(self.training)
        coefficients = post_hoc_weights(self._stored, self._step, self.ema)
        return tuple(zip(kept[: len(coefficients)], coefficients, strict=True))

    def content(self) -> str:
        """The number of stored averages, if combined from them: it decides the combination."""
        return "" if self.kept else f"{self.training.options.averages} averages"

    @property
    def training(self) -> Averaged:
        """Its training."""
        assert isinstance(self.of, Averaged)
        return self.of

    def build(self) -> nn.Module:
        return self.of.build()

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Read the weights from the training's folder, or repeat the training up to the step."""
        module.load_state_dict(self.weights(builder))
        return {}

    def weights(self, builder: Builder) -> Mapping[str, Tensor]:
        """The state of the network: stored, or combined from stored averages."""
        parts = self.parts
        stored = builder.stored([part for part, _ in parts])
        if self.kept:
            return next(stored)
        averaged = [name for name, _ in self.build().named_parameters(remove_duplicate=False)]
        return combined(zip(stored, (share for _, share in parts), strict=True), averaged)

    def asks_for(self) -> Iterable[Average]:
        """The averages of its combination."""
        return [part for part, _ in self.parts]

    def rests_on(self) -> Iterable[tuple[Recipe, Duration | None]]:
        """Its training, up to the step."""
        return [(self.of, self.at)]

    def at_most(self, training: Recipe, at: Duration) -> Recipe | None:
        """The same snapshot, or that at ``at`` if it is later."""
        if self.of != training:
            return None
        return evolve(self, at=at) if self.at is None or self.at.amount > at.amount else self
