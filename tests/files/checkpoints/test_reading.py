"""Checkpoints of every format, by their content; refusals that say what to do."""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.reading import chosen, is_pickle, read_checkpoint
from guideplug.files.tensors import write_tensors

NET = nn.Linear(2, 2)


def old(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


WRITERS: dict[str, Callable[[Path], None]] = {
    "safetensors": lambda path: write_tensors(path, NET.state_dict()),
    "torch": lambda path: torch.save(NET.state_dict(), path),
    "the old format of torch": lambda path: old(NET.state_dict(), path),
    "in half precision": lambda path: torch.save({k: v.half() for k, v in NET.state_dict().items()}, path),
    "Lightning": lambda path: torch.save(
        {"pytorch-lightning_version": "2.4", "state_dict": NET.state_dict(), "epoch": 3, "optimizer_states": []}, path
    ),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".ckpt"])
def test_formats_are_told_by_their_content(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    WRITERS[name](path)
    tensors = chosen(read_checkpoint(path), None, NET)
    assert tensors.keys() == NET.state_dict().keys()
    assert torch.allclose(tensors["weight"].float(), NET.weight, atol=1e-3)
    assert not is_pickle(path)


def test_devices_that_are_not_here_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old({"w": torch.zeros(2)}, path)
    path.write_bytes(path.read_bytes().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:7"))
    assert chosen(read_checkpoint(path), None)["w"].device.type == "cpu"


def test_folders_of_accelerate(tmp_path: Path) -> None:
    write_tensors(tmp_path / "model.safetensors", NET.state_dict())
    torch.save({"state": {}}, tmp_path / "optimizer.bin")
    assert torch.equal(chosen(read_checkpoint(tmp_path), None)["weight"], NET.weight)


def test_weights_in_parts_are_one_network(tmp_path: Path) -> None:
    parts = {"weight": "model-1.safetensors", "bias": "model-2.safetensors"}
    for name, part in parts.items():
        write_tensors(tmp_path / part, {name: NET.state_dict()[name]})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": parts}))
    assert chosen(read_checkpoint(tmp_path), None).keys() == {"weight", "bias"}
    index.write_text(json.dumps({"weight_map": {"weight": "../model-1.safetensors"}}))
    with pytest.raises(CheckpointError, match="names no parts"):
        read_checkpoint(tmp_path)


def test_what_would_run_code_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "net.ckpt"
    torch.save({"state_dict": NET.state_dict(), "hyper_parameters": argparse.Namespace(lr=1)}, path)
    with pytest.raises(CheckpointError, match=r"holds an object of argparse.Namespace.*torch.save\(network.state_dict"):
        read_checkpoint(path)
    torch.save(NET, path)
    with pytest.raises(CheckpointError, match=r"holds an object of torch.nn.modules.linear.Linear"):
        read_checkpoint(path)


def test_what_is_not_there_or_cut(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"is a folder without model\.safetensors"):
        read_checkpoint(tmp_path)
    path = tmp_path / "net.pt"
    torch.save(NET.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is damaged, or no file of torch"):
        read_checkpoint(path)
