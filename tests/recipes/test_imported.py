"""Imported checkpoints and their sheets: what --model then knows, and contradictions."""

import json
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import torch
from torch import nn

import guideplug
from guideplug import Load, Network, NoiseDomain, Registry, Space, wrap
from guideplug.config import Reader, format_value, write
from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.sheet import Sheet, beside, read_sheet, write_sheet
from guideplug.recipes.imported import domain_of, import_checkpoint
from guideplug.run.resolve import Request, resolve
from guideplug.task import seeded_build

REGISTRY = Registry.installed()
NETWORK = cast(Network, Reader(REGISTRY).expression("mixture-mlp", cast(Any, Network)))
DOMAIN = NoiseDomain(Space((2,), 0.7, 0.01, 9.0), 3)


def sheet(**changes: Any) -> Sheet:
    values: dict[str, Any] = {
        "denoiser": format_value(write(NETWORK)), "class_name": None, "shape": (2,), "sigma_data": 0.7,
        "sigma_min": 0.01, "sigma_max": 9.0, "num_labels": 3, "encoder": None, "parameters": 1, "source": {},
    }  # fmt: skip
    return Sheet(**{**values, **changes})


def checkpoint(folder: Path) -> Path:
    path = folder / "net.pt"
    torch.save({"ema": seeded_build(NETWORK, DOMAIN, 3).state_dict(), "step": 4}, path)
    return path


def test_an_import_leaves_weights_and_a_sheet(tmp_path: Path) -> None:
    imported = import_checkpoint(checkpoint(tmp_path), tmp_path / "out.safetensors", None, [])
    assert imported.sheet.source["key"] == "ema"
    assert imported.sheet.source["file"] == "net.pt"
    assert read_sheet(tmp_path / "out.json") == imported.sheet
    recipe = Load(path=str(imported.path), task=DOMAIN, denoiser=NETWORK)
    module = recipe.build()
    recipe.make(module, cast(Any, None))
    ours = seeded_build(NETWORK, DOMAIN, 3).state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in module.state_dict().items())


def test_a_sheet_is_as_its_schema_says(tmp_path: Path) -> None:
    import_checkpoint(checkpoint(tmp_path), tmp_path / "out.safetensors", None, [])
    write_sheet(tmp_path / "whole.json", sheet(source=read_sheet(tmp_path / "out.json").source))  # type: ignore[union-attr]
    schema = json.loads((Path(guideplug.__file__).parent / "schemas" / "sheet.json").read_text())
    for name in ("out.json", "whole.json"):
        jsonschema.validate(json.loads((tmp_path / name).read_text()), schema)


def test_a_sheet_says_what_the_network_denoises(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    import_checkpoint(checkpoint(tmp_path), path, None, [])
    write_sheet(beside(path), sheet())
    assert domain_of(sheet(), NoiseDomain(Space((2,)), None)) == DOMAIN
    elsewhere = NoiseDomain(Space((2,), 0.5), None)
    assert Load(path=str(path), task=elsewhere, denoiser=NETWORK).build().space == DOMAIN.space
    for changed in ({"shape": (3,)}, {"num_labels": 5}):
        write_sheet(beside(path), sheet(**changed))
        with pytest.raises(CheckpointError, match="by its sheet, and the samples here are"):
            Load(path=str(path), task=DOMAIN, denoiser=NETWORK).build()


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [0]}, {"shape": "2"}, {"sigma_data": -1}, {"sigma_data": "a"}, {"num_labels": 0}, {"denoiser": 3},
        {"new": 1}, {"source": None}, {"sheet": 2}, {"sheet": None},
    ],
)  # fmt: skip
def test_sheets_that_are_none_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    write_sheet(path, sheet())
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CheckpointError, match=r"^sheet .*net\.json is (no sheet|of version)"):
        read_sheet(path)


def test_other_files_beside_are_no_sheets(tmp_path: Path) -> None:
    assert read_sheet(tmp_path / "none.json") is None
    (tmp_path / "run.json").write_text('{"denoiser": "x"}')
    assert read_sheet(tmp_path / "run.json") is None


def test_weights_of_the_network_inside_a_wrapped_one_need_no_prefix(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.layer(x)
            return out

    class Wrapped(Network):
        name = "wrapped-for-this-test"

        def build(self, domain: Any) -> Any:
            return wrap(Net(), (2,), predicts="denoised")

    net = Net()
    torch.save(net.state_dict(), tmp_path / "inside.pt")
    recipe = Load(path=str(tmp_path / "inside.pt"), task=DOMAIN, denoiser=Wrapped())
    module = recipe.build()
    assert recipe.make(module, cast(Any, None)) == {"path": recipe.path}
    assert torch.equal(cast(Any, module).network.layer.weight, net.layer.weight)


OWN = "edm2(channels=8, channel_mult=[1, 2], blocks=1, attention=[], channels_per_head=8, logvar_channels=8)"


def digits(text: str) -> Network:
    return cast(Network, Reader(REGISTRY).expression(text, cast(Any, Network)))


@pytest.mark.parametrize("guide", [OWN, "digits-transformer(width=32, blocks=2)"])
@pytest.mark.parametrize("written", ["{}", "load({})"])
def test_a_guide_is_of_the_main_architecture_or_of_the_weaker_one(guide: str, written: str, tmp_path: Path) -> None:
    """Whichever has the weights of its file, which does not say it."""
    domain = NoiseDomain(Space((1, 8, 8)), 10)
    for name, text in (("main.pt", OWN), ("weak.pt", guide)):
        torch.save(seeded_build(digits(text), domain, 0).state_dict(), tmp_path / name)
    models = {"main": str(tmp_path / "main.pt"), "weak": written.format(str(tmp_path / "weak.pt"))}
    values = {"task": "digits", "denoiser": OWN, "guider": "autoguidance", "device": "cpu"}
    config = resolve(Request(values, models=models), REGISTRY)
    assert cast(Load, config.models["weak"]).denoiser == digits(guide)
