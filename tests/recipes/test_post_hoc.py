"""Post-hoc EMA of another program's snapshots: the released code's coefficients, one file at a time, and refusals."""

import gc
import json
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from snapshots import write_snapshot
from torch import nn

from guideplug import Duration, GuideplugError, Network, NoiseDomain, PostHoc, Registry, Space
from guideplug.config import Reader
from guideplug.files.checkpoints import reading
from guideplug.observe import Observers
from guideplug.recipes import post_hoc
from guideplug.run.builder import StoreBuilder
from guideplug.store import Store, identity
from guideplug.testing.toys import Line, LineDenoiser
from guideplug.train.ema import post_hoc_weights, profile_error

SPACE = Space((2,), sigma_data=0.5)
MOMENTS, LENGTHS = tuple(range(1, 9)), (0.05, 0.1)
REFERENCE = Path(__file__).with_name("post-hoc-ema.json")


def name_of(moment: int, length: float, prefix: str = "network-snapshot") -> str:
    return f"{prefix}-{moment:07d}-{length:.3f}.pkl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, (moment, length) in enumerate((moment, length) for moment in MOMENTS for length in LENGTHS):
        write_snapshot(tmp_path / name_of(moment, length), LineDenoiser(SPACE, seed=number))
    return tmp_path


def recipe(place: Path, **options: Any) -> PostHoc:
    return PostHoc(**{"folder": str(place), "ema": 0.07, "task": NoiseDomain(SPACE), "denoiser": Line()} | options)


def built(recipe: PostHoc, store: Path) -> nn.Module:
    builder = StoreBuilder(Store(store), torch.device("cpu"), Observers([]))
    return builder.build(recipe).module


# Coefficients


@pytest.mark.parametrize("case", json.loads(REFERENCE.read_text()), ids=lambda case: f"{case['out_std']}")
def test_coefficients_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    stored = list(zip(case["stored_nimg"], case["stored_std"], strict=True))
    ours = post_hoc_weights(stored, case["out_nimg"], case["out_std"], "after")
    np.testing.assert_allclose(ours, case["coefficients"], rtol=0, atol=1e-12)
    assert sum(ours) == pytest.approx(1)
    within = post_hoc_weights(stored, case["out_nimg"], case["out_std"])
    errors = [profile_error(stored, one, case["out_nimg"], case["out_std"]) for one in (within, ours)]
    assert errors[0] <= errors[1] + 1e-7


@pytest.mark.parametrize("normalise", ["within", "after"])
def test_the_weights_are_the_combination_of_the_files(normalise: Any, folder: Path) -> None:
    module = built(recipe(folder, normalise=normalise), folder / "store")
    stored = [(1000 * moment, length) for moment in MOMENTS for length in LENGTHS]
    coefficients = post_hoc_weights(stored, 8000, 0.07, normalise)
    states = [LineDenoiser(SPACE, seed=number).state_dict() for number in range(len(stored))]
    for name, tensor in module.state_dict().items():
        expected = sum(c * state[name].half().double() for c, state in zip(coefficients, states, strict=True))
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor.double(), expected, rtol=0, atol=1e-6)


def test_both_normalisations_differ(folder: Path) -> None:
    within, after = (built(recipe(folder, normalise=one), folder / "store").state_dict() for one in ("within", "after"))
    assert not torch.equal(within["layer.weight"], after["layer.weight"])


def test_a_length_of_a_file_is_that_file(folder: Path) -> None:
    module = built(recipe(folder, ema=0.1, at=Duration(5000, "ex")), folder / "store")
    number = MOMENTS.index(5) * len(LENGTHS) + 1
    assert torch.equal(
        module.state_dict()["layer.weight"], LineDenoiser(SPACE, seed=number).layer.weight.half().float()
    )


@pytest.mark.slow
def test_one_snapshot_is_in_memory_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    read, most = reading.read_checkpoint, 0

    def counted(path: Path) -> Any:
        nonlocal most
        gc.collect()
        most = max(most, sum(one() is not None for one in alive))
        checkpoint = read(path)
        alive.append(weakref.ref(checkpoint.networks["ema"]["layer.weight"]))
        return checkpoint

    monkeypatch.setattr(post_hoc, "read_checkpoint", counted)
    built(recipe(folder), folder / "store")
    assert len(alive) >= len(MOMENTS) * len(LENGTHS)
    assert most == 0


# Identity


