"""Checkpoints of any format as tensors by name; nothing in a file is executed.

    .safetensors                 by the library of that name
    .pt, .pth, .ckpt, .bin       by torch's loader with ``weights_only``, on the CPU whatever device they name
    snapshots of EDM and EDM2    by `guideplug.files.checkpoints.pickled`
    a folder of accelerate       the file of weights in it, or its parts by their index

The format is told by the content, not by the name.
"""

import functools
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

import torch
from attrs import evolve, field, frozen
from torch import Tensor, nn

from guideplug.errors import CheckpointError
from guideplug.files.atomic import check_unchanged
from guideplug.files.checkpoints.layouts import choose, networks_in
from guideplug.files.checkpoints.pickled import Array, read_pickle
from guideplug.files.checkpoints.pickled_network import PickledNetwork, is_module, pickled_network
from guideplug.files.opening import is_there, open_file
from guideplug.files.reading import read_json_file
from guideplug.files.tensors import fill_module, read_tensors

__all__ = ["Checkpoint", "chosen", "is_pickle", "load_weights", "pickled_networks", "read_checkpoint", "read_weights"]

ZIP: Final = b"PK\x03\x04"
LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of torch's two formats: an archive, and a sequence of pickles that begins with a magic number."""
WEIGHTS: Final = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.bin",
    "model.safetensors.index.json",
)
"""The files of weights in folders of accelerate and of its relatives."""
REFUSED = re.compile(
    r"Unsupported (?:global|class): (?:GLOBAL )?([\w.]+)|Unsupported operand|Trying to (?:load|call) ([\w.]+)"
)


