"""What sampling needs apart from a task: every network is a domain by itself, and can be built and sampled as one."""

import itertools
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from attrs import evolve
from tiers import spread
from torch import nn

from guideplug import Leaf, Load, Network, NoiseDomain, Registry, SampleStreams, Space, Task, wrap
from guideplug.config import Reader
from guideplug.denoise import Domain
from guideplug.errors import RecipeError
from guideplug.files.tensors import write_tensors
from guideplug.recipes.python_ref import ImportedDenoiser
from guideplug.sample import Sampler
from guideplug.store import identity
from guideplug.task import seeded_build

REGISTRY = Registry.installed()
NETWORKS = sorted(cls.name for cls in REGISTRY.classes(cast(Any, Network)) if cls.name not in ("python", "points-mlp"))
"""Those that need no file."""
IMAGES = ("digits-convolutional", "digits-transformer", "edm", "edm2", "images-unet")


def network(name: str) -> Network:
    """The architecture with default options, small where its class has an example."""
    cls = cast(type[Network], REGISTRY.find(Network.kind, name))
    return cls(**cls.example(Path()))


def sampled(denoiser: Leaf, count: int = 3) -> torch.Tensor:
    """As somebody samples who has the network and nothing else."""
    domain: Domain = denoiser
    sampler = Reader(REGISTRY).expression(domain.sampler(), cast(Any, Sampler))
    streams = SampleStreams(0, range(count))
    start = domain.start(streams, sampler.sigmas(denoiser)[0])
    return cast(torch.Tensor, sampler.sample(denoiser.eval(), start.x, start.condition, streams))


@pytest.mark.parametrize(("name", "labels"), spread(itertools.product(NETWORKS, [None, 2, 10]), fast=4, slow=1))
def test_every_network_is_built_for_a_domain_and_sampled_without_a_task(name: str, labels: int | None) -> None:
    domain = NoiseDomain(Space((1, 8, 8) if name in IMAGES else (2,)), labels)
    try:
        denoiser = seeded_build(network(name), domain, 0)
    except ValueError as error:
        assert "labels" in str(error)
        return
    assert (denoiser.num_labels or None) == labels
    samples = sampled(denoiser)
    assert samples.shape == (3, *domain.space.shape)
    assert samples.isfinite().all()
    again = seeded_build(network(name), denoiser, 0)  # a network is a domain: another is built for what it is for
    assert torch.equal(sampled(again), samples)


def test_networks_that_are_for_other_samples_say_which() -> None:
    refused = 0
    for name in [*NETWORKS, "points-mlp"]:
        try:
            network(name).build(NoiseDomain(Space((3, 5, 7)), 4))
        except ValueError as error:
            assert name in str(error)
            refused += 1
    assert refused >= 4


def test_a_wrapped_network_starts_from_noise_under_labels_of_its_own() -> None:
    def net(x: torch.Tensor, time: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return x * 0 + (0.0 if label is None else label[:, None].float())

    denoiser = wrap(net, (2,), predicts="denoised", labels=4)
    many = denoiser.start(SampleStreams(3, range(4000)), 2.0)
    assert many.condition is not None
    assert torch.bincount(cast(torch.Tensor, many.condition)).tolist() == pytest.approx([1000] * 4, abs=100)
    assert float(many.x.std()) == pytest.approx(2.0, abs=0.05)
    part = denoiser.start(SampleStreams(3, range(7, 9)), 2.0)
    assert torch.equal(part.x, many.x[7:9])
    assert torch.equal(cast(torch.Tensor, part.condition), cast(torch.Tensor, many.condition)[7:9])
    assert sampled(denoiser, 5).tolist() == [[float(label)] * 2 for label in denoiser.start(
        SampleStreams(0, range(5)), 1.0).condition]  # fmt: skip
    assert wrap(net, (2,), predicts="denoised").start(SampleStreams(0, range(2)), 1.0).condition is None


def test_a_loaded_network_needs_no_task(tmp_path: Path) -> None:
    domain = NoiseDomain(Space((2,)), 3)
    first = seeded_build(network("mixture-mlp"), domain, 5)
    write_tensors(tmp_path / "net.safetensors", first.state_dict())
    recipe = Load(path=str(tmp_path / "net.safetensors"), task=domain, denoiser=network("mixture-mlp"))
    recipe.check()
    module = recipe.build()
    recipe.make(module, cast(Any, None))
    assert torch.equal(sampled(module), sampled(first))
    assert identity(recipe) == identity(recipe)
    assert identity(recipe) != identity(evolve(recipe, task=NoiseDomain(Space((2,), 1.0), 3)))


OWN = """
import torch
from guideplug import wrap

class Net(torch.nn.Module):
    def forward(self, x, t, label=None):
        return 0 * x

def build(domain):
    return wrap(Net(), domain.space.shape, predicts="denoised", labels=domain.num_labels)

def wrong(domain):
    return wrap(Net(), (3,), predicts="denoised")
"""


def test_a_network_of_the_users_own_code_needs_no_task(tmp_path: Path) -> None:
    file, domain = tmp_path / "own.py", NoiseDomain(Space((2,)), 3)
    file.write_text(OWN)
    assert sampled(ImportedDenoiser(builder=f"{file}:build", task=domain).build()).abs().max() == 0
    with pytest.raises(RecipeError, match=r"of shape \(3,\), and the domain has samples of shape \(2,\)"):
        ImportedDenoiser(builder=f"{file}:wrong", task=domain).build()


def test_what_a_task_says_of_its_labels_is_what_its_starts_have() -> None:
    for cls in REGISTRY.classes(cast(Any, Task)):
        if cls.name in ("images", "points"):
            continue
        task = cast(Task, Reader(REGISTRY).expression(cls.name, cast(Any, Task)))
        condition = task.start(SampleStreams(0, range(64)), 1.0).condition
        labels = task.num_labels
        assert (labels is None) == (condition is None)
        if labels is not None:
            assert 0 <= int(cast(torch.Tensor, condition).min()) <= int(cast(torch.Tensor, condition).max()) < labels


def test_a_network_around_another_is_the_same_domain() -> None:
    class Inner(Leaf):
        num_labels = 3

        def denoise(self, x: torch.Tensor, sigma: torch.Tensor, condition: Any) -> torch.Tensor:
            return x

        def perturbations(self) -> Any:
            return {"none": nn.Identity}

    from guideplug.denoise import perturbed

    view = perturbed(Inner(Space((2,))), "none")
    assert isinstance(view, Leaf)
    assert view.num_labels == 3
