"""What a metric answers, checked where it enters: its description, its value of an arm, and its values of resamples."""

import math
import numbers
from functools import partial

import torch
from torch import Tensor

from guideplug.config import breach, described, plugin_errors
from guideplug.denoise import unwritten
from guideplug.rng import undrawn
from guideplug.task import Arm, Context, Metric, Resampler

__all__ = ["check_metric", "resampler_of", "value_of"]

BETTER = ("higher", "lower", "truth")
ASPECTS = ("fidelity", "coverage", "both", "accuracy", "memorisation")


def check_metric(metric: Metric) -> None:
    """Refuse a metric that does not say which way is better, of which aspect, and by which formula.

    Raises:
        ContractError: what it says.
    """
    for name, words in (("better", BETTER), ("aspect", ASPECTS)):
        word = getattr(metric, name, None)
        if word not in words:
            raise breach(metric, f"gives {described(word)} for its {name}: give one of {', '.join(words)}")
    if not isinstance(getattr(metric, "formula", None), str):
        raise breach(metric, "gives no formula: give a text")
    if type(metric.fewest) is not int or metric.fewest < 1:
        raise breach(metric, f"gives {described(metric.fewest)} for its fewest: give the number of samples it needs")


def value_of(metric: Metric, arm: Arm, context: Context) -> float | None:
    """The value of a metric for an arm; None where it has none, and where it is not finite for drawn samples.

    Raises:
        ContractError: it is no number, not finite for true samples, the samples were changed, or the metric raised.
    """
    samples = {f"the samples of {one.name!r}": one.samples for one in (arm, *context.references.values())}
    refusal = partial(breach, metric)
    with plugin_errors(), undrawn(refusal), unwritten(refusal, **samples):
        value = metric.measure(arm, context)
    if value is None:
        return None
    if isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad and not value.is_complex():
        value = value.item()
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise breach(metric, f"gave {described(value)} for {arm.name!r}: return a float, or None without a value")
    try:
        number = float(value)
    except OverflowError:
        raise breach(metric, f"gave a number beyond every float for {arm.name!r}: return a float") from None
    if math.isfinite(number):
        return number
    if arm.name in context.references:
        raise breach(
            metric, f"gave {number} for {arm.name!r}, which is not finite: guard what may be 0, or return None"
        )
    return None


def resampler_of(metric: Metric, arm: Arm, context: Context) -> Resampler | None:
    """The metric of an arm as a function of weights, checked; None where it cannot be resampled.

    The function raises a ContractError where its values are not one number per resample.

    Raises:
        ContractError: it is no function, or gives no finite number for the samples as they are.
    """
    with plugin_errors():
        of_weights = metric.resampler(arm, context)
    if of_weights is None:
        return None
    if not callable(of_weights):
        raise breach(metric, f"gave {described(of_weights)} for a resampler: return a function of weights, or None")

    def checked(weights: Tensor) -> Tensor:
        with plugin_errors():
            values = of_weights(weights)
        if not isinstance(values, Tensor) or values.shape != (len(weights),) or not values.is_floating_point():
            raise breach(
                metric,
                f"gave {described(values)} for {len(weights)} resamples of {arm.name!r}: return one number for each",
            )
        return values

    once = checked(torch.ones(1, len(arm.samples), dtype=torch.float64))
    if not bool(torch.isfinite(once).all()):
        raise breach(metric, f"gave {float(once)} as the resample of {arm.name!r} as it is: return its value")
    return checked
