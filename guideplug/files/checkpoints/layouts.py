"""Which of a checkpoint's contents is the network: the layouts of Lightning, accelerate and common training loops.

A checkpoint is a tree of mappings. The weights of a network are a mapping of names to tensors; its key is the path to
it, with dots, such as ``state_dict`` or ``ema``. A mapping with two networks under prefixes, such as a Lightning
module with an average, has keys for these too: ``state_dict.ema_model``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from torch import Tensor, nn

from guideplug.files.tensors import fitting

__all__ = ["choose", "networks_in"]

MOST_DEPTH: Final = 4
NO_NETWORKS: Final = ("opt", "optim", "sched", "scaler", "rng", "random_state", "grad_scaler")
"""Beginnings of the keys of what is no network."""


def networks_in(tree: Any) -> dict[str, dict[str, Tensor]]:
    """The mappings of names to tensors in a checkpoint, by key; the key of the checkpoint itself is empty."""
    return dict(_networks(tree, (), 0))


def _networks(tree: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(tree, Mapping) or depth > MOST_DEPTH:
        return
    tensors = {name: value for name, value in tree.items() if isinstance(value, Tensor)}
    if tensors and all(isinstance(name, str) for name in tree):
        yield ".".join(path), tensors
        return
    for name, inner in tree.items():
        if isinstance(name, str) and not name.lower().startswith(NO_NETWORKS):
            yield from _networks(inner, (*path, name), depth + 1)


def choose(
    networks: Mapping[str, Mapping[str, Tensor]], key: str | None, module: nn.Module | None = None
) -> Mapping[str, Tensor]:
    """The weights of the network to read.

    Args:
        networks: those of a checkpoint, by key.
        key: the user's choice; None for the only one.
        module: the module to fill, which chooses among several; None if unknown.

    Raises:
        ValueError: there is no network, none of this key, or several fit.
    """
    if not networks:
        raise ValueError("it holds no network: no mapping of names to tensors is in it")
    if key is not None:
        return _named(networks, key)
    among = _fitting(networks, module) or _fitting(_inside(networks), module) or dict(networks)
    if len(among) == 1:
        return next(iter(among.values()))
    raise ValueError(
        f"it holds {len(among)} networks: choose one by its key, {_listed(among)}, with --key, or load(FILE, key=...)"
    )


def _fitting(networks: Mapping[str, Mapping[str, Tensor]], module: nn.Module | None) -> dict[str, Mapping[str, Tensor]]:
    """Those whose names are the module's."""
    if module is None:
        return {}
    return {name: tensors for name, tensors in networks.items() if fitting(tensors, module)[0] is not None}


def _inside(networks: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """The networks under the first parts of names, by key, such as the ``net`` of a Lightning module."""
    inside: dict[str, dict[str, Tensor]] = {}
    for key, tensors in networks.items():
        for name, tensor in tensors.items():
            head, _, rest = name.partition(".")
            if rest:
                inside.setdefault(f"{key}.{head}" if key else head, {})[rest] = tensor
    return inside


def _named(networks: Mapping[str, Mapping[str, Tensor]], key: str) -> Mapping[str, Tensor]:
    if key in networks:
        return networks[key]
    for name, tensors in networks.items():
        prefix = key.removeprefix(f"{name}.") + "."
        inside = {
            weight.removeprefix(prefix): tensor for weight, tensor in tensors.items() if weight.startswith(prefix)
        }
        if inside:
            return inside
    raise ValueError(f"it has no network of key {key!r}: its keys are {_listed(networks)}")


def _listed(networks: Mapping[str, Mapping[str, Tensor]]) -> str:
    """The keys, with those of networks under prefixes."""
    keys = []
    for name, tensors in networks.items():
        heads = dict.fromkeys(weight.partition(".")[0] for weight in tensors)
        keys.append(f"{name or 'none'} ({len(tensors)} tensors{f' of {_some(list(heads))}' if len(heads) > 1 else ''})")
    return _some(keys)


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
