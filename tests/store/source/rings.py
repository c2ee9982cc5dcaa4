"""A small plugin, written to a folder: a file that holds a network, a task and its figure; metrics; layers."""

from collections.abc import Mapping
from pathlib import Path

from guideplug.store.source import Reach, core_scope
from guideplug.store.source.scope import Scope

__all__ = ["FILES", "digest", "reach", "write"]

ROOTS = {"ring.py": ("Ring", "RingNetwork")}

FILES = {
    "__init__.py": '''"""Rings."""

from guideplug import Metric, Network, Task, hook
from rings.measure import Roundness
from rings.ring import Ring, RingNetwork

__all__ = ["Ring", "RingNetwork"]


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [Ring]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [RingNetwork]


@hook
def guideplug_metrics() -> list[type[Metric]]:
    return [Roundness]
''',
    "ring.py": '''"""The task and its network."""

import math
from typing import TYPE_CHECKING

import torch
from attrs import frozen
from torch import Tensor
from torch import nn
from torch import tanh as squash

from guideplug import Leaf, Network, Space, Task, noised, option, wrap
from rings.layers import hidden_layer
from rings.measure import METRICS
from rings.picture import draw_ring

if TYPE_CHECKING:
    from pathlib import Path

SPACE = Space(shape=(2,), sigma_data=1.0)
TITLE = "a ring"


class Net(nn.Module):
    """An MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = hidden_layer(width)

    def forward(self, x: Tensor) -> Tensor:
        """The clean sample."""
        return squash(self.hidden(x))  # bounded


def tail(width: int) -> int:
    """How many units are left."""
    if width < 1:
        raise ValueError(f"width is {width}")
    left: int = width - 1
    return left


def nobody_s() -> int:
    return 3


@frozen
class RingNetwork(Network):
    """A network."""

    name = "ring-mlp"
    width: int = option(8, help="units", unit="units")

    def build(self, task: Task) -> Leaf:
        from rings.late import wrapped

        return wrapped(Net(tail(self.width)), task)


@frozen
class Ring(Task):
    """A ring."""

    name = "ring"
    radius: float = option(1.0, help="its radius", unit="data units")

    @property
    def space(self) -> Space:
        return SPACE

    def draw(self, sigma, streams):
        return noised(self._points(len(sigma)), sigma, streams)

    def _points(self, count):
        angles = torch.arange(count) * math.tau / count
        return torch.stack((angles.cos(), angles.sin()), 1)

    def truth(self, count, sampler, seed):
        return []

    def metrics(self):
        return METRICS

    def primary(self):
        return ("roundness",)

    def figure(self, arms, path):
        draw_ring(self._panel(arms), path)

    def animate(self, arms, sampler, seed, path):
        return False

    def _panel(self, arms):
        return TITLE, len(arms)
''',
    "layers.py": """from torch import nn

GAIN = 2.0


def hidden_layer(width: int) -> nn.Module:
    return _scaled(nn.Linear(2, width))


def _scaled(layer: nn.Module) -> nn.Module:
    layer.weight.data *= GAIN
    return layer
""",
    "late.py": """from guideplug import wrap


def wrapped(net, task):
    return wrap(net, task.space.shape, predicts="clean")
""",
    "measure.py": '''from attrs import frozen

from guideplug import Metric


@frozen
class Roundness(Metric):
    """How round."""

    name = "roundness"

    def measure(self, arm, context):
        return 1.0


METRICS = (Roundness(),)
''',
    "picture.py": """import matplotlib

matplotlib.use("Agg")


def draw_ring(panel, path):
    path.write_text(str(panel))
""",
}


def write(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    """The plugin in a folder."""
    package = folder / "rings"
    package.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (package / name).write_text(text)
    return package


def reach(package: Path, roots: Mapping[str, tuple[str, ...]] = ROOTS) -> tuple[Scope, Reach]:
    """What its task and its network reach, from their files alone."""
    scope, found = Scope(package.name, (package.parent,), package.name), Reach(core_scope())
    for file, names in roots.items():
        for name in names:
            found.start(scope, package / file, name)
    return scope, found


def digest(package: Path, roots: Mapping[str, tuple[str, ...]] = ROOTS) -> str:
    """The hash of what its task and its network reach."""
    scope, found = reach(package, roots)
    return found.scopes[scope].digest
