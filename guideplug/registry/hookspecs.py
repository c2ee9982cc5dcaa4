"""The hooks: everything that a plugin can offer. Each takes no arguments and returns classes, or names and texts.

A plugin is a module with some of these functions, each marked with ``@guideplug.hook``, named by an entry point in the
group ``guideplug``. It may say ``GUIDEPLUG_API = 2``: the version of the contracts that it was written for.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from guideplug.denoise import WeightSchedule
    from guideplug.executors import Executor
    from guideplug.features import Features
    from guideplug.guide import Guider
    from guideplug.objective import Objective
    from guideplug.observe import Observer
    from guideplug.recipe import Recipe
    from guideplug.reward import Reward
    from guideplug.sample import Sampler
    from guideplug.select import Selector
    from guideplug.study import Study
    from guideplug.task import Metric, Network, Task

__all__ = ["API_VERSION", "SUPPORTED", "hook"]

API_VERSION = 2
"""Raised when a hook or an abstract class changes in a way that plugins must follow."""
SUPPORTED = (1, 2)
"""The versions whose plugins run; docs/hooks.md says what has changed."""

PROJECT = "guideplug"

hook = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)


@_spec
def guideplug_guiders() -> "Sequence[type[Guider]]":  # type: ignore[empty-body]
    """Guiders: what turns a denoiser into a guided one."""


@_spec
def guideplug_weights() -> "Sequence[type[WeightSchedule]]":  # type: ignore[empty-body]
    """Weight schedules: guidance weights that are functions of the noise level."""


@_spec
def guideplug_selectors() -> "Sequence[type[Selector]]":  # type: ignore[empty-body]
    """Selectors: which of a super-batch's examples are trained on."""


@_spec
def guideplug_samplers() -> "Sequence[type[Sampler]]":  # type: ignore[empty-body]
    """Samplers: solvers of the sampling equation."""


@_spec
def guideplug_denoisers() -> "Sequence[type[Network]]":  # type: ignore[empty-body]
    """Networks that denoisers are built from."""


@_spec
def guideplug_tasks() -> "Sequence[type[Task]]":  # type: ignore[empty-body]
    """Tasks: data, noise levels, default recipes, metrics and figures."""


@_spec
def guideplug_recipes() -> "Sequence[type[Recipe]]":  # type: ignore[empty-body]
    """Recipes: ways of obtaining a role's module."""


@_spec
def guideplug_rewards() -> "Sequence[type[Reward]]":  # type: ignore[empty-body]
    """Rewards: scores of clean samples, for recipes that fit something to raise them."""


@_spec
def guideplug_objectives() -> "Sequence[type[Objective]]":  # type: ignore[empty-body]
    """Objectives: what a training step minimises, that users choose with ``--set train.objective=``."""


@_spec
def guideplug_metrics() -> "Sequence[type[Metric]]":  # type: ignore[empty-body]
    """Metrics, measured in every run whose task they apply to; they have no options without a default."""


@_spec
def guideplug_features() -> "Sequence[type[Features]]":  # type: ignore[empty-body]
    """Features of images, in which ``guideplug evaluate --features`` measures them."""


@_spec
def guideplug_studies() -> "Sequence[type[Study]]":  # type: ignore[empty-body]
    """Studies: scripted experiments for ``guideplug study``; they have no options without a default."""


@_spec
def guideplug_observers() -> "Sequence[type[Observer]]":  # type: ignore[empty-body]
    """Observers of a run's events, such as trackers, that users choose with ``--observer``."""


@_spec
def guideplug_executors() -> "Sequence[type[Executor]]":  # type: ignore[empty-body]
    """Executors: where the jobs of a comparison or a study run, that users choose with ``--executor``."""


@_spec
def guideplug_presets() -> "Mapping[str, Mapping[str, str]]":  # type: ignore[empty-body]
    """Presets: expressions under a name, by kind: ``{"selector": {"early-jest": "early(jest)"}}``."""
