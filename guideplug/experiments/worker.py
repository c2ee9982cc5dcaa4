"""The worker of an experiment: it makes networks, and denoisers of them to sample and measure.

It writes into the store alone; what belongs into the experiment's folder is returned to the driver.
"""

import time
from collections.abc import Callable, Mapping
from functools import cached_property

import attrs
import torch

from guideplug.denoise import Denoiser, Leaf
from guideplug.executors.interrupt import handle_signals
from guideplug.experiments.networks import Networks
from guideplug.experiments.records import check_code
from guideplug.guide import Guider
from guideplug.observe import Observers
from guideplug.recipe import Extra, Recipe, extras_under
from guideplug.run.builder import StoreBuilder
from guideplug.run.measure import Bench
from guideplug.run.preflight import denoiser_of, guided
from guideplug.store import Store

__all__ = ["ExperimentWorker"]


@attrs.define
class ExperimentWorker:
    """The state of a worker, in this process or another.

    Args:
        networks: all networks of the experiment but those that it makes itself.
        store: where networks are kept.
        device: where they are made.
        bench: measures samples.
        observers: receive the events of trainings.
    """

    networks: Networks
    store: Store
    device: torch.device
    bench: Bench
    observers: Observers

    @cached_property
    def extras(self) -> list[Extra]:
        """All further files that the networks need of each other, kept during training."""
        return [extra for network in self.networks for extra in extras_under(network.recipe)]

    def make(self, key: str) -> float:
        """Make a network unless it is stored; the seconds spent."""
        begin = time.perf_counter()
        check_code(f"network {key[:8]}", True, key in self.networks.of)
        network = self.networks.of[key]
        with handle_signals() as stop:
            builder = self.builder(stop, self.observers)
            builder.expect({network.name: network.recipe}, self.extras)
            builder.obtain(network.recipe)
        return time.perf_counter() - begin

    def builder(self, stop: Callable[[], None], observers: Observers | None = None) -> StoreBuilder:
        """A builder for one job."""
        return StoreBuilder(self.store, self.device, observers or Observers(), stop=stop)

    def denoiser(self, builder: StoreBuilder, guider: Guider | None, recipes: Mapping[str, Recipe]) -> Denoiser:
        """The guided denoiser of a run."""
        models: dict[str, Leaf] = {role: denoiser_of(builder.obtain(recipe), role) for role, recipe in recipes.items()}
        return models["main"] if guider is None else guided(guider, models)
