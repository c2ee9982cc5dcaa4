"""The types of a wrapped network: its inputs, and the samples beside it."""

import pytest
import torch
from torch import nn

from guideplug import Leaf, Space, VESchedule, VPSchedule, evaluate_together, wrap
from guideplug.adapters.input_type import input_type
from guideplug.errors import DenoiserError, DivergenceError
from guideplug.testing import GaussianDenoiser
from guideplug_edm import Euler, Heun

torch.set_num_threads(1)
X = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
HALVES = [torch.float16, torch.bfloat16]


class Typed(nn.Linear):
    """A layer that says in which type it computes, as networks of diffusers do."""

    dtype = torch.bfloat16


def kept_in_float32():
    """A network in bfloat16 whose first layer is kept in float32."""
    return nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 9).bfloat16(), nn.Linear(9, 4).bfloat16())


def stored_in_8_bits():
    network = nn.Sequential(nn.Linear(4, 40), nn.LayerNorm(40).bfloat16())
    network[0].weight = nn.Parameter(network[0].weight.to(torch.float8_e4m3fn), requires_grad=False)
    network[0].bias = nn.Parameter(network[0].bias.to(torch.float8_e4m3fn), requires_grad=False)
    return network


NETWORKS = {
    "its own dtype": (Typed(2, 2), torch.bfloat16),
    "around one that has it": (nn.Sequential(nn.Sequential(Typed(2, 2))), torch.bfloat16),
    "most weights": (kept_in_float32(), torch.bfloat16),
    "storage in 8 bits": (stored_in_8_bits(), torch.bfloat16),
    "no weights": (nn.Identity(), torch.float64),
    "integers alone": (nn.ParameterList([nn.Parameter(torch.ones(3, dtype=torch.int64), False)]), torch.float64),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_type_of_a_networks_inputs(name):
    network, dtype = NETWORKS[name]
    assert input_type(network, torch.float64) == dtype


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.uint8, "bfloat16", None])
def test_a_dtype_that_nothing_is_computed_in_is_passed_over(dtype):
    network = nn.Linear(2, 2).half()
    network.dtype = dtype
    assert input_type(network, torch.float32) == torch.float16


def test_conditions_and_x_go_in_in_the_networks_type_and_labels_as_they_are():
    calls = []

    class Network(nn.Module):
        dtype = torch.bfloat16

        def forward(self, x_t, time, text, added):
            calls.append([x_t.dtype, time.dtype, text.dtype, *(None if a is None else a.dtype for a in added)])
            return x_t

    point = wrap(Network(), (2,), predicts="epsilon", schedule=VPSchedule())
    denoised = point(X, 1.0, {"text": torch.ones(3, 2), "added": [torch.ones(3).long(), torch.ones(3).double(), None]})
    half = torch.bfloat16
    assert calls == [[half, torch.float32, half, torch.int64, half, None]]
    assert denoised.dtype == torch.float32


def test_a_function_is_given_what_it_is_told_to_take():
    types = []

    def network(x_t, time, text):
        types.append((x_t.dtype, text.dtype))
        return x_t

    wrap(network, (2,), predicts="denoised")(X, 1.0, X.double())
    point = wrap(network, (2,), predicts="denoised", dtype=torch.float16)
    assert point(X, 1.0, X.double()).dtype == torch.float32
    assert types == [(torch.float32, torch.float64), (torch.float16, torch.float16)]


