"""Weakened attention where image and text share a sequence, against diffusers and by hand."""

import math

import pytest
import torch
from joint_networks import flux, sd3
from torch.nn.functional import scaled_dot_product_attention

from guideplug import blurred_queries, identity_attention, perturbed, wrap
from guideplug.denoise.grid import blurred
from guideplug.errors import DenoiserError

BLOCK = "transformer_blocks.1.attn"


def test_perturbed_attention_of_sd3_is_that_of_its_pipeline():
    """Whose processor takes both halves of a batch, the second one perturbed; to 1e-6."""
    processors = pytest.importorskip("diffusers.models.attention_processor")
    network, x, condition, shape = sd3()
    network, x = network.double(), x.double()  # its values are large: an error of 1e-6 would be float32's
    condition = {name: part.double() for name, part in condition.items()}
    model = wrap(network, shape, predicts="denoised", views={"pag": identity_attention(BLOCK, text="last")})
    with torch.no_grad():
        plain, ours = model(x, 1.0, condition), perturbed(model, "pag")(x, 1.0, condition)
        everything = perturbed(model, "pag", tokens="all")(x, 1.0, condition)
        network.get_submodule(BLOCK).set_processor(processors.PAGJointAttnProcessor2_0())
        twice = {name: torch.cat([part, part]) for name, part in condition.items()}
        theirs = network(torch.cat([x, x]), torch.ones(4).double(), **twice).sample
    torch.testing.assert_close(plain, theirs[:2], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours, theirs[2:], atol=1e-6, rtol=1e-6)
    for other in (plain, everything):
        assert not torch.allclose(ours, other, atol=1e-4)


@pytest.mark.parametrize("make", [sd3, flux])
@pytest.mark.parametrize("blur", [0.7, math.inf])
@pytest.mark.parametrize("kind", ["identity", "all", "blur"])
def test_in_joint_attention_only_the_image_is_perturbed(make, kind, blur, monkeypatch):
    network, x, condition, shape = make()
    text = "last" if make is sd3 else "first"
    offers = {"identity": identity_attention, "all": identity_attention, "blur": blurred_queries}
    view = offers[kind](BLOCK, text=text)
    options = {"identity": {}, "all": {"tokens": "all"}, "blur": {"blur": blur}}[kind]
    calls = []

    model = wrap(network, shape, predicts="denoised", views={"view": view})
    with torch.no_grad():
        plain = model(x, 1.0, condition)
        found = perturbed(model, "view", **options)(x, 1.0, condition)

        def by_hand(query, key, value, attn_mask=None, **rest):
            calls.append(query.shape)
            if len(calls) != 2:  # another block than that whose attention is perturbed
                return scaled_dot_product_attention(query, key, value, attn_mask)
            if kind == "all":
                return value
            image = slice(5, None) if text == "first" else slice(0, -5)
            if kind == "blur":
                query = query.clone()
                query[..., image, :] = blurred(query[..., image, :], blur)
                return scaled_dot_product_attention(query, key, value)
            weights = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
            inner = weights[..., image, image]
            inner.masked_fill_(~torch.eye(inner.shape[-1], dtype=torch.bool), -math.inf)
            return weights.softmax(-1) @ value

        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", by_hand)
        expected = model(x, 1.0, condition)
    assert len(calls) >= 2
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, plain, atol=1e-4)


@pytest.mark.parametrize("offer", [identity_attention, blurred_queries])
def test_where_the_text_is_must_be_said(offer):
    network, x, condition, shape = sd3()
    model = wrap(network, shape, predicts="denoised", views={"view": offer(BLOCK)})
    with pytest.raises(DenoiserError, match=r"mixes 16 tokens of an image with 5 of a text: say where .*text='last'"):
        perturbed(model, "view")(x, 1.0, condition)


def test_tokens_are_the_images_or_all():
    network, _, _, shape = sd3()
    model = wrap(network, shape, predicts="denoised", views={"view": identity_attention(BLOCK, text="last")})
    with pytest.raises(DenoiserError, match="tokens is 'text': give 'image', or 'all'"):
        perturbed(model, "view", tokens="text")
