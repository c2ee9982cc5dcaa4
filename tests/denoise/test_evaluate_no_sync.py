"""Nothing between two steps waits for an accelerator: no value on the device decides anything."""

import pytest
import torch
from attrs import frozen
from torch.utils._python_dispatch import TorchDispatchMode

from guideplug.denoise import Change, Combine, Gate, GradientGuided, View, Weight, WeightSchedule, on_device, perturbed
from guideplug.recipes.degraded import DegradedDenoiser
from guideplug.registry.registry import Registry
from guideplug.rng import SampleStreams
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition

WAITS = ("_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "bincount")


class NoWaiting(TorchDispatchMode):
    """Raises on operations whose result the host needs, and on copies between devices."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function._schema.name.removeprefix("aten::")
        if name in WAITS or name.startswith("_unique"):
            raise AssertionError(f"{name} waits for the device")
        if name in ("index", "index_put", "index_put_"):
            masks = [index for index in arguments[1] if index is not None and index.dtype == torch.bool]
            assert not masks, "indexing by a mask waits for the device"
        keywords = keywords or {}
        if name == "_to_copy":
            target = keywords.get("device") or arguments[0].device
            assert target == arguments[0].device, f"a copy from {arguments[0].device} to {target} waits for the device"
        return function(*arguments, **keywords)


class Learned(Weight):
    """A weight that stays on the device, a value a sample."""

    def __init__(self):
        super().__init__()
        self.shares = torch.nn.Parameter(torch.linspace(0, 1, 3))

    def forward(self, at):
        return self.shares * (at.sigma / (1 + at.sigma))


@frozen
class Doubled(Change):
    """Two rows a sample, at another level."""

    copies = 2

    def level(self, sigma):
        return 2 * sigma

    def inputs(self, x, sigma):
        return torch.cat([x, -x])

    def answer(self, denoised, x, sigma):
        return denoised.unflatten(0, (2, -1)).mean(0)


@frozen
class Falling(WeightSchedule):
    """A schedule that waits for no tensor; its view's levels are twice as high."""

    name = "falling"
    least = 0.0

    def at(self, at):
        return 1 - at.sigma / (at.sigma + at.space.sigma_max)


class Peeking(Weight):
    def forward(self, at):
        return float(torch.tensor(0.5))


def heun(**options):
    cls = Registry.installed().find("sampler", "heun")
    if isinstance(cls, str):
        pytest.skip("heun is not installed")
    return cls(num_steps=8, sigma_max=5.0, **options)


def walk(point, kind, sampler, device="cpu"):
    """The states of a trajectory; on the meta device, which has no values, whatever looks at one fails by itself."""
    generator = torch.Generator().manual_seed(0)
    x = (5 * torch.randn(3, 2, generator=generator)).to(device)
    condition = on_device(example_condition(kind, 3, generator), x.device)
    streams = SampleStreams(0, range(3))
    point.to(device)(x, 2.0, condition)  # what is copied there once is there now
    with torch.no_grad(), NoWaiting():
        return [state.x for state in sampler.steps(point, x, condition, streams)]


def hill(x, sigma, condition):
    return -(x**2).sum(1) / (1 + sigma**2)


def guided_by_everything(kind):
    """Gates, a weight on the device, functions, gradients, a null and a fixed condition."""
    base, weak, guide = (GaussianDenoiser(mean, conditioning=kind) for mean in (0.1, 0.4, 0.7))
    clipped = Combine([base, weak], lambda outputs, x, sigma: (2 * outputs[0] - outputs[1]).clamp(-1, 1))
    elsewhere = View(base + Gate(0.3) * (base - DegradedDenoiser(weak, noise=0.1)), Doubled())
    guided = base + Gate(0.2, 1.0) * 2 * (base - weak) + Learned() * (guide - base) + 0.5 * Gate(0.1) * (clipped - base)
    guided = guided + (Falling() - 0.5) * Learned() * (base - guide)
    guided = guided + 0.1 * (guided - perturbed(base, "skip-layer")) + 0.2 * (base - elsewhere)
    guided = (
        guided
        + 0.1 * Gate(0.1) * (GradientGuided(base, hill) - base)
        + 0.1 * (GradientGuided(clipped, hill, through=True) - base)
    )
    if kind != "none":
        negative = example_condition(kind, 1, torch.Generator().manual_seed(1))
        guided = guided + (base - base.unconditional()) + Gate(1.0) * Learned() * (base - base.under(negative))
    return guided


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("options", [{}, {"churn": 4.0}])
def test_a_guided_trajectory_does_not_wait(kind, options):
    ends = walk(guided_by_everything(kind), kind, heun(**options))
    assert len(ends) == 8
    assert torch.isfinite(ends[-1]).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_guided_trajectory_on_a_device_copies_nothing(kind):
    ends = walk(guided_by_everything(kind), kind, heun(), "meta")
    assert len(ends) == 8
    assert ends[-1].device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks CUDA itself")
@pytest.mark.parametrize("kind", CONDITIONS)
def test_cuda_sees_no_synchronisation(kind):
    generator = torch.Generator().manual_seed(0)
    x = 5 * torch.randn(3, 2, generator=generator).cuda()
    condition = on_device(example_condition(kind, 3, generator), x.device)
    point = guided_by_everything(kind).cuda()
    point(x, 2.0, condition)  # what is copied there once is there now
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.synchronize()
    with torch.no_grad():
        try:
            torch.cuda.set_sync_debug_mode("error")
            ends = [state.x for state in heun().steps(point, x, condition)]
        finally:
            torch.cuda.set_sync_debug_mode(before)
    assert torch.isfinite(ends[-1]).all()


@pytest.mark.parametrize("wait", [
    lambda: float(torch.ones(1)),
    lambda: bool(torch.ones(1) > 0),
    lambda: torch.ones(2).max().item(),
    lambda: torch.ones(2).nonzero(),
    lambda: torch.ones(2)[torch.tensor([True, False])],
    lambda: torch.equal(torch.ones(1), torch.ones(1)),
])  # fmt: skip
def test_the_watch_sees_what_waits(wait):
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        wait()


def test_the_watch_sees_a_weight_that_looks_into_a_tensor():
    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    with pytest.raises(AssertionError, match="_local_scalar_dense"):
        walk(base + Peeking() * (base - weak), "none", heun())
