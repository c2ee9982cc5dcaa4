"""Files of tensors that cannot execute code: safetensors, written atomically, validated on reading.

Errors of a checkpoint are one line: the file, the actual and the expected content.
"""

import hashlib
import io
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from guideplug.errors import CheckpointError
from guideplug.files.atomic import check_unchanged, whole_file
from guideplug.files.opening import open_file, path_of

__all__ = ["fill_module", "read_tensors", "tensors_digest", "write_tensors"]

MOST_HEADER = 16 * 1024**2
MOST_TENSORS = 50_000
CODES: Final = {
    torch.uint64: "U64", torch.int64: "I64", torch.float64: "F64", torch.complex64: "C64", torch.float32: "F32",
    torch.uint32: "U32", torch.int32: "I32", torch.bfloat16: "BF16", torch.float16: "F16", torch.uint16: "U16",
    torch.int16: "I16", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""The types of safetensors by name, in the order in which it writes them."""
DTYPES: Final = list(CODES)
PREFIXES = "module.", "_orig_mod.", "model.", "ema."
"""Prefixes of names from parallel, compiled, averaged and other wrappers of a network."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically; tied weights are written under each of their names.

    The bytes are those of ``safetensors.torch.save``, written tensor by tensor: no second copy of all is in memory.
    """
    names = sorted(tensors, key=lambda name: (DTYPES.index(tensors[name].dtype), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata or {})}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].numel() * tensors[name].element_size()
        dtype, shape = CODES[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(_bytes(tensors[name]))


def _bytes(tensor: Tensor) -> memoryview:
    """The numbers of a tensor, row by row."""
    numbers: memoryview = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return numbers


def tensors_digest(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """The SHA-256 of tensors with their names, and of a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + b"\0")
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def read_tensors(path: Path, within: Path | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, on the CPU, and its metadata.

    Args:
        path: the file.
        within: the folder that it belongs to; no link may lead out of it.

    Raises:
        CheckpointError: no such file, truncated, or of another format (such as a pickle, which is never opened).
        DamagedFile: its checksum differs from the recorded one.
    """
    try:
        source = open_file(path, within)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path} does not exist: give a .safetensors file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(f"checkpoint {path} cannot be read ({reason}): give a .safetensors file") from None
    try:
        with source:
            check_unchanged(path)
            _check_head(source)
            with safe_open(path_of(source), framework="pt", device="cpu") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"checkpoint {path} is not a whole safetensors file ({_first_line(error)}): copy it again; checkpoints of "
            "torch and snapshots of EDM are read too, by their content"
        ) from None


def _check_head(file: io.BufferedReader) -> None:
    """Refuse a missing or too large header; safetensors itself checks its content."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= size - 8:
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
