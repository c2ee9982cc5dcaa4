"""Checkpoints of other programs as networks of ours: which architecture they are of, and what they denoise.

What is known of a file comes from its sheet, or from the file itself if it is a snapshot that names its class.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug.config import format_value, write
from guideplug.denoise import NoiseDomain, Space
from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.pickled_network import PickledNetwork
from guideplug.files.checkpoints.reading import chosen, read_checkpoint
from guideplug.files.checkpoints.sheet import Sheet, beside, latents, write_sheet
from guideplug.files.reading import file_digest
from guideplug.files.tensors import known_prefix, write_tensors
from guideplug.task import Network

__all__ = ["Imported", "architecture_of", "domain_of", "import_checkpoint"]


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


def architecture_of(
    network: PickledNetwork | None, architectures: Iterable[type[Network]]
) -> tuple[Network, NoiseDomain] | None:
    """The architecture of a pickled network, and what it denoises; None if none of the architectures knows its class.

    Raises:
        ValueError: an architecture knows the class, and not its arguments.
    """
    known = (cls.of_pickled(network) for cls in architectures) if network is not None else ()
    return next((one for one in known if one is not None), None)


def domain_of(sheet: Sheet) -> NoiseDomain | None:
    """What a sheet's network denoises; None if the sheet does not say it."""
    levels = sheet.sigma_data, sheet.sigma_min, sheet.sigma_max
    if sheet.shape is None or None in levels:
        return None
    return NoiseDomain(Space(sheet.shape, *levels), sheet.num_labels)  # type: ignore[arg-type]


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
    network = checkpoint.pickled.get(name)
    try:
        known = architecture_of(network, architectures)
        if known is not None:
            fits(tensors, *known)
    except ValueError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from None
    source = {
        "file": path.name,
        "sha256": None if path.is_dir() else file_digest(path),
        "layout": checkpoint.layout,
        "key": name or None,
    }
    sheet = sheet_for(network, known, sum(tensor.numel() for tensor in tensors.values()), source)
    write_tensors(out, tensors)
    write_sheet(beside(out), sheet)
    return Imported(out, sheet, tuple(one for one in checkpoint.networks if one != name))


def sheet_for(
    network: PickledNetwork | None,
    known: tuple[Network, NoiseDomain] | None,
    parameters: int,
    source: Mapping[str, Any],
) -> Sheet:
    """The sheet of a checkpoint's network."""
    class_name = None if network is None else network.named
    encoder = None if network is None or network.encoder is None else latents(*network.encoder)
    if known is None:
        return Sheet(None, class_name, None, None, None, None, None, encoder, parameters, source)
    architecture, domain = known
    space = domain.space
    return Sheet(
        format_value(write(architecture)),
        class_name,
        space.shape,
        space.sigma_data,
        space.sigma_min,
        space.sigma_max,
        domain.num_labels,
        encoder,
        parameters,
        source,
    )


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
