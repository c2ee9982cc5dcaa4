"""A Gaussian task whose networks are closed forms, and fits of their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug import (
    Examples,
    Guider,
    Leaf,
    Recipe,
    Space,
    Start,
    Streams,
    Task,
    TrainingStreams,
    WeightInput,
    noised,
    option,
)
from guideplug.config import Reader
from guideplug.registry.registry import Registry
from guideplug.testing import GaussianDenoiser
from guideplug_learned import Fit, WeightNetwork
from guideplug_learned.levels import sigma_at

SPACE = Space((2,), sigma_data=0.5, sigma_min=0.02, sigma_max=5.0)
AUTOGUIDANCE = Reader(Registry.installed()).expression("autoguidance", Guider)
CFG = Reader(Registry.installed()).expression("cfg", Guider)


@final
@frozen
class Blob(Task):
    """A Gaussian, with a label or not."""

    name = "blob"
    mean: float = option(0.1, help="mean of the data")
    std: float = option(0.5, help="standard deviation of the data")
    labels: bool = option(False, help="whether there are labels")
    kind: str = option("labels", help="of the condition, where there is one")

    @property
    def space(self) -> Space:
        return SPACE

    @property
    def exact(self) -> GaussianDenoiser:
        return GaussianDenoiser(self.mean, self.std, conditioning="labels" if self.labels else "none")

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        generator = streams.generator("data")
        labels = torch.randint(3, (len(sigma),), generator=generator) if self.labels else None
        noise = torch.randn(len(sigma), 2, generator=generator)
        condition: Any = labels
        if self.kind == "embedding":
            condition = torch.randn(len(sigma), 4, generator=generator)
        elif self.kind == "masked":
            condition = {"text": torch.zeros(len(sigma), 1, 4), "text_mask": torch.ones(len(sigma), 1).bool()}
        return noised(self.exact.mean_of(labels, noise) + self.std * noise, sigma, streams, condition)

    def start(self, streams: Streams, sigma: float) -> Start:
        raise NotImplementedError

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        return None

    def sampler(self) -> str:
        return "heun"

    def truth(self, count: int, sampler: Any, seed: int) -> Any:
        raise NotImplementedError

    def metrics(self) -> Any:
        return []

    def figure(self, arms: Any, path: Path) -> None:
        raise NotImplementedError


@final
@frozen
class Closed(Recipe):
    """A closed-form denoiser."""

    name = "closed"
    stored = False
    mean: float = option(0.1, help="mean")
    std: float = option(0.5, help="standard deviation")
    labels: bool = option(False, help="whether there are labels")

    def build(self) -> Leaf:
        return GaussianDenoiser(self.mean, self.std, conditioning="labels" if self.labels else "none")

    def make(self, module: nn.Module, builder: Any) -> Mapping[str, Any]:
        return {}


class Shop:
    """A builder without a store."""

    def __init__(self) -> None:
        self.made: dict[Recipe, nn.Module] = {}
        self.steps: list[tuple[int, int]] = []

    def obtain(self, recipe: Recipe) -> nn.Module:
        return self.made.setdefault(recipe, recipe.build())

    def checkpoint(self, work: Any) -> bool:
        return False

    def progress(self, step: int, total: int, loss: float | None = None) -> None:
        self.steps.append((step, total))


def fitted(fit: Fit, shop: Shop | None = None) -> tuple[WeightNetwork, Mapping[str, Any]]:
    module = cast(WeightNetwork, fit.build())
    return module, fit.make(module, cast(Any, shop or Shop()))


def small(base: Closed, guide: Closed, task: Blob | None = None, **options: Any) -> Fit:
    chosen = {"iterations": 400, "batch": 256, "width": 32, "lr": 0.01, **options}
    return Fit(of=base, task=task or Blob(), guider=AUTOGUIDANCE, models={"weak": guide}, **chosen)


def at(module: WeightNetwork, t: float, s: float, label: int | None = None) -> float:
    condition = None if label is None else torch.tensor([label])
    with torch.no_grad():
        return float(module(WeightInput(t, s, SPACE, condition)))


def levels(pair: tuple[float, float]) -> tuple[float, float]:
    t, s = sigma_at(torch.tensor(pair, dtype=torch.float64), SPACE).tolist()
    return t, s
