"""Files of tensors: whole or not at all, and every damage said in one line, with nothing executed."""

import errno
import itertools
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from guideplug.errors import CheckpointError, WriteError
from guideplug.files.atomic import whole_file
from guideplug.files.tensors import CODES, fill_module, read_tensors, write_tensors

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1, 2])}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert caught.value.__cause__ is None
    return message


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {"note": "hello"})
    tensors, metadata = read_tensors(path)
    assert metadata == {"note": "hello"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    write_tensors(path, {"other": torch.zeros(0)})
    assert read_tensors(path)[1] == {}
    assert list(read_tensors(path)[0]) == ["other"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_views_gradients_and_tied_weights(tmp_path: Path) -> None:
    whole = torch.arange(12.0, requires_grad=True)
    tied = {"turned": whole.reshape(3, 4).T, "part": whole[2:5], "all": whole, "again": whole}
    write_tensors(tmp_path / "a", tied)
    tensors, _ = read_tensors(tmp_path / "a")
    for name, tensor in tied.items():
        assert torch.equal(tensors[name], tensor)
        assert not tensors[name].requires_grad


@pytest.mark.parametrize("error", [RuntimeError("full"), KeyboardInterrupt(), SystemExit(1)])
def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"

    def fail() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            assert not path.exists()
            raise error

    with pytest.raises(type(error)):
        fail()
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"before")
    with pytest.raises(type(error)):
        fail_over(path, error)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def fail_over(path: Path, error: BaseException) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("where", ["open", "fsync", "replace"])
def test_a_disk_that_fails_is_said_in_one_line_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "file"
    write_tensors(path, TENSORS)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*{"open": (os, "open"), "fsync": (os, "fsync"), "replace": (Path, "replace")}[where], fail)
    with pytest.raises(WriteError) as caught:
        write_tensors(path, {"other": torch.zeros(3)})
    assert str(caught.value) == f"{path} cannot be written (No space left on device); what was written before is whole"
    monkeypatch.undo()
    assert read_tensors(path)[0].keys() == TENSORS.keys()
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_bytes_reach_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note(name: str, function: Any) -> Any:
        return lambda *given: (order.append(name), function(*given))[1]

    monkeypatch.setattr(os, "fsync", note("fsync", fsync))
    monkeypatch.setattr(Path, "replace", note("replace", replace))
    write_tensors(tmp_path / "file", TENSORS)
    assert order == ["fsync", "replace", "fsync"]


def test_missing_and_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f"checkpoint {tmp_path / 'none'} does not exist: give a .safetensors file"
    assert refusal(tmp_path) == f"checkpoint {tmp_path} cannot be read (it is a folder): give a .safetensors file"


@given(st.integers(0, 10**6))
def test_every_truncation_is_found(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.safetensors"
    write_tensors(path, TENSORS, {"note": "hello"})
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % len(whole)])
    assert "is not a whole safetensors file" in refusal(path)


def test_nothing_in_a_pickle_is_executed(tmp_path: Path) -> None:
    proof = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(proof),))

    for name in ("evil.pt", "evil.safetensors"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(Evil()))
        assert "is not a whole safetensors file" in refusal(path)
        torch.save({"weight": TENSORS["weight"], "evil": Evil()}, path)
        assert "checkpoints of torch and snapshots of EDM are read too" in refusal(path)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Evil()))  # it would have
    assert proof.exists()


def fill(tensors: dict[str, torch.Tensor]) -> nn.Linear:
    module = nn.Linear(3, 2)
    fill_module(module, tensors, "x.safetensors")
    return module


