"""A small training on the tree, and a builder that follows it."""

from typing import Any

import torch
from attrs import evolve
from torch import Tensor

from guideplug import (
    Duration,
    FineTune,
    LogNormal,
    Synthetic,
    Train,
    TrainOptions,
)
from guideplug.observe import Listener, Observers
from guideplug.run.builder import StoreBuilder
from guideplug.store import Store
from guideplug.train import Training
from guideplug_edm import Euler
from guideplug_tree import Tree, TreeMLPNetwork

TREE = Tree()
OPTIONS = TrainOptions(
    duration="12it", batch=40, lr=0.01, noise=LogNormal(-2.3, 1.5), weighting="score", ema=(0.1, 0.25)
)
MAIN = Train(task=TREE, denoiser=TreeMLPNetwork(4), options=OPTIONS, seed=1)
WEAK = evolve(MAIN, denoiser=TreeMLPNetwork(2), seed=2)
SAMPLER = Euler(num_steps=3)


class Log(Listener):
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, data))

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.events)


class Stopped(BaseException):
    pass


class StopAfter:
    """Stops at the n-th step that is asked about."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Stopped


def workshop(store: Store, log: Log | None = None, **options: Any) -> StoreBuilder:
    return StoreBuilder(store, torch.device("cpu"), Observers([log] if log else []), **options)


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def trained(recipe: Train, steps: int | None = None, ema: float | None = None) -> dict[str, Tensor]:
    """The oracle: the training itself, without workshop or store, stopped where it is told to."""
    now = Training(recipe.build(), recipe.task, recipe.options, seed=recipe.seed)
    now.run(until=None if steps is None else Duration(steps, "it"))
    return now.weights(ema)


# Fine-tuning, synthetic data, files


def tuned(on: Any, duration: str = "3it", lr: float = 0.01) -> FineTune:
    return FineTune(of=MAIN, on=on, options=evolve(OPTIONS, duration=duration, lr=lr), seed=4)


SYNTHETIC = Synthetic(of=MAIN, task=TREE, sampler=SAMPLER, count=50, seed=3)
