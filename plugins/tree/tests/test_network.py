import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from guideplug_tree.network import TreeMLP

DOUBLE = torch.float64


def network(hidden: int = 6, num_labels: int = 0, gain: float = 0.7, dtype: torch.dtype = DOUBLE) -> TreeMLP:
    made = TreeMLP(hidden, num_labels, generator=torch.Generator().manual_seed(0)).to(dtype)
    made.gain.data.fill_(gain)
    return made


def batch(count: int = 5, dtype: torch.dtype = DOUBLE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 2, generator=generator, dtype=dtype)
    return x, torch.randn(count, generator=generator, dtype=dtype).sub(1).exp()


def rows_of(weight: Tensor) -> Tensor:
    """Each row of n weights divided by sqrt(n) and by 1e-4 + its root mean square."""
    return weight / (1e-4 + weight.square().mean(1, keepdim=True).sqrt()) / math.sqrt(weight.shape[1])


def textbook(net: TreeMLP, x: Tensor, sigma: Tensor, label: Tensor | None = None) -> Tensor:
    """The denoised points by autograd on log p, written as in the paper."""
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        scaled = x / (sigma**2 + net.sigma_data**2).sqrt()[:, None]
        if label is None:
            label = x.new_zeros(len(x), net.num_labels)
        ones = torch.ones_like(sigma)[:, None]
        features = torch.cat([scaled, sigma.log()[:, None] / 4, ones, label * math.sqrt(net.num_labels)], 1)
        features = features @ rows_of(net.input_weight).T
        for weight in net.hidden_weights:
            features = torch.nn.functional.silu(features) / 0.596
            features = features @ rows_of(weight).T
        log_prob = net.gain * features.square().mean(1) / sigma - scaled.square().sum(1) / 2
        score = torch.autograd.grad(log_prob.sum(), x, create_graph=True)[0]
    return x + sigma[:, None] ** 2 * score


