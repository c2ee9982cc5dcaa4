"""Views as recipes: the parameters of another recipe's network, once in memory, and no copy in store or folder."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor, nn

import guideplug
from guideplug import Degraded, GuideplugError, Leaf, Train, WithoutLayers, tally, wrap
from guideplug.config import Reader
from guideplug.guide import Guider
from guideplug.observe import Observers
from guideplug.recipe import Recipe
from guideplug.recipes.views import LayersSkipped
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.run.earlier import request_of_networks
from guideplug.run.folder import RunFolder
from guideplug.run.preflight import preflight
from guideplug.run.resolve import Request, resolve
from guideplug.run.result import RunResult
from guideplug.store import Store, identity

REGISTRY = Registry.installed()
X, SIGMA = torch.linspace(-1, 1, 12).reshape(3, 4), 0.7


class Residual(nn.Module):
    """Three layers of one width, each added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.leave = nn.Linear(4, 2)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x) if block is self.blocks[0] else block(x)
        return x


def network() -> Leaf:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return wrap(Residual(), (4,), predicts="denoised").eval()


def without(leaf: Leaf, dropped: int) -> Tensor:
    module: Any = leaf
    blocks = next(one for one in module.modules() if isinstance(one, Residual)).blocks
    x = X
    for number, block in enumerate(blocks):
        after = x if number == dropped else block(x)
        x = x + after if number == 0 else after
    return x


@pytest.mark.parametrize("number", [0, 1, 2])
@torch.no_grad()
def test_a_skipped_layer_returns_its_input(number: int) -> None:
    main = network()
    before = main(X, SIGMA)
    torch.testing.assert_close(LayersSkipped(main, (f"blocks.{number}",))(X, SIGMA), without(main, number))
    assert torch.equal(main(X, SIGMA), before)


@torch.no_grad()
def test_all_the_layers_named_are_skipped() -> None:
    main = network()
    view = LayersSkipped(main, ("blocks.1", "blocks.2"))
    module: Any = main
    first = next(one for one in module.modules() if isinstance(one, Residual)).blocks[0]
    torch.testing.assert_close(view(X, SIGMA), X + first(X))


@torch.no_grad()
def test_guided_by_its_view_a_network_gives_two_outputs_in_one_pass() -> None:
    main = network()
    guider: Guider = Reader(REGISTRY).expression("autoguidance(weight=2.0)", Guider, "the test")
    point = guider.guide(main, {"weak": LayersSkipped(main, ("blocks.1",))})
    with tally() as counts:
        guided = point(X, SIGMA)
    assert {leaf: (count.calls, count.outputs) for leaf, count in counts.counts.items()} == {main: (2, 6)}
    torch.testing.assert_close(guided, 2 * main(X, SIGMA) - without(main, 1))


@pytest.mark.parametrize("layers", [("blocks.7",), ("nothing",)])
def test_layers_that_are_not_there_are_refused_with_those_that_are(layers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"has no layer '{layers[0]}'.*its layers are, for instance, ") as refusal:
        LayersSkipped(network(), layers)
    assert "\n" not in str(refusal.value)


def test_a_name_that_ends_several_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = Residual(), Residual()

    with pytest.raises(ValueError, match=r"has 2 layers 'blocks\.1': .*give a whole name"):
        LayersSkipped(wrap(Two(), (4,), predicts="denoised"), ("blocks.1",))


# In a run


def training() -> Train:
    config = resolve(Request(values={"task": "gaussian", "duration": "4it", "samples": 16}), REGISTRY)
    assert isinstance(config.main, Train)
    return config.main


VIEWS: Mapping[str, Any] = {
    "without-layers": lambda main: WithoutLayers(of=main, layers=("layers.1",)),
    "degraded": lambda main: Degraded(of=main, noise=0.1),
}


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
def test_it_follows_its_network_and_is_no_copy(make: Any, tmp_path: Path) -> None:
    main = training()
    view: Recipe = make(main)
    assert identity(view) != identity(make(evolve(main, seed=1)))
    builder = StoreBuilder(Store(tmp_path), torch.device("cpu"), Observers([]))
    shared, own = builder.obtain(view), builder.obtain(main)
    assert {id(one) for one in shared.parameters()} == {id(one) for one in own.parameters()}
    assert len([entry for entry in tmp_path.iterdir() if entry.is_dir() and len(entry.name) == 64]) == 1


def test_layers_are_part_of_the_identity() -> None:
    main = training()
    assert identity(WithoutLayers(of=main, layers=("layers.1",))) != identity(WithoutLayers(of=main, layers=("enter",)))


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
def test_a_preflight_builds_its_network_once(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expression = {
        "without-layers": 'without-layers(main, layers=["layers.1"])',
        "degraded": "degraded(main, noise=0.1)",
    }
    name = next(one for one, it in VIEWS.items() if it is make)
    values = {"task": "gaussian", "duration": "4it", "samples": 16, "guider": "autoguidance"}
    config = resolve(Request(values=values, models={"weak": expression[name]}), REGISTRY)
    trial = preflight(config, REGISTRY)
    parameters = [{id(one) for one in trial.networks[role].parameters()} for role in ("main", "weak")]
    assert parameters[0] == parameters[1]


@pytest.mark.parametrize("layer", ["layers.9", "leave"])
def test_a_layer_that_cannot_be_skipped_is_refused_before_any_work(layer: str) -> None:
    values = {"task": "gaussian", "duration": "4it", "samples": 16, "guider": "autoguidance"}
    config = resolve(Request(values=values, models={"weak": f'without-layers(main, layers=["{layer}"])'}), REGISTRY)
    with pytest.raises(GuideplugError, match="role 'weak'") as refusal:
        preflight(config, REGISTRY)
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    place = tmp_path_factory.mktemp("run")
    return guideplug.run(
        "autoguidance",
        task="gaussian",
        duration="4it",
        samples=16,
        models={"weak": 'without-layers(main, layers=["layers.1"])'},
        sets={"report.weights": []},
        out=place / "run",
        store=place / "store",
        device="cpu",
    )


def test_the_folder_holds_the_weights_once(finished: RunResult) -> None:
    names = sorted(file.name for file in (finished.folder / "denoisers").iterdir())
    assert names == ["main.json", "main.safetensors", "weak.json"]


def test_its_calls_are_those_of_the_main_network(finished: RunResult) -> None:
    evaluations = finished.metrics["evaluations"]
    assert list(evaluations["guided"]) == ["main"]
    assert evaluations["guided"]["main"]["outputs"] == 2 * evaluations["unguided"]["main"]["outputs"]


def test_the_run_is_guided_anew_by_the_view_of_its_network(finished: RunResult) -> None:
    request = request_of_networks(RunFolder.existing(finished.folder), Request(values={"guider": "autoguidance"}))
    config = resolve(request, REGISTRY)
    assert config.models["weak"] == WithoutLayers(of=config.main, layers=("layers.1",))
    assert config.main.name == "load"


def test_weights_that_are_missing_are_no_view(finished: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    (folder / "denoisers" / "main.safetensors").unlink()
    with pytest.raises(GuideplugError, match=r"main\.safetensors is missing"):
        request_of_networks(RunFolder.existing(folder), Request(values={"guider": "autoguidance"}))
