"""Extrapolation in weight space: SIMS where the network is linear, one call, and what it refuses."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from guideplug import Condition, Denoiser, DenoiserError, Guider, Leaf, Space, tally, wrap
from guideplug.config import Reader
from guideplug.denoise import Count, calls
from guideplug.errors import GuideplugError
from guideplug.registry.registry import Registry
from guideplug.run.resolve import Request, resolve
from guideplug.testing import GaussianDenoiser, check_guider
from guideplug_edm import Euler
from guideplug_sims import SIMS, Extrapolation

torch.set_num_threads(1)

REGISTRY = Registry.installed()


class Linear(Leaf):
    """Linear in its parameters: W x + b + sigma e, e of a label where there are labels."""

    offset: Tensor
    steps: Tensor

    def __init__(self, seed: int, labels: bool = False, hidden: int = 0) -> None:
        super().__init__(Space(shape=(2,)))
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(2, 2, generator=generator))
        self.labels = nn.Parameter(torch.randn(4, 2, generator=generator)) if labels else None
        self.extra = nn.Parameter(torch.randn(hidden, generator=generator)) if hidden else None
        self.register_buffer("offset", torch.randn(2, generator=generator))
        self.register_buffer("steps", torch.tensor(seed))

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        answer = x @ self.weight.T + self.offset
        if self.labels is None:
            return answer
        assert isinstance(condition, Tensor)
        return answer + sigma[:, None] * self.labels[condition]

    @property
    def has_null(self) -> bool:
        return self.labels is not None

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), 3, device=device)


def noisy(count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, 2, generator=generator), torch.randint(3, (count,), generator=generator)


def guided(omega: float, base: Denoiser, other: Denoiser) -> Any:
    return Extrapolation(omega).guide(base, {"synthetic": other})


@pytest.mark.parametrize("omega", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("labels", [False, True])
def test_where_the_network_is_linear_in_its_weights_it_is_sims(omega: float, labels: bool) -> None:
    base, copied = Linear(0, labels), Linear(1, labels)
    x, condition = noisy()
    one, two = guided(omega, base, copied), SIMS(omega).guide(base, {"synthetic": copied})
    for ask in (lambda d: d, lambda d: d.under(condition.flip(0)), lambda d: d.trajectory()):
        torch.testing.assert_close(ask(one)(x, 0.7, condition), ask(two)(x, 0.7, condition), rtol=1e-5, atol=1e-5)
    if labels:
        torch.testing.assert_close(one.unconditional()(x, 0.7), two.unconditional()(x, 0.7), rtol=1e-5, atol=1e-5)


def test_to_first_order_it_is_sims() -> None:
    """Of a network that is not linear, the two differ by the square of how far the copy is."""

    def network(step: float) -> Leaf:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        with torch.no_grad():
            for number, parameter in enumerate(net.parameters()):
                parameter += step * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        return _of(net)

    x, _ = noisy(64)
    gaps = []
    for step in (0.08, 0.04, 0.02):
        base, copied = network(0.0), network(step)
        one, two = guided(1.0, base, copied), SIMS(1.0).guide(base, {"synthetic": copied})
        gaps.append(float((one(x.double(), 0.5) - two(x.double(), 0.5)).detach().norm()))
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.15)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.15)


class _Net(Leaf):
    def __init__(self, net: nn.Module) -> None:
        super().__init__(Space(shape=(2,)))
        self.net = net

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        answer: Tensor = self.net(x)
        return answer


def _of(net: nn.Module) -> Leaf:
    return _Net(net).double()


def test_the_laws_that_hold_for_a_guider_of_trained_networks() -> None:
    check_guider(
        Extrapolation,
        models=lambda kind: {"synthetic": Linear(1, kind == "labels")},
        base=lambda kind: Linear(0, kind == "labels"),
    )


def test_off_it_is_the_base_itself() -> None:
    base = Linear(0)
    assert guided(0.0, base, Linear(1)) is base
    composed = base + 0.5 * (base - Linear(2))
    assert guided(0.0, composed, Linear(1)) is composed


def test_it_is_one_network_more_and_neither_of_the_two_is_called_or_changed() -> None:
    base, copied = Linear(0), Linear(1)
    before = [{name: value.clone() for name, value in net.state_dict().items()} for net in (base, copied)]
    point = guided(2.0, base, copied)
    x, _ = noisy()
    with tally() as counts:
        point(x, 0.7)
    assert dict(counts.counts) == {point: Count(1, 5)}
    assert calls(point, 0.7) == {point: Count(1, 1)}
    assert isinstance(point, Linear)
    assert (point.role, base.role) == ("extrapolated 2", "network")
    torch.testing.assert_close(point.weight, 3 * base.weight - 2 * copied.weight)
    torch.testing.assert_close(point.offset, 3 * base.offset - 2 * copied.offset)
    assert int(point.steps) == 0  # the base's: a counter cannot be extrapolated
    with torch.no_grad():
        point.weight.zero_()
    for net, known in zip((base, copied), before, strict=True):
        assert all(torch.equal(value, known[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_is_of_the_bases_type(dtype: torch.dtype) -> None:
    base, copied = Linear(0).to(dtype), Linear(1)
    point = guided(1.0, base, copied)
    assert {value.dtype for name, value in point.state_dict().items() if name != "steps"} == {dtype}
    wanted = 2 * base.weight.double() - copied.weight.double()
    torch.testing.assert_close(point.weight.double(), wanted, rtol=1e-2 if dtype == torch.bfloat16 else 1e-7, atol=1e-7)


def test_equal_tensors_stay_bit_for_bit_and_tied_ones_tied() -> None:
    base, copied = Linear(0), Linear(1)
    copied.offset.copy_(base.offset)
    assert torch.equal(guided(1.7, base, copied).offset, base.offset)

    def tied(scale: float) -> Leaf:
        one = nn.Linear(2, 2)
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.fill_(scale)
        return _of(nn.Sequential(one, one))

    point = guided(1.0, tied(1.0), tied(0.75))
    assert point.net[0].weight is point.net[1].weight
    assert float(point.net[0].weight[0, 0].detach()) == 1.25


def test_an_adapted_network_of_ones_own() -> None:
    nets = [nn.Linear(2, 2), nn.Linear(2, 2)]

    class Timed(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            answer: Tensor = self.inner(x)
            return answer

    base, copied = (wrap(Timed(net), (2,), predicts="denoised") for net in nets)
    x, _ = noisy()
    expected = SIMS(1.0).guide(base, {"synthetic": copied})(x, 0.7)
    torch.testing.assert_close(guided(1.0, base, copied)(x, 0.7), expected)


def refused() -> Iterator[Any]:
    base, copied = Linear(0), Linear(1)
    composed = base + 0.5 * (base - copied)
    yield pytest.param(composed, copied, "what is guided is made of several answers", id="composed base")
    yield pytest.param(base, composed, "synthetic is made of several answers", id="composed copy")
    yield pytest.param(GaussianDenoiser(), copied, "is a GaussianDenoiser without parameters", id="closed form")
    yield pytest.param(base, GaussianDenoiser(), "synthetic is a GaussianDenoiser without", id="closed copy")
    yield pytest.param(base, Linear(1, labels=True), "labels is none in one and (4, 2) in the other", id="more")
    yield pytest.param(Linear(0, hidden=3), Linear(1), "extra is (3,) in one and none in the other", id="fewer")
    yield pytest.param(
        Linear(0, hidden=3), Linear(1, hidden=4), "extra is (3,) in one and (4,) in the other", id="size"
    )


@pytest.mark.parametrize(("base", "other", "said"), list(refused()))
def test_networks_whose_weights_cannot_be_combined_are_refused_in_one_line(
    base: Denoiser, other: Denoiser, said: str
) -> None:
    with pytest.raises(DenoiserError) as caught:
        guided(1.0, base, other)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_inside_an_interval_the_extrapolated_network_is_called_and_outside_the_base() -> None:
    base, copied = Linear(0), Linear(1)
    guider = Reader(REGISTRY).expression("interval(extrapolation(omega=1), high=0.3)", Guider)
    point = guider.guide(base, {"synthetic": copied})
    x, _ = noisy()
    for sigma, inside in ((0.2, True), (0.3, True), (0.5, False)):
        with tally() as counts:
            value = point(x, sigma)
        ((called, count),) = counts.counts.items()
        assert (called is base) is not inside
        assert count == Count(1, 5)
        expected = SIMS(1.0).guide(base, {"synthetic": copied}) if inside else base
        torch.testing.assert_close(value, expected(x, sigma))


def test_blended_with_cfg() -> None:
    base, copied = Linear(0, labels=True), Linear(1, labels=True)
    x, condition = noisy()
    values = []
    for name in ("extrapolation", "sims"):
        guider = Reader(REGISTRY).expression(f"blend([cfg(weight=3), {name}], shares=[0.5, 1])", Guider)
        point = guider.guide(base, {"synthetic": copied})
        with tally() as counts:
            values.append(point(x, 0.7, condition))
        assert counts[base].calls == 1
        assert len(counts.counts) == 2
        values.append(Euler(num_steps=3).sample(point, x, condition))
    torch.testing.assert_close(values[0], values[2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values[1], values[3], rtol=1e-4, atol=1e-4)


def test_it_asks_for_the_copy_that_sims_asks_for() -> None:
    asked = [
        resolve(Request({"task": task, "guider": f"{name}{options}", "device": "cpu"}), REGISTRY).models
        for name in ("sims", "extrapolation")
        for task, options in (("tree", ""), ("digits", ""), ("tree", "(count=100, budget=3.2kex, lr=0.5, model=own)"))
    ]
    assert asked[:3] == asked[3:]
    both = Request({"task": "tree", "guider": "blend([sims, extrapolation])", "device": "cpu"})
    assert set(resolve(both, REGISTRY).models) == {"synthetic"}


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("extrapolation(omega=-1)", "omega is -1.0: it must be finite and at least 0"),
        ("extrapolation(count=0)", "count is 0: it must be at least 1"),
        ("extrapolation(lr=0)", "lr is 0.0: it must be positive"),
        ("extrapolation(budget=5)", "is no duration"),
    ],
)
def test_bad_options_are_refused_in_one_line(expression: str, said: str) -> None:
    with pytest.raises(GuideplugError) as caught:
        Reader(REGISTRY).expression(expression, Guider)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_two_have_alike_stays() -> None:
    """An infinity in a mask too, whose difference would be no number."""
    base, copied = Linear(0), Linear(1)
    for network in (base, copied):
        network.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    point = guided(2.0, base, copied)
    assert torch.equal(point.get_buffer("mask"), torch.tensor([0.0, -torch.inf]))
