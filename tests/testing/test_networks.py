"""Networks that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

import random
from typing import final

import pytest
import torch
from attrs import evolve, frozen
from defects import broken
from torch import Tensor, nn

from guideplug import (
    Condition,
    Domain,
    Leaf,
    Network,
    Space,
    option,
)
from guideplug.testing.networks import NETWORK, NetworkCase
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.toys import Normal

torch.set_num_threads(1)


class _Net(Leaf):
    def __init__(self, space: Space, defect: str) -> None:
        super().__init__(space)
        self.layer, self.defect = nn.Linear(space.shape[-1], space.shape[-1]), defect
        self.kept = torch.rand(()) if defect == "state outside" else torch.zeros(())
        self.register_buffer("zero", torch.zeros(()))
        self.calls = 0

    zero: Tensor

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        defect = self.defect
        if defect == "in place":
            x.mul_(1.5)
        if defect == "levels in place":
            sigma.mul_(2)
        level = sigma[:, None]
        denoised = (x + self.layer(x)) / (1 + level**2)
        if defect == "wrong shape":
            return denoised[:, :1]
        if defect == "wrong type":
            return denoised.float() if x.dtype == torch.float64 else denoised.double()
        if defect == "single precision":
            return denoised.float()
        if defect == "low levels":
            return denoised / (level > 0.01)
        if defect == "batch":
            return denoised - 0.1 * denoised.mean(0)
        if defect == "one level":
            return (x + self.layer(x)) / (1 + float(sigma[0]) ** 2)
        if defect == "draws":
            return denoised + 0 * torch.rand(())
        if defect == "counts":
            self.calls += 1
            return denoised * self.calls
        if defect == "wrong device":
            return denoised + torch.zeros(x.shape, dtype=x.dtype, device="cpu")
        return denoised + self.kept.to(x) if defect == "state outside" else denoised


@final
@frozen
class Builds(Network):
    """A linear layer: right without a defect."""

    name = "builds"
    defect: str = option("", help="what is wrong")

    def build(self, domain: Domain) -> Leaf:
        space = evolve(domain.space, sigma_max=1.0) if self.defect == "range" else domain.space
        net = _Net(space, self.defect)
        if self.defect == "labels":
            net.num_labels = 3
        if self.defect == "seed":
            torch.nn.init.uniform_(net.layer.weight, generator=torch.Generator().manual_seed(random.getrandbits(32)))
        return net


NETWORKS = [
    ("range", "it builds a denoiser of the domain's space"),
    ("labels", "what it builds knows the labels"),
    ("seed", "equal seeds build equal networks"),
    ("seed", "building leaves global generators alone"),
    ("wrong shape", "one clean sample for each noisy one, over the whole range of levels"),
    ("wrong type", "one clean sample for each noisy one, over the whole range of levels"),
    ("low levels", "one clean sample for each noisy one, over the whole range of levels"),
    ("single precision", "it answers in the type of its parameters"),
    ("wrong device", "it answers on the device of its parameters, and looks at no value"),
    ("batch", "rows do not depend on each other"),
    ("one level", "the level is its own for each row"),
    ("draws", "no draw from a global generator when it answers"),
    ("counts", "the same inputs give the same answer"),
    ("in place", "inputs are not changed"),
    ("levels in place", "inputs are not changed"),
    ("state outside", "its state is all that there is to it"),
]


def test_the_right_network_keeps_all_laws() -> None:
    assert broken(STRATEGY, Builds()) == {}
    assert broken(NETWORK, NetworkCase(Builds(), Normal())) == {}


@pytest.mark.parametrize(("defect", "law"), NETWORKS)
def test_a_networks_defect(defect: str, law: str) -> None:
    assert law in broken(NETWORK, NetworkCase(Builds(defect=defect), Normal()))
