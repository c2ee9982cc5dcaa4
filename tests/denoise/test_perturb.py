"""Perturbed views by the names of submodules: what they compute, and that the network is as it was."""

import functools
import math
import threading

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from guideplug import blurred_queries, dropped_units, identity_attention, perturbed, skip_layers, wrap
from guideplug.denoise import tally
from guideplug.denoise.grid import blurred
from guideplug.errors import DenoiserError
from guideplug.rng import KeyedRandom, SampleKeys

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(3, 9, 8, generator=GENERATOR)


class Attention(nn.Module):
    """Self-attention by torch's function."""

    def __init__(self, heads=2):
        super().__init__()
        self.heads = heads
        self.project_in, self.project_out = nn.Linear(8, 24), nn.Linear(8, 8)

    def split(self, x):
        return self.project_in(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x):
        mixed = scaled_dot_product_attention(*self.split(x))
        return self.project_out(mixed.transpose(1, 2).flatten(2))


class Core(nn.Module):
    """Attention alone."""

    def forward(self, queries, keys, values):
        return (queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])).softmax(-1) @ values


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8))
        self.attention = Attention()
        self.torchs = nn.MultiheadAttention(8, 2, batch_first=True)
        self.lengthwise = nn.MultiheadAttention(8, 2)
        self.core = Core()

    def forward(self, x):
        x = x + self.attention(x) + self.torchs(x, x, x)[0]
        turned = x.transpose(0, 1)
        x = x + self.lengthwise(query=turned, key=turned, value=turned, need_weights=False)[0].transpose(0, 1)
        x = x + self.core(x[:, None], x[:, None], x[:, None])[:, 0]
        return x + self.mlp(x)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x, time=None):
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Network().eval().requires_grad_(False)


def hooks(network):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_a_skipped_layer_gives_what_it_was_given(network):
    view = skip_layers("blocks.0", "blocks.1", "blocks.2")
    with view(network):
        middle = network(X)
    torch.testing.assert_close(middle, network.blocks[2](network.blocks[0](X)))
    with view(network, layers=(0, 2)):
        torch.testing.assert_close(network(X), network.blocks[1](X))
    with view(network, layers=(0, 1, 2)):
        assert torch.equal(network(X), X)


def test_attention_as_the_identity(network):
    block = network.blocks[0]
    with identity_attention("attention")(block):
        found = block.attention(X)
    values = block.attention.split(X)[2].transpose(1, 2).flatten(2)
    torch.testing.assert_close(found, block.attention.project_out(values))
    for name in ("torchs", "lengthwise"):
        module = getattr(block, name)
        with identity_attention(name)(block):
            found, _ = module(X, X, X)
        values = nn.functional.linear(X, module.in_proj_weight[16:], module.in_proj_bias[16:])
        torch.testing.assert_close(found, module.out_proj(values), atol=1e-5, rtol=1e-5)
    with identity_attention("core", core=True)(block):
        assert torch.equal(block.core(X[:, None], X[:, None], 2 * X[:, None]), 2 * X[:, None])


@pytest.mark.parametrize("blur", [0.4, 1.0, 3.0, math.inf])
def test_attention_with_blurred_queries(network, blur):
    block = network.blocks[0]
    queries, keys, values = block.attention.split(X)
    mixed = scaled_dot_product_attention(blurred(queries, blur), keys, values)
    with blurred_queries("attention")(block, blur=blur):
        found = block.attention(X)
    torch.testing.assert_close(found, block.attention.project_out(mixed.transpose(1, 2).flatten(2)))
    module = block.torchs
    parts = nn.functional.linear(X, module.in_proj_weight, module.in_proj_bias).unflatten(-1, (3, 2, 4))
    queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
    mixed = scaled_dot_product_attention(blurred(queries, blur), keys, values).transpose(1, 2).flatten(2)
    with blurred_queries("torchs")(block, blur=blur):
        torch.testing.assert_close(module(X, X, X)[0], module.out_proj(mixed), atol=1e-5, rtol=1e-5)
    turned = X.transpose(0, 1)
    block.lengthwise.load_state_dict(module.state_dict())
    with blurred_queries("lengthwise")(block, blur=blur):
        found = block.lengthwise(turned, turned, turned)[0].transpose(0, 1)
    torch.testing.assert_close(found, module.out_proj(mixed), atol=1e-5, rtol=1e-5)
    one = X[:, None]
    with blurred_queries("core", core=True)(block, blur=blur):
        found = block.core(one, one, one)
    torch.testing.assert_close(found, block.core(blurred(one, blur), one, one))


