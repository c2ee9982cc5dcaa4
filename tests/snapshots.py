"""Snapshots as EDM's released code writes them: a pickle of persistent modules, their source text left out."""

import io
import pickle
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from torch import nn

__all__ = ["encoder", "persistent", "write_pickle", "write_snapshot"]


class Persistent:
    """An object that is pickled as EDM's persistence does it."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        return _reconstruct_persistent_obj, (self.meta,)


def _reconstruct_persistent_obj(meta: dict[str, Any]) -> None: ...


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
PERSISTENCE: Any = types.ModuleType("torch_utils.persistence")
PERSISTENCE._reconstruct_persistent_obj = _reconstruct_persistent_obj


def persistent(module: nn.Module, class_name: str, arguments: Mapping[str, Any]) -> Persistent:
    """A module of a class, with the arguments of its constructor."""
    modules = {
        name: persistent(inner, "UNet" if name == "unet" else type(inner).__name__, {})
        for name, inner in module.named_children()
    }
    state = {
        "_parameters": {name: one.data.half() for name, one in module.named_parameters(recurse=False)},
        "_buffers": dict(module.named_buffers(recurse=False)),
        "_non_persistent_buffers_set": set(module._non_persistent_buffers_set),
        "_modules": modules,
        "_init_kwargs": dict(arguments),
        **arguments,
    }
    return _object(class_name, state)


def encoder(**attributes: Any) -> Persistent:
    """EDM2's encoder of latents, with its attributes."""
    return _object("StabilityVAEEncoder", attributes)


def _object(class_name: str, state: dict[str, Any]) -> Persistent:
    return Persistent({"type": "class", "version": 6, "module_src": "", "class_name": class_name, "state": state})


def write_pickle(path: Path, contents: Mapping[str, Any]) -> None:
    """A pickle of values and persistent objects by name."""
    content = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch_utils": PERSISTENCE, "torch_utils.persistence": PERSISTENCE}):
        pickle.Pickler(content, protocol=4).dump(dict(contents))
    path.write_bytes(content.getvalue())


def write_snapshot(path: Path, module: nn.Module, class_name: str = "Line", **arguments: Any) -> None:
    """A snapshot of one network, ``ema``."""
    write_pickle(path, {"ema": persistent(module, class_name, arguments)})