def test_identity_is_that_of_the_files_and_options(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = identity(recipe(folder))
    moved = tmp_path_factory.mktemp("moved")
    for file in folder.glob("*.pkl"):
        (moved / file.name.replace("network-snapshot", "phema")).write_bytes(file.read_bytes())
    assert identity(recipe(moved, prefix="phema")) == first
    assert identity(recipe(folder, tolerance=0.5)) == first
    assert identity(recipe(folder, normalise="after")) != first
    assert identity(recipe(folder, at=Duration(6000, "ex"))) != first
    write_snapshot(folder / name_of(3, 0.05), LineDenoiser(SPACE, seed=99))
    assert identity(recipe(folder)) != first


# Refusals


def without(name: str) -> Callable[[Path], dict[str, Any]]:
    def change(folder: Path) -> dict[str, Any]:
        (folder / name).unlink()
        return {}

    return change


def another_network(folder: Path) -> dict[str, Any]:
    write_snapshot(folder / name_of(2, 0.1), LineDenoiser(Space((3,)), seed=0))
    return {}


def other_arguments(folder: Path) -> dict[str, Any]:
    write_snapshot(folder / name_of(2, 0.1), LineDenoiser(SPACE, seed=0), channels=3)
    return {}


def half_a_file(folder: Path) -> dict[str, Any]:
    file = folder / name_of(2, 0.1)
    file.write_bytes(file.read_bytes()[:200])
    return {}


def one_length(folder: Path) -> dict[str, Any]:
    for file in folder.glob("*-0.100.pkl"):
        file.unlink()
    return {}


REFUSED: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "no folder": (lambda folder: {"folder": str(folder / "none")}, "/none holds no snapshots"),
    "another prefix": (lambda folder: {"prefix": "phema"}, "it has network-snapshot: choose with prefix"),
    "a missing length": (without(name_of(3, 0.1)), "has no snapshot network-snapshot-0000003-0.100.pkl"),
    "one length alone": (one_length, "error of"),
    "a moment before the first": (lambda folder: {"at": Duration(500, "ex")}, "from 1,000 to 8,000 examples"),
    "a moment after the last": (lambda folder: {"at": Duration(9000, "ex")}, "from 1,000 to 8,000 examples"),
    "a length far from the files'": (lambda folder: {"ema": 0.005}, "error of"),
    "mixed shapes": (another_network, "of another network than network-snapshot-0000008-0.100.pkl"),
    "mixed arguments": (other_arguments, "of another network than network-snapshot-0000008-0.100.pkl"),
    "half a file": (half_a_file, "cannot be read as a snapshot"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_combined_is_refused_in_one_line(
    change: Callable[[Path], dict[str, Any]], message: str, folder: Path
) -> None:
    options = change(folder)
    with pytest.raises(GuideplugError, match=message) as refusal:
        built(recipe(folder, **options), folder / "store")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("change", [without(name_of(3, 0.1)), one_length])
def test_names_are_checked_before_any_work(change: Callable[[Path], dict[str, Any]], folder: Path) -> None:
    with pytest.raises(GuideplugError):
        recipe(folder, **change(folder)).check()


def test_the_last_file_is_compared_with_the_architecture_before_any_work(folder: Path) -> None:
    with pytest.raises(GuideplugError, match=r"layer\.weight has shape"):
        recipe(folder, task=NoiseDomain(Space((3,)))).check()


def test_an_error_may_be_accepted(folder: Path) -> None:
    assert isinstance(built(recipe(folder, ema=0.005, tolerance=10.0), folder / "store"), LineDenoiser)


@pytest.mark.parametrize("options", [{"ema": 0.4}, {"at": Duration(3, "it")}])
def test_invalid_options_are_refused_at_once(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"EMA|at is"):
        recipe(tmp_path, **options)


# In a run


def architectures() -> Sequence[type[Network]]:
    return Registry.installed().classes(Network)


def small(reader: Reader) -> Iterator[nn.Module]:
    network: Network = reader.expression(
        "edm2(channels=16, channel_mult=[1, 2], blocks=1, attention=[], channels_per_head=16, logvar_channels=8)",
        Network,
        "the test",
    )
    domain = NoiseDomain(Space((3, 8, 8), 0.5, 0.002, 80.0), 4)
    while True:
        yield network.build(domain)


def test_the_architecture_is_that_of_the_snapshots(tmp_path: Path) -> None:
    """Of EDM2's, with the constructor's arguments in their names, for a recipe that names none."""
    reader = Reader(Registry.installed())
    arguments = {
        "img_resolution": 8, "img_channels": 3, "label_dim": 4, "sigma_data": 0.5, "logvar_channels": 8,
        "model_channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [],
        "channels_per_head": 16,
    }  # fmt: skip
    networks = small(reader)
    for moment in MOMENTS:
        for length in LENGTHS:
            write_snapshot(tmp_path / name_of(moment, length), next(networks), "Precond", **arguments)
    from guideplug.run.architecture import architecture_of_file

    open_recipe = recipe(tmp_path, denoiser=None, task=NoiseDomain(Space((3, 8, 8), 1.0, 0.01, 20.0), 4))
    with pytest.raises(GuideplugError, match="has no architecture"):
        open_recipe.build()
    closed = open_recipe.with_architecture(lambda path, key=None: architecture_of_file(path, reader, key))
    module = built(closed, tmp_path / "store")
    assert module.space.sigma_data == 0.5  # type: ignore[union-attr]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in module.state_dict().values())