@final
@frozen
class Checkpoint:
    """The contents of a checkpoint that may be networks.

    Args:
        path: the file.
        layout: its format, in words.
        networks: tensors by name, of each network, by key.
        pickled: what a pickle says of its networks, by the same keys.
    """

    path: Path
    layout: str
    networks: dict[str, dict[str, Tensor]] = field(repr=False)
    pickled: dict[str, PickledNetwork] = field(factory=dict, repr=False)


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle that torch did not write, such as a snapshot; False for what cannot be read."""
    try:
        with open_file(path) as file:
            head = file.read(len(LEGACY))
    except (OSError, ValueError):
        return False
    return head[:1] == b"\x80" and head != LEGACY


def read_checkpoint(path: Path) -> Checkpoint:
    """The networks of a checkpoint, on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or needs code to be read; the message says
            what to do.
    """
    try:
        if path.is_dir():
            return _folder(path)
        with open_file(path) as file:
            head = file.read(len(LEGACY))
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path} does not exist: check the path") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if head[:4] == ZIP and _has_statistics(path):
        raise _statistics(path)
    if head[:4] == ZIP or head == LEGACY:
        return _torch(path)
    if head[:1] == b"\x80":
        return _pickle(path)
    tensors, _ = read_tensors(path)
    return Checkpoint(path, "safetensors", {"": tensors})


def chosen(checkpoint: Checkpoint, key: str | None, module: nn.Module | None = None) -> dict[str, Tensor]:
    """The weights of one network of a checkpoint; see `choose`.

    Raises:
        CheckpointError: there is none, or the key is needed or wrong.
    """
    try:
        return dict(choose(checkpoint.networks, key, module))
    except ValueError as error:
        raise CheckpointError(f"checkpoint {checkpoint.path}: {error}") from None


def load_weights(module: nn.Module, path: str | Path, key: str | None = None) -> str:
    """Read the weights of a module from a checkpoint of any format; nothing in the file is executed.

    Args:
        module: the network, as it was when it was saved.
        path: the file, or a folder of accelerate.
        key: which of the checkpoint's networks, such as "ema"; None for the only one that fits.

    Returns:
        The prefix of the names in the file, such as "module."; empty without one.

    Raises:
        CheckpointError: the file cannot be read, the key is needed or wrong, names or shapes are not the module's, or
            a weight is not finite.
    """
    return fill_module(module, chosen(read_checkpoint(Path(path)), key, module), str(path))


def read_weights(path: str | Path, key: str | None = None) -> dict[str, Tensor]:
    """The weights of a network in a checkpoint of any format, by name; nothing in the file is executed.

    Args:
        path: the file, or a folder of accelerate.
        key: which of the checkpoint's networks, such as "ema"; None for the only one.

    Raises:
        CheckpointError: the file cannot be read, or the key is needed or wrong.
    """
    return chosen(read_checkpoint(Path(path)), key)


def pickled_networks(path: Path) -> Mapping[str, PickledNetwork]:
    """What a snapshot says of its networks, by key, without the memory of weights: they are on the meta device.

    Empty for a file of another format. A file that has not changed is read once.

    Raises:
        CheckpointError: the snapshot is damaged.
    """
    if not is_pickle(path):
        return {}
    state = path.stat()
    return _pickled_networks(path, state.st_mtime_ns, state.st_size, state.st_ino)


@functools.lru_cache(maxsize=256)
def _pickled_networks(path: Path, *stamp: int) -> Mapping[str, PickledNetwork]:
    pickled = read_checkpoint(path).pickled
    return {
        key: evolve(network, tensors={name: tensor.to("meta") for name, tensor in network.tensors.items()})
        for key, network in pickled.items()
    }


def _torch(path: Path) -> Checkpoint:
    check_unchanged(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_file(path) as file:
                tree = torch.load(file, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        EOFError,
        OSError,
        IndexError,
    ) as error:
        named = REFUSED.search(str(error))
        if named is not None and (name := named[1] or named[2]):
            raise CheckpointError(
                f"checkpoint {path} holds an object of {name}, which would run code: where it was made, write its "
                "weights alone, torch.save(network.state_dict(), FILE), and give that file"
            ) from None
        raise CheckpointError(
            f"checkpoint {path} is damaged, or no file of torch ({_line(error)}): copy it again"
        ) from None
    layout = "Lightning" if isinstance(tree, dict) and "pytorch-lightning_version" in tree else "torch"
    return Checkpoint(path, layout, networks_in(tree))


def _pickle(path: Path) -> Checkpoint:
    check_unchanged(path)
    try:
        tree = read_pickle(path)
        if is_module(tree):
            return _snapshots(path, {"": pickled_network(tree)})
        if isinstance(tree, dict):
            modules = {name: value for name, value in tree.items() if isinstance(name, str) and is_module(value)}
            if modules:
                encoder = tree.get("encoder")
                return _snapshots(path, {name: pickled_network(module, encoder) for name, module in modules.items()})
            if _is_statistics(tree):
                raise _statistics(path)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read as a snapshot: {getattr(error, 'strerror', None) or error}; snapshots "
            "of EDM and EDM2 are read, and files of safetensors or of torch.save(network.state_dict(), FILE)"
        ) from None
    return Checkpoint(path, "pickle", networks_in(tree))


def _snapshots(path: Path, snapshots: dict[str, PickledNetwork]) -> Checkpoint:
    networks = {name: dict(snapshot.tensors) for name, snapshot in snapshots.items() if snapshot.tensors}
    return Checkpoint(path, "snapshot", networks, {name: snapshots[name] for name in networks})


def _statistics(path: Path) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path} holds statistics of a reference set, mean and covariance, and no network: measure images "
        f"against it, evaluate IMAGES --features EXPR --reference {path}"
    )


def _has_statistics(path: Path) -> bool:
    """Whether an archive is of arrays ``mu`` and ``sigma``."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return {"mu.npy", "sigma.npy"} <= set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _is_statistics(tree: dict[Any, Any]) -> bool:
    """Whether a pickle holds means and covariances of features, alone or by metric."""
    sets = [tree, *(value for value in tree.values() if isinstance(value, dict))]
    return any(isinstance(one.get("mu"), Array) and isinstance(one.get("sigma"), Array) for one in sets)


def _folder(path: Path) -> Checkpoint:
    """The weights in a folder of accelerate or transformers."""
    there = [name for name in WEIGHTS if is_there(path / name)]
    if not there:
        raise CheckpointError(
            f"checkpoint {path} is a folder without {', '.join(WEIGHTS)}: give the file of the weights"
        )
    if not there[0].endswith(".index.json"):
        return read_checkpoint(path / there[0])
    index = read_json_file(path / there[0])
    parts = index.get("weight_map") if isinstance(index, dict) else None
    names = sorted(set(parts.values())) if isinstance(parts, dict) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise CheckpointError(f"checkpoint {path / there[0]} names no parts: copy the folder again")
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_tensors(path / name)[0]
    return Checkpoint(path, "safetensors in parts", {"": tensors})


def _line(error: Exception) -> str:
    text = (str(error).splitlines() or [""])[0] or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
