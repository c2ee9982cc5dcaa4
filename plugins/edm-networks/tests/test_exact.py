"""The networks against the released ones: answers to the same inputs, with the weights of their snapshots.

Largest relative difference measured, float32, one thread:

    edm2   rgb-cond 3.6e-7, weak 7.0e-7, uncond 3.1e-7, latent-cond 4.8e-7, variant 3.8e-7; log-variance 2.0e-7
    edm    ddpmpp 8.2e-7, ncsnpp 7.7e-7
"""

import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from guideplug import Guider, Load, NoiseDomain, Registry, Sampler, Space, open_network
from guideplug.config import Reader
from guideplug.recipes.imported import import_checkpoint
from guideplug.run.architecture import architecture_of_file
from guideplug.task import Network
from guideplug_edm_networks import EDM, EDM2, EDM2Denoiser

sys.path.insert(0, str(Path(__file__).parent))
from references import reference

ARCHITECTURES: list[type[Network]] = [EDM, EDM2]
MOST = 1e-5
EDM2_FILES = ("rgb-cond", "rgb-cond-weak", "rgb-uncond", "latent-cond", "variant")


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float(torch.linalg.vector_norm(ours - theirs) / torch.linalg.vector_norm(theirs))


@pytest.mark.parametrize("name", [f"edm2-{name}" for name in EDM2_FILES] + ["edm1-ddpmpp", "edm1-ncsnpp"])
@torch.no_grad()
def test_answers_are_those_of_the_released_network(name: str) -> None:
    numbers = {key: torch.from_numpy(array) for key, array in np.load(reference(f"{name}.npz")).items() if array.ndim}
    network = open_network(reference(f"{name}.pkl"))
    x, sigma, label = numbers["x"], numbers["sigma"], numbers.get("label")
    assert difference(network(x, sigma, label), numbers["denoised"]) <= MOST
    if "denoised_unconditional" in numbers:
        assert difference(network.unconditional()(x, sigma, label), numbers["denoised_unconditional"]) <= MOST
        one_hot = torch.nn.functional.one_hot(cast(Tensor, label), network.num_labels).float()
        assert difference(network(x, sigma, one_hot), numbers["denoised"]) <= MOST
    if "logvar" in numbers:
        assert difference(cast(EDM2Denoiser, network).logvar(sigma), numbers["logvar"]) <= MOST


@pytest.mark.parametrize("name", ["edm2-rgb-cond-weak", "edm2-variant", "edm1-ncsnpp"])
@torch.no_grad()
def test_an_imported_network_is_the_same(name: str, tmp_path: Path) -> None:
    path = reference(f"{name}.pkl")
    imported = import_checkpoint(path, tmp_path / "net.safetensors", None, ARCHITECTURES)
    assert imported.sheet.denoiser is not None
    numbers = np.load(reference(f"{name}.npz"))
    x, sigma = torch.from_numpy(numbers["x"]), torch.from_numpy(numbers["sigma"])
    label = torch.from_numpy(numbers["label"])
    assert torch.equal(open_network(imported.path)(x, sigma, label), open_network(path)(x, sigma, label))


@pytest.mark.parametrize("name", ["adm", "vp", "ve", "iddpm"])
def test_other_networks_of_edm_are_imported_and_named(name: str, tmp_path: Path) -> None:
    sheet = import_checkpoint(reference(f"edm1-{name}.pkl"), tmp_path / "net.safetensors", None, ARCHITECTURES).sheet
    assert sheet.denoiser is None
    assert sheet.class_name is not None
    assert sheet.class_name.partition(" ")[0] in ("EDMPrecond", "VPPrecond", "VEPrecond", "iDDPMPrecond")


@torch.no_grad()
def test_a_guide_without_classes_drops_labels() -> None:
    """Under a main network with classes, as a file in a run of a task with classes and another deviation."""
    path = reference("edm2-rgb-uncond.pkl")
    images = NoiseDomain(Space((3, 16, 16), sigma_data=0.8), 10)
    reader = Reader(Registry.installed())
    recipe = Load(path=str(path), task=images, denoiser=architecture_of_file(str(path), reader))
    guide, main = recipe.build(), open_network(reference("edm2-rgb-cond-weak.pkl"))
    recipe.fill(guide)
    assert guide.num_labels is None
    assert guide.space.sigma_data == 0.5  # its own
    x, sigma, labels = (
        torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)),
        torch.ones(3),
        torch.arange(3),
    )
    cfg = reader.expression("cfg(weight=3)", Guider)  # type: ignore[type-abstract]
    guided = cfg.guide(main, {"unconditional": guide})(x, sigma, labels)
    expected = guide(x, sigma) + 3 * (main(x, sigma, labels) - guide(x, sigma))
    torch.testing.assert_close(guided, expected, rtol=1e-5, atol=1e-5)
    trajectory = cast(Sampler, reader.expression("heun(num_steps=2)", Sampler))  # type: ignore[type-abstract]
    assert bool(trajectory.sample(cfg.guide(main, {"unconditional": guide}), 80 * x, labels).isfinite().all())
