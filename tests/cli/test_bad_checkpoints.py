"""Checkpoints that cannot be what ``--model`` asks for: one line each, and what it advises works."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from snapshots import encoder, persistent, write_pickle, write_snapshot

from guideplug import Network, NoiseDomain, Registry, Space
from guideplug.config import Reader
from guideplug.files.checkpoints.sheet import Sheet, beside, write_sheet
from guideplug.files.tensors import write_tensors
from guideplug.task import seeded_build

SMALL = "edm2(channels=8, channel_mult=[1, 2], blocks=1, attention=[4], channels_per_head=8, logvar_channels=8)"
ARGUMENTS = {
    "img_resolution": 8, "img_channels": 1, "label_dim": 10, "sigma_data": 0.5, "model_channels": 8,
    "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "channels_per_head": 8, "logvar_channels": 8,
}  # fmt: skip
IMAGES = NoiseDomain(Space((1, 8, 8)), 10)


def network(domain: NoiseDomain = IMAGES) -> Any:
    read: Any = Reader(Registry.installed()).expression
    return seeded_build(cast(Network, read(SMALL, Network)), domain, 0)


NET = network()
WEIGHTS = NET.state_dict()
NUMBERS = sum(tensor.numel() for tensor in WEIGHTS.values())


def sheet(**changes: Any) -> Sheet:
    values: dict[str, Any] = {
        "denoiser": SMALL, "class_name": None, "shape": (1, 8, 8), "sigma_data": 0.5, "sigma_min": 0.002,
        "sigma_max": 80.0, "num_labels": 10, "encoder": None, "parameters": NUMBERS, "source": {},
    }  # fmt: skip
    return Sheet(**{**values, **changes})


def described(path: Path, **changes: Any) -> None:
    """Weights with a sheet beside them."""
    write_tensors(path, WEIGHTS)
    write_sheet(beside(path), sheet(**changes))


def half(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def two(path: Path) -> None:
    torch.save({"net": WEIGHTS, "ema": WEIGHTS}, path)


def two_snapshots(path: Path) -> None:
    write_pickle(path, {key: persistent(NET, "Precond", ARGUMENTS) for key in ("net", "ema")})


def latents(path: Path) -> None:
    coded = encoder(vae_name="a/vae", scale=[0.5], bias=[0.0])
    write_pickle(path, {"ema": persistent(NET, "Precond", ARGUMENTS), "encoder": coded})


def vae(path: Path, channels: int) -> str:
    """A folder with the configuration of an autoencoder."""
    folder = path.with_name("vae")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", "latent_channels": channels}))
    return str(folder)


Case = tuple[str, Callable[[Path], object], str, str]
CASES: dict[str, Case] = {
    "an architecture that we do not have": (
        "net.pkl", lambda path: write_snapshot(path, NET, "VPPrecond", **ARGUMENTS), "",
        "is of VPPrecond of UNet, which no installed plugin builds: write it as a network of its own",
    ),
    "a sheet of a class without an architecture": (
        "net.safetensors", lambda path: described(path, denoiser=None, class_name="VPPrecond"), "",
        "is of VPPrecond, which no installed plugin builds",
    ),
    "arguments of a snapshot that do not fit its weights": (
        "net.pkl", lambda path: write_snapshot(path, NET, "Precond", **ARGUMENTS | {"model_channels": 16}), "",
        "its arguments do not fit its weights: ",
    ),
    "arguments of a snapshot that no network has": (
        "net.pkl", lambda path: write_snapshot(path, NET, "Precond", **ARGUMENTS | {"model_channels": -1}), "",
        "channels is -1",
    ),
    "arguments of a snapshot of another type": (
        "net.pkl", lambda path: write_snapshot(path, NET, "Precond", **ARGUMENTS | {"num_blocks": "many"}), "",
        "blocks",
    ),
    "an argument that is not known": (
        "net.pkl", lambda path: write_snapshot(path, NET, "Precond", **ARGUMENTS, heads=3), "",
        "has an argument 'heads', which is not known here",
    ),
    "arguments of a snapshot of a size that nothing has": (
        "net.pkl", lambda path: write_snapshot(path, NET, "Precond", **ARGUMENTS | {"model_channels": 8 * 10**11}), "",
        "its arguments give no network (",
    ),
    "arguments of a sheet that do not fit the weights": (
        "net.safetensors", lambda path: described(path, denoiser=SMALL.replace("channels=8,", "channels=16,")), "",
        "give the denoiser's options it was trained with",
    ),
    "half a file of torch": ("net.pt", lambda path: half(path, two), "", "is damaged, or no file of torch"),
    "half a file of safetensors": (
        "net.safetensors", lambda path: half(path, lambda whole: write_tensors(whole, WEIGHTS)), "",
        "is not a whole safetensors file",
    ),
    "half a snapshot": ("net.pkl", lambda path: half(path, two_snapshots), "", "as a snapshot: it is cut short"),
    "two keys": (
        "net.pt", two, f"--denoiser={SMALL}", "holds 2 networks: choose one by its key, net (",
    ),
    "two snapshots in one file": ("net.pkl", two_snapshots, "", "holds 2 networks: choose one by its key, net ("),
    "a sheet of another file": (
        "net.safetensors", lambda path: described(path, parameters=3), "",
        f"is of 3 parameters, and net.safetensors holds {NUMBERS:,}: it is of another file",
    ),
    "a sheet of other samples": (
        "net.safetensors", lambda path: described(path, shape=(3, 8, 8)), "",
        "is of samples (3, 8, 8) of 10 classes by its sheet, and the samples here are samples (1, 8, 8) of 10 classes",
    ),
    "a sheet of other classes": (
        "net.safetensors", lambda path: described(path, num_labels=7), "", "of 7 classes by its sheet",
    ),
    "a sheet whose levels are none": (
        "net.safetensors", lambda path: described(path, sigma_min=100.0), "", "sigma_min 100 must be below",
    ),
    "a sheet with an architecture that is none": (
        "net.safetensors", lambda path: described(path, denoiser="edm3(channels=8)"), "", "edm3",
    ),
    "a sheet with an option that is none": (
        "net.safetensors", lambda path: described(path, denoiser="edm2(chanels=8)"), "", "did you mean 'channels'?",
    ),
    "a sheet that is cut": (
        "net.safetensors",
        lambda path: (described(path), beside(path).write_text(beside(path).read_text()[:100])), "", "net.json",
    ),
    "no autoencoder in the folder": ("net.pkl", latents, 'vae="nowhere"', "the autoencoder nowhere cannot be read"),
    "an autoencoder of other latents": (
        "net.pkl", lambda path: (latents(path), vae(path, 4)), "vae=vae",
        "the autoencoder vae has latents of 4 channels, and the network's are of 1",
    ),
    "an autoencoder without a scale": (
        "net.safetensors", lambda path: (described(path), vae(path, 1)), "vae=vae",
        "nothing says the scale and bias of the latents",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_before_any_work(name: str, cli: Any) -> None:
    pytest.importorskip("diffusers")
    file, write, extra, expected = CASES[name]
    path = cli.cwd / file
    write(path)
    model = f"main={file}" if "vae" not in extra else f"main=load({file}, {extra})"
    more = [extra] if extra.startswith("--") else []
    result = cli("sample", "--task", "digits", "--model", model, *more, "--device", "cpu", "--out", "run", code=None)
    assert result.exit_code in (1, 2), result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert expected in result.stderr
    assert file in result.stderr or path.with_suffix(".json").name in result.stderr or "vae" in extra
    assert not (cli.cwd / "run").exists()


@pytest.mark.parametrize("name", [name for name in CASES if "snapshot" in name or "half" in name or "two" in name])
def test_an_import_of_it_is_one_line_and_writes_nothing(name: str, cli: Any) -> None:
    file, write, _, expected = CASES[name]
    write(cli.cwd / file)
    message = cli.error("import", file, "out.safetensors", code=1)
    assert expected in message
    assert not list(cli.cwd.glob("out.*"))


QUICK = ("--device", "cpu", "--set", "threads=1", "--set", "sampler.num_steps=2", "--samples", "2", "--guider", "none")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "file", "model", "more"),
    [
        (two, "net.pt", "main=load(net.pt, key=ema)", ["--denoiser", SMALL]),
        (two_snapshots, "net.pkl", "main=load(net.pkl, key=ema)", []),
        (
            lambda path: write_snapshot(path, NET, "VPPrecond", **ARGUMENTS), "net.pkl",
            f"main=load(net.pkl, denoiser={SMALL})", [],
        ),
    ],
    ids=["key", "key of a snapshot", "architecture"],
)  # fmt: skip
def test_what_is_advised_works(write: Callable[[Path], None], file: str, model: str, more: list[str], cli: Any) -> None:
    write(cli.cwd / file)
    cli("sample", "--task", "digits", "--model", model, *more, *QUICK, "--out", "run")
    assert json.loads((cli.cwd / "run" / "run.json").read_text())["status"] == "finished"
