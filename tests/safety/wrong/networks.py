"""Networks that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

import math
from typing import Any

import numpy as np
import torch
from attrs import frozen
from guideplug_local_toy import ToyDenoiser  # type: ignore[import-not-found]
from torch import nn

from guideplug import Leaf, Network, Space, hook


class Of(ToyDenoiser):
    """The toy's network with another answer."""

    def __init__(self, change: Any) -> None:
        super().__init__(8, labels=False)
        self.answer_of = change

    def denoise(self, x, sigma, condition):
        return self.answer_of(self, x, sigma, lambda: super(Of, self).denoise(x, sigma, condition))


def answering(name: str, doc: str, change: Any) -> type[Network]:
    """A network that answers what ``change(leaf, x, sigma, right)`` makes of it."""

    def build(self, domain):
        return Of(change)

    methods = {"__module__": __name__, "name": name, "__doc__": doc, "build": build}
    return frozen(type(name.title().replace("-", ""), (Network,), methods))


def building(name: str, doc: str, build: Any) -> type[Network]:
    """A network that builds what ``build(domain)`` returns."""

    def builds(self, domain):
        return build(domain)

    methods = {"__module__": __name__, "name": name, "__doc__": doc, "build": builds}
    return frozen(type(name.title().replace("-", ""), (Network,), methods))


def writes(leaf, x, sigma, right):
    x.mul_(0.5)
    return right()


def writes_levels(leaf, x, sigma, right):
    out = right()
    sigma.zero_()
    return out


def writes_unseen(leaf, x, sigma, right):
    out = right()
    x.data.mul_(0.5)
    return out


def counts(leaf, x, sigma, right):
    leaf.calls = getattr(leaf, "calls", 0) + 1
    return right() * (1 + 0.5 * leaf.calls)


def exits(leaf, x, sigma, right):
    raise SystemExit(0)


def raises(leaf, x, sigma, right):
    if len(x) > 8:
        raise LookupError("no\nsuch layer")
    return right()


def nan_where_low(leaf, x, sigma, right):
    return torch.where((sigma < 0.5)[:, None], right() * math.nan, right())


class Three(Leaf):
    """A denoiser of three numbers."""

    def __init__(self) -> None:
        super().__init__(Space((3,), sigma_data=0.5, sigma_min=0.01, sigma_max=5.0))
        self.layer = nn.Linear(3, 3)

    def denoise(self, x, sigma, condition):
        return self.layer(x)


SHARED: list[Leaf] = []


def shared(domain: Any) -> Leaf:
    if not SHARED:
        SHARED.append(ToyDenoiser(8, labels=False))
    return SHARED[0]


LAYERS: list[nn.Module] = []


def shared_layers(domain: Any) -> Leaf:
    leaf = ToyDenoiser(8, labels=False)
    if not LAYERS:
        LAYERS.append(leaf.layers)
    leaf.layers = LAYERS[0]
    return leaf


def nan_weights(domain: Any) -> Leaf:
    leaf = ToyDenoiser(8, labels=False)
    with torch.no_grad():
        leaf.layers[0].weight.fill_(math.nan)
    return leaf


def unbuilt(domain: Any) -> Leaf:
    leaf = ToyDenoiser(8, labels=False)
    leaf.layers = nn.Sequential(nn.LazyLinear(8), nn.SiLU(), nn.LazyLinear(2))
    return leaf


def unseeded(domain: Any) -> Leaf:
    leaf = ToyDenoiser(8, labels=False)
    with torch.no_grad():
        leaf.layers[0].weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=(8, 6))))
    return leaf


def build_exits(domain: Any) -> Leaf:
    raise SystemExit(0)


def build_raises(domain: Any) -> Leaf:
    raise LookupError("no\nsuch layer")


WRONG: list[tuple[type[Any], str]] = [
    (answering("writes-input", "Writes into its input.", writes), "changed"),
    (answering("writes-unseen", "Writes into its input, past the version counter.", writes_unseen), "changed"),
    (answering("writes-levels", "Writes into its levels.", writes_levels), "changed"),
    (answering("other-shape", "Another shape.", lambda leaf, x, sigma, right: right()[:, :1]), "shape"),
    (answering("fewer-rows", "Fewer rows.", lambda leaf, x, sigma, right: right()[:1]), "shape"),
    (answering("other-dtype", "Another type.", lambda leaf, x, sigma, right: right().double()), "float64"),
    (answering("complex", "Complex numbers.", lambda leaf, x, sigma, right: right() + 0j), "complex64"),
    (answering("other-device", "Another device.", lambda leaf, x, sigma, right: right().to("meta")), "meta"),
    (answering("all-nan", "No numbers.", lambda leaf, x, sigma, right: right() * math.nan), "finite"),
    (answering("nan-where-low", "No numbers at low levels.", nan_where_low), "finite"),
    (answering("mixes-rows", "The batch's mean removed.", lambda leaf, x, sigma, right: right() - x.mean(0)), "batch"),
    (answering("counts-calls", "Another answer for every second call.", counts), "same inputs"),
    (answering("draws", "Noise added.", lambda leaf, x, sigma, right: right() + torch.randn(x.shape)), "generator"),
    (answering("answers-none", "None.", lambda leaf, x, sigma, right: None), "None"),
    (answering("array", "An array.", lambda leaf, x, sigma, right: right().detach().numpy()), "ndarray"),
    (answering("pair", "A tuple.", lambda leaf, x, sigma, right: (right(), 1)), "tuple"),
    (answering("raises", "Raises for large batches.", raises), "LookupError"),
    (answering("exits", "Exits.", exits), "SystemExit"),
    (building("builds-none", "Builds None.", lambda domain: None), "None"),
    (building("builds-module", "Builds a module that is no leaf.", lambda domain: nn.Linear(2, 2)), "Linear"),
    (building("builds-class", "Builds a class.", lambda domain: ToyDenoiser), "Meta"),
    (building("builds-other-space", "Builds a leaf of another space.", lambda domain: Three()), "space"),
    (building("builds-shared", "Builds one leaf for all.", shared), "share"),
    (building("builds-shared-layers", "Builds leaves of one's layers.", shared_layers), "share"),
    (building("builds-nan", "Builds weights that are no numbers.", nan_weights), "finite"),
    (building("builds-lazy", "Builds layers without weights.", unbuilt), "weights"),
    (building("builds-meta", "Builds on the meta device.", lambda domain: ToyDenoiser(8, False).to("meta")), "meta"),
    (building("builds-unseeded", "Draws weights from NumPy.", unseeded), "seed"),
    (building("build-exits", "Exits.", build_exits), "SystemExit"),
    (building("build-raises", "Raises.", build_raises), "LookupError"),
]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [cls for cls, _ in WRONG]
