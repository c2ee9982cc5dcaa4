"""The view without LoRA layers: the network before tuning, in the same memory; refused where there are none."""

import importlib.util
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from guideplug import GuideplugError, Leaf, NoiseDomain, Registry, Space, tally, wrap
from guideplug.cli import main as main_command
from guideplug.config import Reader
from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.recipes.python_ref import ImportedDenoiser
from guideplug_lora import LoraOff, WithoutLora

pytest.importorskip("peft", reason="PEFT is an extra: pip install 'guideplug-lora[peft]'")

SPACE = Space((4,), sigma_data=0.5)


class Blocks(nn.Module):
    """Two layers of the data's width, and their noise level as one more number."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.middle, self.leave = nn.Linear(5, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        hidden: Tensor = torch.cat([x, sigma[:, None].log()], 1)
        leave: Tensor = self.leave(self.middle(self.enter(hidden).tanh()).tanh())
        return leave


def plain() -> Blocks:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Blocks()


def tuned(*, injected: bool = False) -> nn.Module:
    """The same network with LoRA layers whose product is not 0."""
    from peft import LoraConfig, get_peft_model, inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = LoraConfig(r=2, target_modules=["enter", "middle"], init_lora_weights=False)
        return inject_adapter_in_model(config, plain()) if injected else get_peft_model(plain(), config)  # type: ignore[arg-type, no-any-return]


def leaf(network: nn.Module) -> Leaf:
    return wrap(network, SPACE.shape, predicts="denoised")


@pytest.fixture(params=[False, True], ids=["PeftModel", "injected"])
def main(request: pytest.FixtureRequest) -> Leaf:
    return leaf(tuned(injected=request.param)).eval()


X, SIGMA = torch.linspace(-1, 1, 12).reshape(3, 4), 0.7


def test_it_is_the_network_before_tuning(main: Leaf) -> None:
    with torch.no_grad():
        before, off, after = main(X, SIGMA), LoraOff(main)(X, SIGMA), main(X, SIGMA)
        torch.testing.assert_close(off, leaf(plain()).eval()(X, SIGMA))
    assert torch.equal(before, after)
    assert not torch.allclose(before, off, atol=1e-3)


def test_it_has_the_networks_own_parameters_unchanged(main: Leaf) -> None:
    flags = {name: (parameter.data_ptr(), parameter.requires_grad) for name, parameter in main.named_parameters()}
    values = {name: tensor.clone() for name, tensor in main.state_dict().items()}
    view = LoraOff(main)
    with torch.no_grad():
        view(X, SIGMA)
    assert {one.data_ptr() for one in view.parameters()} == {one.data_ptr() for one in main.parameters()}
    assert flags == {name: (one.data_ptr(), one.requires_grad) for name, one in main.named_parameters()}
    assert all(torch.equal(values[name], tensor) for name, tensor in main.state_dict().items())


def test_it_is_on_again_after_an_error(main: Leaf) -> None:
    with torch.no_grad():
        before = main(X, SIGMA)
        with pytest.raises(GuideplugError):
            LoraOff(main).denoise(X[:, :2], torch.ones(3), None)
        assert torch.equal(main(X, SIGMA), before)


def test_adapters_that_are_off_stay_off(main: Leaf) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in main.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(False)
    with torch.no_grad():
        before = main(X, SIGMA)
        assert torch.equal(LoraOff(main)(X, SIGMA), before)
        assert torch.equal(main(X, SIGMA), before)


def test_guided_it_is_two_outputs_of_one_network(main: Leaf) -> None:
    guider: Guider = Reader(Registry.installed()).expression("autoguidance(weight=2.0)", Guider, "the test")
    view = LoraOff(main)
    with torch.no_grad(), tally() as counts:
        guided = guider.guide(main, {"weak": view})(X, SIGMA)
    assert (counts[main].calls, counts[main].outputs) == (2, 2 * len(X))
    assert list(counts.counts) == [main]
    with torch.no_grad():
        torch.testing.assert_close(guided, main(X, SIGMA) + (main(X, SIGMA) - view(X, SIGMA)))


def test_a_network_without_lora_is_refused() -> None:
    with pytest.raises(ValueError, match="has no LoRA layers"):
        LoraOff(leaf(plain()))


def test_merged_layers_are_refused() -> None:
    network: Any = tuned()
    network.merge_adapter()
    with pytest.raises(ValueError, match="merged"):
        LoraOff(leaf(network))


def test_it_is_listed_and_refused_in_one_line_without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *package: None if name == "peft" else known(name, *package)
    )
    listed = CliRunner().invoke(main_command, ["plugins", "list"], catch_exceptions=False).output
    (line,) = [line for line in listed.splitlines() if line.startswith("lora ")]
    assert line.endswith("recipe without-lora; needs peft: pip install 'guideplug-lora[peft]'")
    with pytest.raises(ValueError, match=r"without-lora needs peft: pip install 'guideplug-lora\[peft\]'") as refusal:
        LoraOff(leaf(plain()))
    assert "\n" not in str(refusal.value)


def test_two_recipes_of_one_network_are_one_in_memory() -> None:
    recipe: Recipe = ImportedDenoiser(f"{__file__}:build", NoiseDomain(SPACE))
    view = WithoutLora(of=recipe)
    network = recipe.build()
    assert view.viewed is recipe
    assert view.view(network).of is network
    assert not view.stored


def build(domain: object) -> Leaf:
    """For the recipe above."""
    return leaf(tuned())
