"""For plugin authors: the laws as checks, and closed-form denoisers as oracles.

    from guideplug.testing import check_guider
    def test_laws(): check_guider(MyGuider)

Each check raises `AssertionError` naming the violated law. Checks use closed-form Gaussians: no training, well under a
second. ``guideplug plugins check`` tries all laws on the offers of a plugin.
"""

from guideplug.testing.guided import models_for
from guideplug.testing.guiders import check_guider
from guideplug.testing.metrics import check_metric
from guideplug.testing.networks import check_network
from guideplug.testing.observers import check_observer, events_of_a_run
from guideplug.testing.oracles import CONDITIONS, Conditioning, GaussianDenoiser, example_condition
from guideplug.testing.recipes import check_recipe
from guideplug.testing.resuming import check_resumes
from guideplug.testing.rewards import check_reward
from guideplug.testing.samplers import check_sampler
from guideplug.testing.schedules import check_weights
from guideplug.testing.selectors import check_selector
from guideplug.testing.strategies import check_strategy
from guideplug.testing.studies import check_study
from guideplug.testing.tasks import check_task
from guideplug.testing.toys import Line, Normal

__all__ = [
    "CONDITIONS",
    "Conditioning",
    "GaussianDenoiser",
    "Line",
    "Normal",
    "check_guider",
    "check_metric",
    "check_network",
    "check_observer",
    "check_recipe",
    "check_resumes",
    "check_reward",
    "check_sampler",
    "check_selector",
    "check_strategy",
    "check_study",
    "check_task",
    "check_weights",
    "events_of_a_run",
    "example_condition",
    "models_for",
]
