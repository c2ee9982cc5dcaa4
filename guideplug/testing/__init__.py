"""For plugin authors: the laws as checks, and closed-form denoisers as oracles.

    from guideplug.testing import check_guider
    def test_laws(): check_guider(MyGuider)

Each check raises `AssertionError` naming the violated law. Checks use closed-form Gaussians: no training, well under a
second. ``guideplug plugins check`` tries all laws on the offers of a plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guideplug.testing.executors import check_executor as check_executor
    from guideplug.testing.features import check_features as check_features
    from guideplug.testing.guided import models_for as models_for
    from guideplug.testing.guiders import check_guider as check_guider
    from guideplug.testing.metrics import check_metric as check_metric
    from guideplug.testing.networks import check_network as check_network
    from guideplug.testing.objectives import check_objective as check_objective
    from guideplug.testing.observers import check_observer as check_observer
    from guideplug.testing.observers import events_of_a_run as events_of_a_run
    from guideplug.testing.oracles import CONDITIONS as CONDITIONS
    from guideplug.testing.oracles import Conditioning as Conditioning
    from guideplug.testing.oracles import GaussianDenoiser as GaussianDenoiser
    from guideplug.testing.oracles import example_condition as example_condition
    from guideplug.testing.recipes import check_recipe as check_recipe
    from guideplug.testing.resuming import check_resumes as check_resumes
    from guideplug.testing.rewards import check_reward as check_reward
    from guideplug.testing.samplers import check_sampler as check_sampler
    from guideplug.testing.schedules import check_weights as check_weights
    from guideplug.testing.selectors import check_selector as check_selector
    from guideplug.testing.strategies import check_strategy as check_strategy
    from guideplug.testing.studies import check_study as check_study
    from guideplug.testing.tasks import check_task as check_task
    from guideplug.testing.toys import Line as Line
    from guideplug.testing.toys import Normal as Normal

_ROOMS = {
    "executors": ["check_executor"],
    "features": ["check_features"],
    "guided": ["models_for"],
    "guiders": ["check_guider"],
    "metrics": ["check_metric"],
    "networks": ["check_network"],
    "objectives": ["check_objective"],
    "observers": ["check_observer", "events_of_a_run"],
    "oracles": ["CONDITIONS", "Conditioning", "GaussianDenoiser", "example_condition"],
    "recipes": ["check_recipe"],
    "resuming": ["check_resumes"],
    "rewards": ["check_reward"],
    "samplers": ["check_sampler"],
    "schedules": ["check_weights"],
    "selectors": ["check_selector"],
    "strategies": ["check_strategy"],
    "studies": ["check_study"],
    "tasks": ["check_task"],
    "toys": ["Line", "Normal"],
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'guideplug.testing' has no attribute {name!r}")
    return getattr(import_module(f"guideplug.testing.{_WHERE[name]}"), name)
