"""For plugin authors: the laws as checks, and closed-form denoisers as oracles."""

from guideplug.testing.checks import (
    check_guider,
    check_network,
    check_reward,
    check_sampler,
    check_selector,
    check_strategy,
    check_task,
    check_weights,
    models_for,
)
from guideplug.testing.observers import check_observer, events_of_a_run
from guideplug.testing.oracles import CONDITIONS, Conditioning, GaussianDenoiser, example_condition
from guideplug.testing.studies import check_study

__all__ = [
    "CONDITIONS",
    "Conditioning",
    "GaussianDenoiser",
    "check_guider",
    "check_network",
    "check_observer",
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
