"""Gaussians in the plane: a task of one, one of a labelled mixture, their denoiser, metrics, a reward, figures."""

from guideplug import Network, Reward, Task, hook
from guideplug_mixture.density import Gaussians
from guideplug_mixture.exact import ExactGaussians
from guideplug_mixture.gaussian import Gaussian
from guideplug_mixture.mixture import Mixture
from guideplug_mixture.network import MixtureMLP
from guideplug_mixture.reward import ClassLikelihood

__all__ = ["ClassLikelihood", "ExactGaussians", "Gaussian", "Gaussians", "Mixture", "MixtureMLP"]


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [Gaussian, Mixture]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [MixtureMLP]


@hook
def guideplug_rewards() -> list[type[Reward]]:
    return [ClassLikelihood]
