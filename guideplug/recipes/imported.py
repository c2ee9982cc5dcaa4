"""Checkpoints of other programs as networks of ours: which architecture they are of, and what they denoise.

What is known of a file comes from its sheet, or from the file itself if it is a snapshot that names its class.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug.config import format_value, write
from guideplug.denoise import NoiseDomain
from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.layouts import choose
from guideplug.files.checkpoints.pickled_network import PickledNetwork
from guideplug.files.checkpoints.reading import chosen, pickled_networks, read_checkpoint
from guideplug.files.checkpoints.sheet import Sheet, beside, latents, read_sheet, write_sheet
from guideplug.files.reading import file_digest
from guideplug.files.tensors import known_prefix, write_tensors
from guideplug.task import Network, Task

__all__ = ["Imported", "described", "domain_of", "import_checkpoint", "numbers_in"]


@final
@frozen
class Imported:
    """A checkpoint that was imported.

    Args:
        path: the file of its weights.
        sheet: what they are.
        keys: the other networks in the source, by key.
    """

    path: Path
    sheet: Sheet
    keys: tuple[str, ...]


def described(path: Path, key: str | None, architectures: Iterable[type[Network]]) -> Sheet | None:
    """What is known of a checkpoint's network: its sheet, or for a snapshot the one that an import would write.

    Args:
        path: the checkpoint.
        key: which of its networks; None for the only one.
        architectures: those that may know its class.

    Returns:
        None if neither a sheet nor the file says what it is.

    Raises:
        CheckpointError: the sheet or the snapshot is damaged, its networks are several, or its weights do not fit its
            arguments.
    """
    sheet = read_sheet(beside(path))
    networks = {} if sheet is not None else pickled_networks(path)
    if not networks:
        return sheet
    try:
        tensors = choose({name: network.tensors for name, network in networks.items()}, key)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None
    name = next((name for name, network in networks.items() if network.tensors is tensors), None)
    source = {"file": path.name, "sha256": None, "layout": "snapshot", "key": name or None}
    return None if name is None else _sheet(path, networks[name], tensors, architectures, source)


def domain_of(sheet: Sheet, like: Task | NoiseDomain) -> Task | NoiseDomain:
    """What a sheet's network denoises; what the sheet does not say is that of another domain.

    Raises:
        ValueError: its levels are none.
    """
    known = {name: getattr(sheet, name) for name in ("shape", "sigma_data", "sigma_min", "sigma_max")}
    space = evolve(like.space, **{name: value for name, value in known.items() if value is not None})
    labels = sheet.num_labels if sheet.shape is not None else sheet.num_labels or like.num_labels
    return like if (space, labels) == (like.space, like.num_labels) else NoiseDomain(space, labels)


def import_checkpoint(path: Path, out: Path, key: str | None, architectures: Iterable[type[Network]]) -> Imported:
    """Write a checkpoint's network as safetensors, with its sheet beside it.

    Args:
        path: the checkpoint.
        out: the file of the weights.
        key: which of the checkpoint's networks; None for the only one.
        architectures: those that may know its class.

    Raises:
        CheckpointError: the checkpoint cannot be read, holds several networks, or its weights do not fit its arguments.
        WriteError: the system refuses.
    """
    checkpoint = read_checkpoint(path)
    tensors = chosen(checkpoint, key)
    name = key or next((one for one in checkpoint.networks if checkpoint.networks[one].keys() == tensors.keys()), "")
    source = {
        "file": path.name,
        "sha256": None if path.is_dir() else file_digest(path),
        "layout": checkpoint.layout,
        "key": name or None,
    }
    sheet = _sheet(path, checkpoint.pickled.get(name), tensors, architectures, source)
    write_tensors(out, tensors)
    write_sheet(beside(out), sheet)
    return Imported(out, sheet, tuple(one for one in checkpoint.networks if one != name))


def _sheet(
    path: Path,
    network: PickledNetwork | None,
    tensors: Mapping[str, Tensor],
    architectures: Iterable[type[Network]],
    source: Mapping[str, Any],
) -> Sheet:
    """The sheet of a checkpoint's network, with its architecture if one of those knows its class.

    Raises:
        CheckpointError: its weights do not fit its arguments.
    """
    encoder = None if network is None or network.encoder is None else latents(*network.encoder)
    sheet = Sheet(None, None, None, None, None, None, None, encoder, numbers_in(tensors), source)
    if network is None:
        return sheet
    try:
        known = (cls.of_pickled(network) for cls in architectures)
        architecture, domain = next((one for one in known if one is not None), (None, None))
        if architecture is None or domain is None:
            return evolve(sheet, class_name=network.named)
        fits(tensors, architecture, domain)
    except (ValueError, TypeError, RuntimeError) as error:  # the last is torch's, of sizes that no tensor has
        why = f"its arguments give no network ({_line(error)})" if isinstance(error, RuntimeError) else _line(error)
        raise CheckpointError(
            f"checkpoint {path}: {why}: copy the file again, or read its weights into a network of your own, "
            "load(FILE, denoiser='python(\"./mine.py:build\")')"
        ) from None
    space = domain.space
    return Sheet(
        format_value(write(architecture)),
        network.named,
        space.shape,
        space.sigma_data,
        space.sigma_min,
        space.sigma_max,
        domain.num_labels,
        encoder,
        sheet.parameters,
        source,
    )


def numbers_in(tensors: Mapping[str, Tensor]) -> int:
    """The numbers in all tensors."""
    return sum(tensor.numel() for tensor in tensors.values())


def fits(tensors: Mapping[str, Tensor], network: Network, domain: NoiseDomain) -> None:
    """Compare weights with an architecture, which is built without memory for its own.

    Raises:
        ValueError: names or shapes differ.
    """
    with torch.device("meta"):
        own = network.build(domain).state_dict()
    prefix = known_prefix(tensors.keys(), own.keys())
    if prefix is None:
        differing = sorted(own.keys() ^ tensors.keys())
        raise ValueError(f"its arguments do not fit its weights: {differing[0]!r} is in one of them alone")
    for name, tensor in tensors.items():
        expected = tuple(own[name.removeprefix(prefix)].shape)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"its arguments do not fit its weights: {name!r} has shape {tuple(tensor.shape)}, and {expected} by "
                "the arguments"
            )


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
