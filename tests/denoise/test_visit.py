"""A view of a compiled network either changes what it is to change, or says that it cannot."""

import contextlib
import itertools

import pytest
import torch
from tiers import few
from torch import nn

from guideplug import dropped_units, identity_attention, perturbed, skip_layers, wrap
from guideplug.errors import DenoiserError
from guideplug.rng import KeyedRandom, SampleKeys
from guideplug.task import seeded_build
from guideplug_digits import Digits, DigitsTransformer

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def compiled(thing):
    return torch.compile(thing, backend="eager")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return x + self.linear(x)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x, time):
        return self.run(x)

    def run(self, x):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Network().eval().requires_grad_(False)
    yield network
    torch._dynamo.reset()


def in_place(module):
    module.compile(backend="eager")
    return module


def its_forward(module):
    module.forward = compiled(module.forward)
    return module


def a_method(module):
    module.run = compiled(module.run)
    return module


AROUND = {"network": compiled, "in place": in_place, "forward": its_forward, "method": a_method}


@pytest.mark.slow
@pytest.mark.parametrize("warm", [True, False], ids=["after a plain call", "first of all"])
@pytest.mark.parametrize(("how", "prefix"), [*itertools.product(AROUND, [""]), ("network", "_orig_mod.")])
def test_a_view_inside_a_compiled_network_is_refused(network, how, prefix, warm):
    model = wrap(
        AROUND[how](network),
        (3,),
        predicts="denoised",
        views={"mine": skip_layers(f"{prefix}blocks.1", f"{prefix}blocks.2")},
    )
    if warm:
        model(X, 1.0)
    view = perturbed(model, "mine", layers=(0, 1))
    with pytest.raises(DenoiserError) as caught:
        view(X, 1.0)
    message = str(caught.value)
    assert message.startswith(
        f"the view touches '{prefix}blocks.1', '{prefix}blocks.2' of Network, but Network is compiled"
    )
    assert "network.x.compile()" in message
    assert "\n" not in message


@pytest.mark.parametrize("warm", [True, False])
def test_a_network_compiled_inside_a_function_is_refused(network, warm):
    inner = compiled(lambda x, time: network(x, time))
    model = wrap(
        lambda x, time: inner(x, time),
        (3,),
        predicts="denoised",
        views={"mine": lambda _: skip_layers("blocks.1")(network)},
    )
    if warm:
        model(X, 1.0)
    with pytest.raises(DenoiserError, match="of Network, which was not called as a module"):
        perturbed(model, "mine")(X, 1.0)


def replaced(network, number):
    network.blocks[number] = compiled(network.blocks[number])


def within(network, number):
    in_place(network.blocks[number].linear)


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize(
    "how",
    [replaced, lambda network, number: in_place(network.blocks[number]), within],
    ids=["replaced", "in place", "within"],
)
def test_views_of_modules_that_are_compiled_themselves(network, how, warm):
    expected, plain = network.blocks[2](network.blocks[0](X)), network(X, None)
    for number in range(3):
        how(network, number)
    model = wrap(network, (3,), predicts="denoised", views={"mine": skip_layers("blocks.1")})
    if warm:
        model(X, 1.0)
    view = perturbed(model, "mine")
    for _ in range(3):
        assert torch.equal(view(X, 1.0), expected)
        assert torch.equal(model(X, 1.0), plain)


def test_a_view_that_switches_the_compiler_off(network):
    expected = network.blocks[2](network.blocks[0](X))

    @contextlib.contextmanager
    def eager(inner):
        with torch.compiler.set_stance("force_eager"), skip_layers("blocks.1")(inner):
            yield

    model = wrap(compiled(network), (3,), predicts="denoised", views={"mine": eager})
    view = perturbed(model, "mine")
    for _ in range(2):
        model(X, 1.0)
        assert torch.equal(view(X, 1.0), expected)


class Routed(Network):
    """Another last block at high levels."""

    def forward(self, x, time):
        for block in self.blocks[:2]:
            x = block(x)
        return self.blocks[2](x) if time[0] < 1 else x


def test_layers_that_an_eager_network_goes_around_are_no_mistake():
    network = Routed().eval().requires_grad_(False)
    model = wrap(network, (3,), predicts="denoised", views={"mine": skip_layers("blocks.2")})
    view = perturbed(model, "mine")
    assert torch.equal(view(X, 2.0), model(X, 2.0))
    assert not torch.equal(view(X, 0.5), model(X, 0.5))


def test_what_raises_inside_is_not_hidden(network):
    with pytest.raises(ArithmeticError), skip_layers("blocks.1")(compiled(network)):
        raise ArithmeticError


@pytest.fixture
def digits():
    with torch.random.fork_rng():
        model = seeded_build(DigitsTransformer(width=8, blocks=3), Digits(), 0).eval().requires_grad_(False)
        torch.manual_seed(2)
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    yield model
    torch._dynamo.reset()


DRAWS = {"share": 0.3, "draws": KeyedRandom(SampleKeys(X), 4, 0)}


@pytest.mark.parametrize(
    "kind", few(["skip-layer", "identity-attention", "blurred-queries", "dropout"], "identity-attention")
)
def test_every_view_of_the_digits_network(digits, kind):
    x, labels = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    options = DRAWS if kind == "dropout" else {}
    view = perturbed(digits, kind, **options)
    before = view(x, 1.0, labels)
    for block in digits.network.blocks:
        in_place(block.attention.mixing)
        in_place(block.mlp[0])
    assert torch.equal(view(x, 1.0, labels), before)
    in_place(digits.network)
    digits(x, 1.0, labels)
    with pytest.raises(DenoiserError, match="of DigitsNet, but DigitsNet is compiled around them"):
        view(x, 1.0, labels)


@pytest.mark.parametrize("offer", [skip_layers, identity_attention, dropped_units])
def test_a_context_in_which_nothing_is_called_is_refused(network, offer):
    options = DRAWS if offer is dropped_units else {}
    with (
        pytest.raises(DenoiserError, match="of Network, which was not called as a module"),
        offer("blocks.0")(network, **options),
    ):
        pass
