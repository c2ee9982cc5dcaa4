"""Which of a checkpoint's contents is the network: by key, by names, or refused with the keys."""

from typing import Any

import pytest
import torch
from torch import nn

from guideplug.files.checkpoints.layouts import choose, networks_in

NET, AVERAGE = nn.Linear(2, 2), nn.Linear(2, 2)
OTHER = nn.Linear(3, 3)


def named(module: nn.Module, prefix: str = "") -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


OPTIMISER = {"state": {0: {"exp_avg": torch.zeros(2), "step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3}]}
LAYOUTS: dict[str, tuple[Any, list[str]]] = {
    "weights alone": (named(NET), [""]),
    "a loop of one's own": ({"model": named(NET), "optimizer": OPTIMISER, "step": 3}, ["model"]),
    "with an average": ({"net": named(NET), "ema": named(AVERAGE), "opt": OPTIMISER}, ["net", "ema"]),
    "Lightning": (
        {"pytorch-lightning_version": "2", "state_dict": named(NET, "model."), "optimizer_states": [OPTIMISER]},
        ["state_dict"],
    ),
    "nested": ({"checkpoint": {"weights": named(NET)}, "epoch": 1}, ["checkpoint.weights"]),
    "nothing": ({"step": 3, "lr": 0.1}, []),
    "no mapping": ([1, 2], []),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_have_their_networks(name: str) -> None:
    tree, keys = LAYOUTS[name]
    assert list(networks_in(tree)) == keys


def test_the_only_one_needs_no_key() -> None:
    assert choose(networks_in(LAYOUTS["a loop of one's own"][0]), None).keys() == named(NET).keys()


def test_of_several_the_key_or_the_names_choose() -> None:
    networks = networks_in({"net": named(NET), "other": {"deep": named(OTHER, "inner.")}})
    assert choose(networks, "net")["weight"].shape == (2, 2)
    assert choose(networks, None, NET)["weight"].shape == (2, 2)
    with pytest.raises(
        ValueError, match=r"it holds 2 networks: choose one by its key, net \(2 tensors of .*other.deep"
    ):
        choose(networks, None)


def test_networks_under_prefixes_have_keys_too() -> None:
    tree = {"state_dict": named(NET, "net.") | named(AVERAGE, "net_ema.")}
    for key, module in (("state_dict.net", NET), ("net_ema", AVERAGE)):
        chosen = choose(networks_in(tree), f"state_dict.{key.removeprefix('state_dict.')}")
        assert chosen.keys() == module.state_dict().keys()
        assert torch.equal(chosen["weight"], module.weight)
    with pytest.raises(
        ValueError, match=r"no network of key 'nte': its keys are state_dict \(4 tensors of net, net_ema\)"
    ):
        choose(networks_in(tree), "nte")


def test_a_network_inside_a_lightning_module_needs_no_key() -> None:
    """Where one alone has the names of the module; of a network and its average the keys are listed."""
    tree: Any = {"state_dict": named(NET, "net.") | {"loss.scale": torch.zeros(1)}}
    weights = choose(networks_in(tree), None, NET)
    assert torch.equal(weights["weight"], NET.weight)
    assert choose(networks_in(tree), "net").keys() == weights.keys()
    tree["state_dict"] |= named(AVERAGE, "net_ema.")
    with pytest.raises(ValueError, match=r"by its key, state_dict.net \(2 tensors of .*\), state_dict.net_ema \("):
        choose(networks_in(tree), None, NET)
    assert torch.equal(choose(networks_in(tree), "net_ema", NET)["weight"], AVERAGE.weight)


def test_a_checkpoint_without_a_network_says_so() -> None:
    with pytest.raises(ValueError, match="it holds no network"):
        choose(networks_in(LAYOUTS["nothing"][0]), None)


def test_a_deep_tree_ends() -> None:
    tree: Any = named(NET)
    for _ in range(50):
        tree = {"a": tree}
    assert networks_in(tree) == {}