@pytest.mark.parametrize("dtype", ["float16", torch.int64, float])
def test_a_type_that_no_network_computes_in_is_refused(dtype):
    with pytest.raises(TypeError, match=r"dtype is .*: give a floating-point type, such as torch.bfloat16"):
        wrap(nn.Identity(), (2,), predicts="denoised", dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_x_that_is_no_floating_point_tensor_is_refused(dtype):
    point, x = wrap(nn.Identity(), (2,), predicts="denoised"), torch.ones(3, 2).to(dtype)
    guided = point + 1.0 * (point - GaussianDenoiser())
    name = str(dtype).removeprefix("torch.")
    for evaluate in (
        lambda: point(x, 1.0),
        lambda: guided(x, 1.0),
        lambda: evaluate_together([point, guided], x, 1.0),
        lambda: Heun(num_steps=2).sample(guided, x),
    ):
        with pytest.raises(DenoiserError, match=f"x is of type {name}: noisy samples are floating-point") as caught:
            evaluate()
        assert "\n" not in str(caught.value)


# Half precision


class Timeless(nn.Linear):
    """A layer of x alone."""

    def forward(self, x_t, time):
        return super().forward(x_t)


class Mixture(nn.Module):
    """The velocity v of a mixture of wide Gaussians, exact but for its type."""

    def __init__(self, dtype):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1, dtype=dtype))
        self.means = torch.randn(8, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def forward(self, x_t, time):
        schedule = VPSchedule()
        sigma = schedule.sigma(time.double())[:, None]
        alpha = schedule.alpha(sigma)
        x, variance = x_t.double() / alpha, 0.5**2 + sigma**2
        shares = (-(x[:, None] - self.means).square().sum(2) / (2 * variance)).softmax(1)
        denoised = (sigma**2 * (shares @ self.means) + 0.5**2 * x) / variance
        return (alpha * (x - denoised) / sigma - sigma * alpha * denoised).to(x_t.dtype)


def point_of(dtype):
    return wrap(Mixture(dtype), (16,), predicts="v", schedule=VPSchedule())


@pytest.mark.parametrize("sampler", [Euler(num_steps=10), Heun(num_steps=10)], ids=lambda sampler: sampler.name)
@torch.no_grad()
def test_samples_stay_in_float32_beside_a_network_in_half_precision(sampler):
    exact, half = point_of(torch.float64), point_of(torch.bfloat16)
    start = sampler.sigmas(exact)[0] * torch.randn(300, 16, generator=torch.Generator().manual_seed(1))
    start = start.bfloat16()
    truth = sampler.sample(exact, start.double())

    def error(samples):
        return float((samples.double() - truth).norm() / truth.norm())

    *_, in_half = sampler.steps(half, start)
    samples = sampler.sample(half, start)
    assert samples.dtype == torch.bfloat16
    assert torch.equal(samples, sampler.sample(half, start.float()).bfloat16())
    assert error(samples) < 0.5 * error(in_half.x)


class HalfLeaf(Leaf):
    """A network of one's own, all in half precision."""

    def __init__(self):
        super().__init__(Space((2,)))
        self.layer = nn.Linear(2, 2).bfloat16()

    def denoise(self, x, sigma, condition):
        assert sigma.dtype == x.dtype
        return self.layer(x)


def test_a_network_of_ones_own_is_sampled_in_its_type():
    assert Euler(num_steps=2).sample(HalfLeaf(), X.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", HALVES)
def test_levels_keep_their_precision_beside_x_in_half(dtype):
    """0.3 in bfloat16 is 0.3008, and 80,000 in float16 is none."""
    times = []
    point = wrap(lambda x_t, time: times.append(time) or x_t, (2,), predicts="denoised", dtype=dtype,
                 schedule=VESchedule(sigma_max=1e5))  # fmt: skip
    point(X.to(dtype), 0.3)
    point(X.to(dtype), 8e4)
    assert [time[0].item() for time in times] == pytest.approx([0.3, 8e4])


@pytest.mark.parametrize(("dtype", "weight"), [(torch.float16, 1e6), (torch.bfloat16, 1e39), (torch.float32, 1e39)])
def test_a_weight_above_what_the_type_holds_is_a_divergence(dtype, weight):
    main, guide = (wrap(Timeless(2, 2).to(dtype), (2,), predicts="denoised") for _ in range(2))
    x = X.to(dtype)
    for guided in (main + weight * (main - guide), guide + (1 - weight) * (main - guide)):
        with pytest.raises(DivergenceError) as caught:
            guided(x, 0.5)
        assert str(caught.value).startswith("guidance diverged at sigma 0.5: the coefficient ")
        assert f"is more than {str(dtype)[6:]} holds, {torch.finfo(dtype).max:.4g}; give a small" in str(caught.value)


def test_a_large_weight_is_none_too_large_for_samples_in_float32():
    main, guide = (wrap(Timeless(2, 2).half(), (2,), predicts="denoised") for _ in range(2))
    assert (main + 1e6 * (main - guide))(X, 0.5).isfinite().all()