def test_attention_between_two_sequences_is_left_alone(network):
    class Cross(nn.Module):
        def forward(self, x):
            return scaled_dot_product_attention(x, x[:, :4], x[:, :4]) + scaled_dot_product_attention(x, x, x)

    cross, x = Cross(), X[:, None].movedim(1, 2).contiguous()[:, :, 0]
    with identity_attention("")(cross):
        torch.testing.assert_close(cross(x), scaled_dot_product_attention(x, x[:, :4], x[:, :4]) + x)


def test_encoder_layers_of_torch_are_perturbed_too():
    """Whose fast path would not ask their attention."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    with torch.no_grad():
        before = layer(X)
        with identity_attention("self_attn")(layer):
            found = layer(X)
        values = nn.functional.linear(X, layer.self_attn.in_proj_weight[16:], layer.self_attn.in_proj_bias[16:])
        hidden = layer.norm1(X + layer.self_attn.out_proj(values))
        expected = layer.norm2(hidden + layer.linear2(torch.relu(layer.linear1(hidden))))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(layer(X), before, rtol=0, atol=0)


def test_dropped_units_are_each_samples_own(network):
    block = network.blocks[0]
    view = dropped_units("mlp.1")
    start = torch.randn(3, 2, generator=torch.Generator().manual_seed(3))

    def asked(rows, share=0.3, seed=0):
        with view(block, share=share, draws=KeyedRandom(SampleKeys(start[rows]), len(start[rows]), seed)):
            return block.mlp[:2](X[rows])

    whole, before = asked(slice(0, 3)), block.mlp[:2](X)
    kept = (whole != 0) | (before == 0)
    torch.testing.assert_close(whole, torch.where(kept, before / 0.7, 0.0))
    assert 0.6 < kept.double().mean() < 0.8
    torch.testing.assert_close(asked(slice(1, 3)), whole[1:])
    assert not torch.equal(asked(slice(0, 3), seed=1), whole)
    many = torch.stack([asked(slice(0, 3), seed=seed) for seed in range(400)]).mean(0)
    torch.testing.assert_close(many, before, atol=0.25, rtol=0.35)


def test_the_network_is_as_it_was(network):
    views = {
        "skip-layer": skip_layers("blocks.0", "blocks.1"),
        "identity-attention": identity_attention("blocks.0.attention", "blocks.1.torchs"),
        "blurred-queries": blurred_queries("blocks.0.attention", "blocks.1.torchs"),
        "dropout": dropped_units("blocks.0.mlp.1"),
    }
    model = wrap(network, (9, 8), predicts="denoised", views=views)
    before = network(X)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    for kind in views:
        options = {"share": 0.2, "draws": KeyedRandom(SampleKeys(X), 3, 0)} if kind == "dropout" else {}
        view = perturbed(model, kind, **options)
        with tally() as counts:
            assert not torch.allclose(view(X, 1.0), before, atol=1e-3)
        assert counts[model].calls == 1
        mine = {id(p) for p in model.parameters()}
        assert {id(p) for p in view.parameters()} == mine
        assert [p.data_ptr() for p in view.parameters()] == [p.data_ptr() for p in model.parameters()]
    assert torch.equal(model(X, 1.0), before)
    assert hooks(network) == 0
    assert not network.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_hooks_go_when_something_raises(network):
    class Faulty(nn.Module):
        def forward(self, x):
            raise ArithmeticError("overflow")

    faulty = nn.Sequential(Faulty())
    with pytest.raises(ArithmeticError), identity_attention("0")(faulty):
        faulty(X)
    assert hooks(faulty) == 0
    torch.testing.assert_close(scaled_dot_product_attention(X, X, X), Core()(X, X, X))


def test_another_thread_may_use_the_network_meanwhile(network):
    before, found = network(X), []
    with skip_layers("blocks.0")(network), identity_attention("blocks.1.attention")(network):
        thread = threading.Thread(target=lambda: found.append(network(X)))
        thread.start()
        thread.join()
        assert not torch.allclose(network(X), before)
    assert torch.equal(found[0], before)


def test_views_nest(network):
    with skip_layers("blocks.0")(network), skip_layers("blocks.1")(network):
        torch.testing.assert_close(network(X), network.blocks[2](X))


def test_gradients_reach_the_shared_parameters():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = Network()
    model = wrap(network, (9, 8), predicts="denoised", views={"skip-layer": skip_layers("blocks.1")})
    (model + (model - perturbed(model, "skip-layer")))(X, 1.0).square().mean().backward()
    gradient = network.blocks[0].mlp[0].weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


class Pair(nn.Module):
    def forward(self, x, time=None):
        return x, x


@pytest.mark.parametrize(
    ("view", "options", "said"),
    [
        (skip_layers("blocks.9"), {}, "Network has no submodule 'blocks.9': see its named_modules"),
        (skip_layers("blocks.0"), {"layers": (1,)}, "layers has 1: the network has 1 such layers, counted from 0"),
        (skip_layers("blocks.0"), {"layers": (-1,)}, "layers has -1"),
        (skip_layers("blocks.0"), {"blur": 1.0}, "blur"),
        (blurred_queries("blocks.0.attention"), {"blur": 0.0}, "blur is 0: it must be above 0"),
        (dropped_units("blocks.0"), {"share": 1.5}, "share is 1.5: give a share between 0 and 1"),
    ],
)
def test_wrong_views_are_refused_when_they_are_asked_for(network, view, options, said):
    model = wrap(network, (9, 8), predicts="denoised", views={"mine": view})
    with pytest.raises(DenoiserError, match=said) as caught:
        perturbed(model, "mine", **options)
    assert "\n" not in str(caught.value)
    assert hooks(network) == 0


def test_what_cannot_be_perturbed_says_so_when_it_is_called(network):
    pair = Pair()
    with pytest.raises(DenoiserError, match="a Pair cannot be skipped"), skip_layers("")(pair):
        pair(X)
    with pytest.raises(DenoiserError, match="calls neither"), identity_attention("blocks.0.mlp")(network):
        network(X)
    assert hooks(network) == 0


def test_wrap_takes_functions_by_name_only():
    with pytest.raises(TypeError, match=r"views has 'skip-layer': 'blocks\.0'"):
        wrap(nn.Identity(), (2,), predicts="denoised", views={"skip-layer": "blocks.0"})


def test_a_view_of_ones_own(network):
    import contextlib

    @contextlib.contextmanager
    def halved(network, factor=0.5):
        hook = network.register_forward_hook(lambda module, inputs, output: factor * output)
        try:
            yield
        finally:
            hook.remove()

    model = wrap(network, (9, 8), predicts="denoised", views={"halved": halved})
    torch.testing.assert_close(perturbed(model, "halved", factor=0.25)(X, 1.0), 0.25 * model(X, 1.0))


def test_a_unet_of_diffusers():
    """Its own identity processor takes the second half of a batch, which it calls the perturbed one."""
    diffusers = pytest.importorskip("diffusers")
    processors = pytest.importorskip("diffusers.models.attention_processor")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            norm_num_groups=4,
            cross_attention_dim=8,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ).eval()
    name = "mid_block.attentions.0.transformer_blocks.0.attn1"
    views = {"identity-attention": identity_attention(name), "blurred-queries": blurred_queries(name)}
    model = wrap(unet, (4, 8, 8), predicts="denoised", views=views)
    x, text = torch.randn(2, 4, 8, 8, generator=GENERATOR), torch.randn(2, 3, 8, generator=GENERATOR)
    condition = {"encoder_hidden_states": text}
    with torch.no_grad():
        found = perturbed(model, "identity-attention")(x, 1.0, condition)
        assert not torch.allclose(found, model(x, 1.0, condition), atol=1e-4)
        assert not torch.allclose(perturbed(model, "blurred-queries", blur=0.5)(x, 1.0, condition), found, atol=1e-5)
        unet.get_submodule(name).set_processor(processors.PAGIdentitySelfAttnProcessor2_0())
        both = unet(torch.cat([x, x]), torch.ones(4), encoder_hidden_states=torch.cat([text, text])).sample
    torch.testing.assert_close(found, both[2:], atol=1e-5, rtol=1e-4)


def test_resizable():
    conv = nn.Conv2d(1, 1, 3, padding=1)
    network = functools.partial(lambda x, time: conv(x))
    images = torch.randn(2, 1, 5, 6, generator=GENERATOR)
    assert wrap(network, (1, 8, 8), predicts="denoised", resizable=True)(images, 1.0).shape == images.shape
    with pytest.raises(DenoiserError, match="x has shape"):
        wrap(network, (1, 8, 8), predicts="denoised")(images, 1.0)
    with pytest.raises(DenoiserError, match="x has shape"):
        wrap(network, (1, 8, 8), predicts="denoised", resizable=True)(images.expand(2, 3, 5, 6), 1.0)