@pytest.mark.parametrize("num_labels", [0, 2])
def test_explicit_score_is_the_gradient_of_log_p(num_labels: int) -> None:
    net, (x, sigma) = network(num_labels=num_labels), batch()
    label = torch.eye(2, dtype=DOUBLE)[[0, 1, 1, 0, 1]] if num_labels else None
    expected = textbook(net, x, sigma, label)
    assert_close(net(x, sigma, label), expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert_close(net(x, sigma, label), expected.detach(), rtol=1e-12, atol=1e-12)
    with torch.inference_mode():
        assert_close(net(x, sigma, label), expected.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("hidden", [32, 64])
def test_single_precision_at_full_size(hidden: int) -> None:
    net = network(hidden, dtype=torch.float32)
    x, sigma = batch(5000, torch.float32)
    double = network(hidden, dtype=DOUBLE)
    with torch.no_grad():
        found = net(x, sigma)
        assert_close(found.double(), double(x.double(), sigma.double()), rtol=1e-4, atol=1e-5)
    assert_close(net(x, sigma).detach(), found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_labels", [0, 2])
def test_training_gradients_are_those_of_autograd(num_labels: int) -> None:
    net, (x, sigma) = network(num_labels=num_labels), batch()
    label = torch.eye(2, dtype=DOUBLE)[[0, 1, 1, 0, 1]] if num_labels else None
    gradients = []
    for denoised in (net(x, sigma, label), textbook(net, x, sigma, label)):
        loss = ((denoised - x.flip(0)) / sigma[:, None]).square().mean()
        gradients.append(torch.autograd.grad(loss, list(net.parameters())))
    assert len(gradients[0]) == 3
    for found, expected in zip(*gradients, strict=True):
        assert found.abs().max() > 1e-3
        assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_gradcheck_of_weights_gain_and_points() -> None:
    net, (x, sigma) = network(3), batch(3)
    names = [name for name, _ in net.named_parameters()]

    def denoised(points: Tensor, *parameters: Tensor) -> Tensor:
        result = torch.func.functional_call(net, dict(zip(names, parameters, strict=True)), (points, sigma))
        assert isinstance(result, Tensor)
        return result

    arguments = [x.requires_grad_(), *(p.detach().clone().requires_grad_() for p in net.parameters())]
    assert torch.autograd.gradcheck(denoised, arguments)


def test_gradients_with_a_frozen_network_reach_the_points() -> None:
    net, (x, sigma) = network(), batch()
    net.requires_grad_(False)
    found, expected = (
        torch.autograd.grad(call(points).square().sum(), points)[0]
        for call in (lambda p: net(p, sigma), lambda p: textbook(net, p, sigma))
        for points in [x.clone().requires_grad_()]
    )
    assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_new_network_is_the_gaussian_denoiser() -> None:
    net = TreeMLP(8).double()
    x, sigma = batch()
    assert net.gain.item() == 0
    assert_close(net(x, sigma), x * (0.25 / (0.25 + sigma.square()))[:, None])


def test_missing_label_is_all_zeros_and_labels_matter() -> None:
    net, (x, sigma) = network(num_labels=2), batch()
    zeros = torch.zeros(5, 2, dtype=DOUBLE)
    assert torch.equal(net(x, sigma), net(x, sigma, zeros))
    first, second = (torch.eye(2, dtype=DOUBLE)[[k] * 5] for k in range(2))
    assert not torch.allclose(net(x, sigma, first), net(x, sigma, second))


EPSILON = 2e-3
"""What the 1e-4 beside a row's root mean square, between .1 and 5 here, may change in an answer of size 1."""


def test_forcing_the_weights_leaves_the_network_as_it_is() -> None:
    net, (x, sigma) = network(num_labels=2), batch()
    with torch.no_grad():
        for weight in (net.input_weight, net.hidden_weights):
            weight.mul_(torch.rand(weight.shape[:-1], dtype=DOUBLE)[..., None] + 0.5)
    before = net(x, sigma)
    versions = [p._version for p in net.parameters()]
    sizes = [weight.detach().square().mean(-1).sqrt() for weight in (net.input_weight, net.hidden_weights)]
    net.normalize_weights_()
    assert net.gain._version == versions[-1]
    assert_close(net(x, sigma), before, rtol=EPSILON, atol=EPSILON)
    for weight, size in zip((net.input_weight, net.hidden_weights), sizes, strict=True):
        assert_close(weight.detach().square().mean(-1).sqrt(), size / (1e-4 + size))
    for _ in range(2):
        net.normalize_weights_()  # to its fixed point, where nothing changes any more
    for weight in (net.input_weight, net.hidden_weights):
        assert_close(weight.detach().square().mean(-1).sqrt(), torch.full(weight.shape[:-1], 1 - 1e-4, dtype=DOUBLE))


def test_weights_have_unit_norm_whatever_is_stored() -> None:
    """Scaling a stored row by hand changes nothing, so a layer's output keeps its input's magnitude."""
    net, (x, sigma) = network(), batch()
    before = net(x, sigma)
    with torch.no_grad():
        net.input_weight[2].mul_(5)
        net.hidden_weights[1, 3].mul_(0.1)
    assert_close(net(x, sigma), before, rtol=EPSILON, atol=EPSILON)


def test_same_generator_same_network() -> None:
    a, b, c = (TreeMLP(8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(a.hidden_weights, b.hidden_weights)
    assert not torch.equal(a.hidden_weights, c.hidden_weights)


def test_refusals() -> None:
    net, (x, sigma) = network(num_labels=2), batch()
    with pytest.raises(ValueError, match=r"label embedding \(5, 2\)"):
        net(x, sigma, torch.zeros(5, 3, dtype=DOUBLE))
    with pytest.raises(ValueError, match="label embedding"):
        network()(x, sigma, torch.zeros(5, 2, dtype=DOUBLE))
    for arguments in ((0,), (8, -1), (8, 0, 0.0)):
        with pytest.raises(ValueError, match="hidden"):
            TreeMLP(*arguments)
