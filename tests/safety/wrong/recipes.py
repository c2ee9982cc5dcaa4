"""Recipes and rewards that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

import math
from typing import Any

import torch
from attrs import frozen
from guideplug_local_toy import ToyDenoiser  # type: ignore[import-not-found]
from torch import nn

from guideplug import Recipe, Reward, hook


def making(name: str, doc: str, make: Any = lambda module: {}, build: Any = None, **changes: Any) -> type[Recipe]:
    """A recipe that builds ``build()`` and makes by ``make(module)``."""

    def builds(self):
        return ToyDenoiser(8, labels=False) if build is None else build()

    def makes(self, module, builder):
        return make(module)

    methods = {"__module__": __name__, "name": name, "__doc__": doc, "build": builds, "make": makes, **changes}
    return frozen(type(name.title().replace("-", ""), (Recipe,), methods))


def spoils(value: float) -> Any:
    def make(module: Any) -> dict[str, Any]:
        with torch.no_grad():
            module.layers[2].bias.fill_(value)
        return {}

    return make


def lazy() -> nn.Module:
    leaf = ToyDenoiser(8, labels=False)
    leaf.layers = nn.Sequential(nn.LazyLinear(8), nn.SiLU(), nn.LazyLinear(2))
    return leaf


def raises(module: Any) -> dict[str, Any]:
    raise LookupError("no\nweights")


def exits(module: Any) -> dict[str, Any]:
    raise SystemExit(0)


def renames(module: Any) -> dict[str, Any]:
    module.layers = nn.Sequential(nn.Linear(6, 4), nn.SiLU(), nn.Linear(4, 2))
    return {}


WRONG: list[tuple[type[Any], str]] = [
    (making("leaves-nan", "Leaves no numbers.", spoils(math.nan)), "finite"),
    (making("leaves-infinite", "Leaves infinite weights.", spoils(math.inf)), "finite"),
    (making("loaded-nan", "Leaves no numbers, and is not stored.", spoils(math.nan), stored=False), "finite"),
    (making("builds-none", "Builds None.", build=lambda: None), "None"),
    (making("builds-function", "Builds a function.", build=lambda: print), "builtin"),
    (making("builds-linear", "Builds what is no denoiser.", build=lambda: nn.Linear(2, 2)), "Linear"),
    (making("builds-lazy", "Builds layers without weights.", build=lazy), "weights"),
    (making("builds-meta", "Builds on the meta device.", build=lambda: ToyDenoiser(8, labels=False).to("meta")),
     "meta"),
    (making("facts-none", "Returns None for facts.", lambda module: None), "facts"),
    (making("facts-tensor", "Returns a tensor among the facts.", lambda module: {"loss": torch.ones(2)}), "facts"),
    (making("facts-object", "Returns an object among the facts.", lambda module: {"loss": object()}), "facts"),
    (making("other-layers", "Replaces its layers.", renames), "weights"),
    (making("raises", "Raises.", raises), "LookupError"),
    (making("exits", "Exits.", exits), "SystemExit"),
    (making("content-of-bytes", "Has bytes as content.", content=lambda self: b"x"), "content"),
    (making("evaluates-number", "Plans a number.", evaluates=lambda self: [3]), "PlannedBatch"),
]  # fmt: skip


def scoring(name: str, doc: str, score: Any) -> type[Reward]:
    """A reward of ``score(x0)``."""
    methods = {"__module__": __name__, "name": name, "__doc__": doc, "score": lambda self, x0, condition: score(x0)}
    return frozen(type(name.title().replace("-", ""), (Reward,), methods))


def reward_exits(x0: Any) -> Any:
    raise SystemExit(0)


REWARDS: list[tuple[type[Any], str]] = [
    (scoring("score-matrix", "A number per axis.", lambda x0: x0), "shape"),
    (scoring("score-number", "One number for all.", lambda x0: x0.mean()), "shape"),
    (scoring("score-float", "A float.", lambda x0: 1.0), "float"),
    (scoring("score-none", "None.", lambda x0: None), "None"),
    (scoring("score-nan", "No numbers.", lambda x0: x0.sum(1) * math.nan), "finite"),
    (scoring("score-detached", "No gradient.", lambda x0: x0.detach().sum(1)), "gradient"),
    (scoring("score-exits", "Exits.", reward_exits), "SystemExit"),
    (scoring("score-batch", "Depends on the batch.", lambda x0: x0.sum(1) - x0.sum(1).mean()), "batch"),
]


@hook
def guideplug_recipes() -> list[type[Recipe]]:
    return [cls for cls, _ in WRONG]


@hook
def guideplug_rewards() -> list[type[Reward]]:
    return [cls for cls, _ in REWARDS]