def good() -> dict[str, torch.Tensor]:
    return {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


def test_a_module_is_filled() -> None:
    assert torch.equal(fill(good()).weight, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": None}, "checkpoint x.safetensors lacks 'weight': is it of Linear?"),
        ({"extra": torch.zeros(1)}, "checkpoint x.safetensors has 'extra' that the network lacks: is it of Linear?"),
        (
            {"weight": None, "bias": None, "a": torch.zeros(1), "b": torch.zeros(1), "c": torch.zeros(1)},
            "checkpoint x.safetensors lacks 'bias', 'weight' and has 'a', 'b' and 1 more that the network lacks",
        ),
        ({"weight": torch.ones(3, 2)}, "checkpoint x.safetensors: weight has shape (3, 2), the network's is (2, 3)"),
        ({"bias": torch.zeros(1)}, "checkpoint x.safetensors: bias has shape (1,), the network's is (2,)"),
        ({"bias": torch.tensor([1.0, torch.nan])}, "checkpoint x.safetensors: bias holds values that are not finite"),
        ({"bias": torch.tensor([1.0, -torch.inf])}, "checkpoint x.safetensors: bias holds values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    module = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    tensors = {name: tensor for name, tensor in {**good(), **change}.items() if tensor is not None}
    with pytest.raises(CheckpointError) as caught:
        fill_module(module, tensors, "x.safetensors")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


NAMES = st.lists(st.sampled_from(["a", "b", "model", "ema", "weight", "network"]), min_size=1, max_size=3).map(".".join)
PREFIX = st.lists(st.sampled_from(["module", "_orig_mod", "model", "ema"]), max_size=3).map(
    lambda parts: "".join(f"{part}." for part in parts)
)
OTHER = st.sampled_from(["network.", "x.", "module.net.", "net.module.", "odule."])


class Named(nn.Module):
    """Tensors of any names, all of one shape."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.names = sorted(names)
        self.tensors = nn.ParameterList(torch.zeros(2) for _ in self.names)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return dict(zip(self.names, (tensor.detach() for tensor in self.tensors), strict=True))

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        for name, tensor in zip(self.names, self.tensors, strict=True):
            tensor.data.copy_(state_dict[name])


def prefix_by_the_rule(names: set[str], own: set[str]) -> str | None:
    """The shortest combination of known prefixes, by trying all that fit in length."""
    longest = max(len(name.split(".")) for name in names)
    for count in range(longest):
        for parts in itertools.product(["module", "_orig_mod", "model", "ema"], repeat=count):
            prefix = "".join(f"{part}." for part in parts)
            if {prefix + name for name in own} == names:
                return prefix
    return None


@given(
    own=st.sets(NAMES, min_size=1, max_size=5),
    prefix=st.one_of(PREFIX, OTHER),
    change=st.sampled_from(["", "fewer", "more", "renamed", "suffixes", "inside", "one without"]),
    data=st.data(),
)
def test_names_match_whole_or_after_known_prefixes_and_nothing_else(
    own: set[str], prefix: str, change: str, data: st.DataObject
) -> None:
    names = {prefix + name for name in own}
    some = data.draw(st.sampled_from(sorted(names)))
    if change == "fewer" and len(names) > 1:
        names -= {some}
    elif change == "more":
        names |= {data.draw(NAMES)}
    elif change == "renamed":
        names = names - {some} | {f"{some}_"}
    elif change == "suffixes":
        names = {name.rpartition(".")[2] for name in names}
    elif change == "inside":
        own = {f"network.{name}" for name in own}
    elif change == "one without":
        names = names - {some} | {some.removeprefix(prefix)}
    tensors = {name: torch.full((2,), float(number)) for number, name in enumerate(sorted(names))}
    module, expected = Named(own), prefix_by_the_rule(names, own)
    if expected is None:
        with pytest.raises(CheckpointError) as caught:
            fill_module(module, tensors, "x.safetensors")
        assert "\n" not in str(caught.value)
        assert all(torch.equal(tensor, torch.zeros(2)) for tensor in module.state_dict().values())
        if change == "inside" and not prefix:
            assert "lacks the prefix 'network.'" in str(caught.value)
    else:
        assert fill_module(module, tensors, "x.safetensors") == expected
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, tensors[expected + name])


def test_the_bytes_are_those_of_the_library(tmp_path: Path) -> None:
    tensors = {
        f'{number:02d} \u00e9\n"': (torch.arange(6) % 2).to(dtype).reshape(2, 3).t()
        for number, dtype in enumerate([*CODES, torch.float32])
    }
    tensors |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 3), "tied": tensors['16 \u00e9\n"']}
    plain = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    for metadata in ({}, {"a": "2"}):  # of several, the library writes any first
        write_tensors(tmp_path / "ours.safetensors", tensors, metadata)
        assert (tmp_path / "ours.safetensors").read_bytes() == safetensors.torch.save(plain, metadata)
