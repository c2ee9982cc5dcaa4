"""The same samples at several guidance weights, for a report's slider.

    x(w) = sampler(guider at weight w, same noise),   w from off to about twice the run's weight

The first samples of the run's streams are drawn anew at each weight, so that every one of them starts from the noise
that it starts from in the run; at the run's own weight they are the run's own. Nothing else of the run depends on them.
Cost: the calls of the run's guided sampler for each further weight, on at most 512 points or 36 images; all weights
together on no more samples than the run draws, or on 128 points each where that is more. Of images, which cost more,
all further weights together have half as many samples as the run. Where that is below 16 of each, none are drawn unless
the configuration names weights.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from guideplug.config import rewrite, short, walk
from guideplug.errors import ContractError, DivergenceError, GuideplugError
from guideplug.guide import Guider
from guideplug.run.arms import draw_arms_of_run
from guideplug.run.preflight import guided
from guideplug.run.resolve import RunConfig
from guideplug.task import Arm

__all__ = ["Strength", "strength", "swept", "too_costly"]

OFF = {"weight": 1.0, "omega": 0.0}
"""Options that set the strength of guidance, and the value at which it is off."""
NUM_WEIGHTS = 9
POINTS, FEW_POINTS = 512, 128
IMAGES, FEW_IMAGES = 36, 16
"""Largest number of samples per weight; fewer for a run that draws few, so as not to exceed its own sampling."""
MOST_NUMBERS = 2_400_000
"""Largest total of numbers over all weights, which keeps a page below 5 MB."""
FEWEST = 4


@attrs.frozen
class Strength:
    """The single option that sets a guider's strength, possibly of an inner guider.

    Args:
        guider: the whole.
        holder: the guider in it that has the option.
        option, value: its name and what it is in the run.
    """

    guider: Guider
    holder: Guider
    option: str
    value: float

    def at(self, value: float) -> Guider:
        """The whole guider with another value of the option.

        Raises:
            ValueError: the guider takes no such value.
        """

        def changed(guider: Guider) -> Guider:
            return attrs.evolve(cast(Any, guider), **{self.option: value}) if guider is self.holder else guider

        return rewrite(self.guider, changed, Guider)

    def values(self) -> list[float]:
        """Values from off to twice the run's distance from it, the run's value included."""
        off = OFF[self.option]
        reach = self.value - off or 1.0
        half = NUM_WEIGHTS // 2
        weights = {off + reach * step / half for step in range(NUM_WEIGHTS) if step != half}
        return sorted({round(value, 6) for value in weights} | {self.value})


def strength(guider: Guider | None) -> Strength | str:
    """The strength that a slider varies; or the reason why there is none, in words."""
    if guider is None:
        return "The run has no guider, so there is no weight to slide."
    strengths = list(_strengths(guider))
    if len(strengths) > 1:
        names = " and ".join(option for _, option, _ in strengths)
        return f"{short(guider)} has several weights ({names}), so there is no one weight to slide."
    if not strengths:
        return f"{short(guider)} has no weight that is one number, so there is nothing to slide."
    ((holder, option, value),) = strengths
    if not isinstance(value, float) or not math.isfinite(value):
        return f"The weight of {short(guider)} follows a schedule, so there is no one number to slide."
    return Strength(guider, holder, option, value)


def too_costly(config: RunConfig) -> str:
    """The reason why no images are drawn at other weights, in words, and how to have them; empty where they are."""
    moved = strength(config.guider)
    if isinstance(moved, str) or config.weights is not None or len(config.task.space.shape) != 3:
        return ""
    further, named = len(moved.values()) - 1, f"[{moved.values()[0]:g}, {moved.value:g}]"
    if 2 * FEW_IMAGES * further <= config.samples:
        return ""
    return (
        f"No slider: {FEW_IMAGES} images at {further} further weights are more than half of the run's "
        f"{config.samples:,} samples; name weights to have it all the same: --set report.weights='{named}'"
    )


def swept(
    config: RunConfig,
    models: Mapping[str, Any],
    drawn: Mapping[str, Arm],
    truth: Callable[[], Arm],
    stop: Callable[[], None],
) -> dict[str, NDArray[Any]] | None:
    """The arrays of ``sweep.npz``: option, weights (W), samples (W, K, *), truth (K, *), own (), failed (F).

    None without a strength to vary, or if no slider is requested. Weights at which samples diverge are left out, and
    listed in ``failed``.
    """
    moved = strength(config.guider)
    if isinstance(moved, str) or config.weights == () or too_costly(config):
        return None
    weights = moved.values() if config.weights is None else sorted({*config.weights, moved.value})
    own = drawn["guided"].samples
    count = _count(own, len(weights))
    if count < min(FEWEST, len(own)):
        return None
    samples: dict[float, NDArray[Any]] = {}
    failed = []
    for weight in weights:
        if weight == moved.value:
            samples[weight] = own[:count].numpy()
            continue
        with contextlib.suppress(ValueError):
            guider = moved.at(weight)
            try:
                arms, _ = draw_arms_of_run(
                    config,
                    {"guided": guided(guider, models)},
                    count=count,
                    each=lambda arm, done, total: stop(),
                )
            except DivergenceError:
                failed.append(weight)
            except ContractError:
                raise
            except GuideplugError:
                continue  # the guider refuses the weight together with its networks
            else:
                values = arms["guided"].samples.numpy()
                if np.isfinite(values).all():
                    samples[weight] = values
                else:
                    failed.append(weight)
    return {
        "option": np.array(moved.option),
        "weights": np.array(list(samples), dtype=np.float64),
        "own": np.array(moved.value),
        "failed": np.array(failed, dtype=np.float64),
        "samples": np.stack(list(samples.values())),
        "truth": truth().samples[:count].numpy(),
    }


def _count(samples: torch.Tensor, weights: int) -> int:
    """The number of samples drawn per weight."""
    most, few = (POINTS, FEW_POINTS) if samples.ndim == 2 else (IMAGES, FEW_IMAGES)
    share = max(few, len(samples) // (1 if samples.ndim == 2 else 2) // max(1, weights - 1))
    return min(len(samples), most, share, MOST_NUMBERS // max(1, weights * samples[0].numel()))


def _strengths(guider: Guider) -> Iterator[tuple[Guider, str, Any]]:
    """Each option that sets a strength: the guider that has it, its name and its value."""
    for holder in walk(guider, Guider):
        for attribute in attrs.fields(cast(Any, type(holder))):
            value = getattr(holder, attribute.name)
            if attribute.name in OFF and value is not None:
                yield holder, attribute.name, float(value) if isinstance(value, int) else value
