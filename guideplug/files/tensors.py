"""Files of tensors that cannot execute code: safetensors, written atomically, validated on reading.

Errors of a checkpoint are one line: the file, the actual and the expected content.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from guideplug.errors import CheckpointError
from guideplug.files.atomic import check_unchanged, whole_file
from guideplug.files.reading import open_file

__all__ = ["fill_module", "read_tensors", "tensors_digest", "write_tensors"]

MOST_HEADER = 16 * 1024**2
MOST_TENSORS = 50_000
PREFIXES = "module.", "_orig_mod.", "model.", "ema."
"""Prefixes of names from parallel, compiled, averaged and other wrappers of a network."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically; tied weights are written under each of their names."""
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    with whole_file(path) as file:
        file.write(save(plain, dict(metadata or {})))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """The SHA-256 of tensors with their names, and of a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + b"\0")
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, on the CPU, and its metadata.

    Raises:
        CheckpointError: no such file, truncated, or of another format (such as a pickle, which is never opened).
        DamagedFile: its checksum differs from the recorded one.
    """
    try:
        there = path.is_file()
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({error.strerror}): give a .safetensors file"
        ) from None
    if not there:
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise CheckpointError(f"checkpoint {path} {what}: give a .safetensors file")
    check_unchanged(path)
    try:
        _check_head(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"checkpoint {path} is not a whole safetensors file ({_first_line(error)}): copy it again; checkpoints of "
            "torch and snapshots of EDM are read too, by their content"
        ) from None


def _check_head(path: Path) -> None:
    """Refuse a missing or too large header; safetensors itself checks its content."""
    with open_file(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            raise ValueError("its header is not there" if len(start) == 8 else "it is too short")
        if length > MOST_HEADER or file.read(length).count(b'"data_offsets"') > MOST_TENSORS:
            raise ValueError(f"its header is larger than {MOST_HEADER:,} bytes or {MOST_TENSORS:,} tensors")


def fill_module(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> str:
    """Load weights into a module; names match exactly, or all of them after one known prefix, which is returned.

    Known prefixes are `PREFIXES`, of wrappers that do not change what a network computes, and combinations of them.

    Raises:
        CheckpointError: names or shapes differ, or a weight is not finite.
    """
    own = module.state_dict()
    prefix, under = fitting(tensors.keys(), module)
    if prefix is None:
        raise CheckpointError(f"checkpoint {origin} {_misfit(tensors.keys(), own.keys(), type(module).__name__)}")
    tensors = {under + name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"checkpoint {origin}: {name} has shape {tuple(tensor.shape)}, the network's is "
                f"{tuple(own[name].shape)}: give the denoiser's options it was trained with"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"checkpoint {origin}: {name} holds values that are not finite: train it again")
    module.load_state_dict(tensors)
    return prefix


def fitting(names: Collection[str], module: nn.Module) -> tuple[str | None, str]:
    """How names of weights become those of a module: the prefix to drop, None if they do not fit, and the one to add.

    Weights may be those of the network inside a module that says where it is, ``weights_under``: a wrapped one.
    """
    own = module.state_dict().keys()
    for under in dict.fromkeys(("", getattr(module, "weights_under", ""))):
        if all(name.startswith(under) for name in own):
            prefix = known_prefix(names, {name.removeprefix(under) for name in own})
            if prefix is not None:
                return prefix, under
    return None, ""


def known_prefix(names: Collection[str], own: Collection[str]) -> str | None:
    """The common prefix of all names before those of a module: "" or known prefixes; None if names differ."""
    return next((prefix for prefix in _known_prefixes(names) if _under("", names, prefix) == set(own)), None)


def _known_prefixes(names: Collection[str]) -> Iterator[str]:
    """The prefixes shared by all names that consist of known prefixes, shortest first."""
    prefix = ""
    yield prefix
    for part in next(iter(names), "").split(".")[:-1]:
        prefix += f"{part}."
        if f"{part}." not in PREFIXES or not all(name.startswith(prefix) for name in names):
            return
        yield prefix


def _under(added: str, names: Collection[str], dropped: str) -> set[str]:
    return {added + name.removeprefix(dropped) for name in names}


def _misfit(names: Collection[str], own: Collection[str], network: str) -> str:
    """The difference of a file's names from a module's, with advice."""
    for dropped in _known_prefixes(names):
        first = next(iter(names), "").removeprefix(dropped)
        for lacking in sorted({name.removesuffix(first) for name in own if name.endswith(f".{first}")}):
            if _under(lacking, names, dropped) == set(own):
                return (
                    f"lacks the prefix {lacking!r}, which all {len(own)} names of {network} have: it is of the network "
                    f"inside, which may have another preconditioning than {network}; load it where the network is "
                    "built, before it is wrapped as what it predicts"
                )
    missing, extra = sorted(set(own) - set(names)), sorted(set(names) - set(own))
    absent = f"lacks {_some(missing)}" if missing else ""
    surplus = f"has {_some(extra)} that the network lacks" if extra else ""
    return (
        f"{' and '.join(filter(None, [absent, surplus]))}: is it of {network}? name its denoiser, as in "
        "load(path=..., denoiser=...)"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(repr(name) for name in names[:2]) + more


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
