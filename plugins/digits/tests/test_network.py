"""Laws of the denoiser network: preconditioning limits, batch order, labels, attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from guideplug_digits.images import load_split
from guideplug_digits.network import NULL_LABEL, AttentionMixing, DigitsNet

SIGMA_DATA = 0.752


def batch(size: int = 6, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 1, 8, 8, generator=generator)
    sigma = torch.randn(size, generator=generator).exp()
    return x, sigma, torch.arange(size) % 11


def perturbed(**options: int) -> DigitsNet:
    """A network none of whose weights is zero, as after some training."""
    network = DigitsNet(**options)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return network


@pytest.mark.parametrize("options", [{}, {"patch": 1, "width": 16}, {"patch": 4, "blocks": 1, "heads": 1}])
def test_untrained_network_is_the_best_linear_denoiser(options: dict[str, int]) -> None:
    x, sigma, labels = batch()
    expected = SIGMA_DATA**2 / (sigma.view(-1, 1, 1, 1) ** 2 + SIGMA_DATA**2) * x
    assert torch.allclose(DigitsNet(**options)(x, sigma, labels), expected, atol=1e-6)  # type: ignore[arg-type]


def test_without_noise_the_network_is_the_identity() -> None:
    x, sigma, labels = batch()
    for level, tolerance in ((1e-2, 1e-1), (1e-4, 1e-3), (1e-6, 1e-5)):
        assert torch.allclose(perturbed()(x, torch.full_like(sigma, level), labels), x, atol=tolerance)
    assert not torch.allclose(perturbed()(x, torch.ones_like(sigma), labels), x, atol=1e-1)


def test_output_follows_the_edm_formula() -> None:
    network = perturbed()
    x, sigma, labels = batch()
    s = sigma.view(-1, 1, 1, 1)
    raw = network.raw(x / (s**2 + 0.752**2).sqrt(), sigma.log() / 4, labels)
    expected = 0.752**2 / (s**2 + 0.752**2) * x + s * 0.752 / (s**2 + 0.752**2).sqrt() * raw
    assert torch.allclose(network(x, sigma, labels), expected, atol=1e-5)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network = perturbed()
    x, sigma, labels = batch()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    whole = network(x, sigma, labels)
    assert torch.allclose(network(x[order], sigma[order], labels[order]), whole[order], atol=1e-5)
    assert torch.allclose(network(x[:2], sigma[:2], labels[:2]), whole[:2], atol=1e-5)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_come_back_where_they_were(patch: int) -> None:
    network = DigitsNet(patch=patch)
    x = torch.arange(2 * 64.0).view(2, 1, 8, 8)
    tokens = network._to_patches(x)
    assert tokens.shape == (2, (8 // patch) ** 2, patch**2)
    assert torch.equal(tokens[0, 0], x[0, 0, :patch, :patch].flatten())
    assert torch.equal(network._to_image(tokens), x)


def test_initial_weights_come_from_the_given_generator_only() -> None:
    state = torch.get_rng_state()
    first = DigitsNet(generator=torch.Generator().manual_seed(1)).state_dict()
    torch.rand(3)
    second = DigitsNet(generator=torch.Generator().manual_seed(1)).state_dict()
    torch.set_rng_state(state)
    other = DigitsNet(generator=torch.Generator().manual_seed(2)).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["patch_in.weight"], other["patch_in.weight"])


def test_attention_can_be_weakened_by_name() -> None:
    network = perturbed(blocks=2)
    x, sigma, labels = batch()
    names = [name for name, module in network.named_modules() if isinstance(module, AttentionMixing)]
    assert names == ["blocks.0.attention.mixing", "blocks.1.attention.mixing"]
    before = network(x, sigma, labels)
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda module, inputs, output: inputs[2])
    after = network(x, sigma, labels)
    assert not torch.allclose(after, before, atol=1e-3)
    # Without attention no patch sees another: a change in the last patch stays in the last patch.
    moved = x.clone()
    moved[..., 6:, 6:] += 1
    changed = (network(moved, sigma, labels) - after).abs().amax(dim=(0, 1)) > 1e-6
    changed_expected = torch.zeros(8, 8, dtype=torch.bool)
    changed_expected[6:, 6:] = True
    assert torch.equal(changed, changed_expected)


def test_attention_mixes_by_softmax() -> None:
    queries, keys, values = torch.randn(3, 2, 4, 5, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    assert torch.allclose(AttentionMixing()(queries, keys, values), expected, atol=1e-6)


def test_short_training_lowers_the_loss_and_separates_the_labels() -> None:
    images, labels = load_split().train
    generator = torch.Generator().manual_seed(0)
    network = DigitsNet(width=32, blocks=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    losses = []
    for _ in range(150):
        chosen = torch.randint(len(images), (64,), generator=generator)
        wanted = labels[chosen].where(torch.rand(64, generator=generator) >= 0.1, torch.tensor(NULL_LABEL))
        sigma = (1.2 * torch.randn(64, generator=generator) - 1.2).exp()
        noise = torch.randn(images[chosen].shape, generator=generator)
        error = network(images[chosen] + sigma.view(-1, 1, 1, 1) * noise, sigma, wanted) - images[chosen]
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        loss = (weight.view(-1, 1, 1, 1) * error.square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
    x, sigma = torch.randn(11, 1, 8, 8, generator=generator) * 5, torch.full((11,), 5.0)
    with torch.no_grad():
        each = network(x[:1].expand(11, -1, -1, -1), sigma, torch.arange(11)).flatten(1)
    assert torch.pdist(each).min() > 0.1  # eleven labels, the null label one of them, eleven answers
    means = torch.stack([images[labels == digit].mean(dim=0).flatten() for digit in range(10)])
    nearest = torch.cdist(each[:10], means).argmin(dim=1)
    assert (nearest == torch.arange(10)).sum() >= 8  # at high noise the answer is about the class's mean


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 60}, "width must be a multiple of 2 \\* heads = 8"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"patch": 3}, "patch must be 1, 2 or 4"),
        ({"sigma_data": float("nan")}, "sigma_data must be positive"),
    ],
)
def test_impossible_sizes_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DigitsNet(**options)  # type: ignore[arg-type]
