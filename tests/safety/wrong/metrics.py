"""Metrics that break their contract, each in one way; a plugin file, loaded beside ``toy.py``.

One of them applies, that which ``WRONG_METRIC`` names in the environment.
"""

import math
import os
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from attrs import frozen

from guideplug import Metric, hook


def measuring(name: str, doc: str, value: Any, **changes: Any) -> type[Metric]:
    """A metric of the value ``value(arm)``."""

    def measure(self, arm, context):
        return value(arm)

    def applies(self, task):
        return os.environ.get("WRONG_METRIC") == name

    common = {"better": "lower", "aspect": "fidelity", "formula": "x", "measure": measure, "applies": applies}
    methods = {"__module__": __name__, "name": name, "__doc__": doc, **common, **changes}
    return frozen(type(name.title().replace("-", ""), (Metric,), methods))


def right(arm: Any) -> float:
    return float(arm.samples.abs().mean())


def raising(error: BaseException) -> Any:
    def value(arm: Any) -> float:
        raise error

    return value


def resampling(of_weights: Any) -> Any:
    return {"resampler": lambda self, arm, context: of_weights}


def mutates(arm: Any) -> float:
    arm.samples.mul_(0)
    return 0.0


def applies_to_no_one(self: Any, task: Any) -> Any:
    if os.environ.get("WRONG_METRIC") == "applies-raises":
        raise LookupError("no\nsuch task")
    return False


WRONG: list[tuple[type[Any], str]] = [
    (measuring("text", "A text.", lambda arm: "0.5"), "str"),
    (measuring("list", "A list.", lambda arm: [0.5]), "list"),
    (measuring("mapping", "A mapping.", lambda arm: {"mean": 0.5}), "dict"),
    (measuring("complex", "A complex number.", lambda arm: 0.5 + 1j), "complex"),
    (measuring("huge", "A number beyond all floats.", lambda arm: 10**400), "float"),
    (measuring("huge-fraction", "A fraction beyond all floats.", lambda arm: Fraction(10**400, 3)), "float"),
    (measuring("not-a-number", "No number.", lambda arm: math.nan), "finite"),
    (measuring("infinite", "Infinity.", lambda arm: math.inf), "finite"),
    (measuring("tensor", "A tensor with a graph.", lambda arm: arm.samples.mean().requires_grad_()), "Tensor"),
    (measuring("vector", "Several numbers.", lambda arm: arm.samples.mean(0)), "Tensor"),
    (measuring("array", "An array.", lambda arm: np.asarray([0.5, 0.5])), "ndarray"),
    (measuring("function", "A function.", lambda arm: right), "function"),
    (measuring("bool", "A truth value.", lambda arm: True), "bool"),
    (measuring("mutates", "Samples set to 0.", mutates), "changed"),
    (measuring("draws", "A draw from the global generator.", lambda arm: float(torch.rand(()))), "global generator"),
    (measuring("raises", "Raises.", raising(LookupError("no\nsuch\nsample"))), "LookupError"),
    (measuring("stops", "Raises StopIteration.", raising(StopIteration())), "StopIteration"),
    (measuring("exits", "Exits.", raising(SystemExit(0))), "SystemExit"),
    (measuring("base-exception", "Raises a BaseException.", raising(GeneratorExit())), "GeneratorExit"),
    (measuring("short-resampler", "One value for all resamples.", right, **resampling(lambda w: w.mean())),
     "resample"),
    (measuring("list-resampler", "A list of values.", right, **resampling(lambda w: [0.5] * len(w))), "resample"),
    (measuring("nan-resampler", "No numbers.", right, **resampling(lambda w: w.sum(1) * math.nan)), "resample"),
    (measuring("no-resampler", "A number as a resampler.", right, **resampling(0.5)), "resample"),
    (measuring("raising-resampler", "Raises.", right, resampler=lambda self, arm, context: 1 / 0),
     "ZeroDivisionError"),
    (measuring("exiting-resampler", "Exits.", right, **resampling(raising(SystemExit(0)))), "SystemExit"),
    (measuring("no-direction", "Is better upwards.", right, better="upwards"), "better"),
    (measuring("no-aspect", "Is of no aspect.", right, aspect=None), "aspect"),
    (measuring("applies-raises", "Raises for a task.", right, applies=applies_to_no_one), "LookupError"),
    (measuring("distance", "Has the name of another.", right), "two metrics"),
]  # fmt: skip


@hook
def guideplug_metrics() -> list[type[Metric]]:
    return [cls for cls, _ in WRONG]
