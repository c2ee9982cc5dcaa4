"""Training in fp16: the scale of the loss, and steps that are left out."""

import pytest
import torch
from gaussian import AffineLeaf, resumed, training
from torch import Tensor, nn

from guideplug import Condition, Duration
from guideplug.errors import DivergenceError
from guideplug.train import Training

torch.set_num_threads(1)


class Linear(AffineLeaf):
    """D = A x, whose arithmetic autocast narrows; notes its type."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.linear = nn.Linear(2, 2)
        self.types: set[torch.dtype] = set()

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        inner = self.linear(x)
        self.types.add(inner.dtype)
        return inner / (1 + sigma**2)[:, None] + 0.0 * (self.w + self.b)


class Overflowing(Linear):
    """Its gradients overflow where the scale of the loss is above a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        denoised = super().denoise(x, sigma, condition)
        if denoised.requires_grad:
            denoised.register_hook(self.spoiled)
        return denoised

    def spoiled(self, gradient: Tensor) -> Tensor:
        return gradient * float("inf") if self.now.scaler.get_scale() > self.limit else gradient


def overflowing(limit: float, **options: object) -> Training:
    learner = Overflowing(limit)
    now = training(learner, precision="fp16", weighting="uniform", **options)
    learner.__dict__["now"] = now
    return now


@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"optimizer": "sgd"}, {"optimizer": "sgd", "clip": 0.05}])
def test_the_scale_cancels(options: dict[str, object]) -> None:
    options = {"weighting": "uniform", **options}
    narrow, wide = training(Linear(), precision="fp16", **options), training(Linear(), **options)
    assert narrow.scaler.get_scale() == 2.0**16
    narrow.scaler.load_state_dict({**narrow.scaler.state_dict(), "scale": 2.0**10})  # below every overflow here
    narrow.run()
    wide.run()
    assert narrow.learner.types == {torch.float16}
    assert wide.learner.types == {torch.float32}
    assert narrow.counters.skipped == 0
    moved = wide.learner.linear.weight.detach() - Linear().linear.weight.detach()
    error = narrow.learner.linear.weight.detach() - wide.learner.linear.weight.detach()
    assert 0 < error.norm() < 0.05 * moved.norm()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_step_that_overflows_is_left_out_and_the_scale_halves(optimizer: str) -> None:
    now = overflowing(2.0**14, optimizer=optimizer)
    before = now.learner.linear.weight.detach().clone()
    now.run(until=Duration(2, "it"))
    assert torch.equal(now.learner.linear.weight, before)
    assert now.counters.skipped == 2
    assert now.scaler.get_scale() == 2.0**14
    now.run()
    assert not torch.equal(now.learner.linear.weight, before)
    assert now.counters.skipped == 2


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_the_scale_goes_on_where_it_was(stop: int) -> None:
    def fresh() -> Training:
        return overflowing(2.0**14)

    whole, first = fresh(), fresh()
    whole.run()
    first.run(until=Duration(stop, "it"))
    again = resumed(first, fresh)
    assert again.scaler.state_dict() == first.scaler.state_dict()
    again.run()
    assert torch.equal(again.learner.linear.weight, whole.learner.linear.weight)
    assert again.scaler.state_dict() == whole.scaler.state_dict()
    assert again.counters.skipped == whole.counters.skipped == 2


def test_an_overflow_at_every_scale_is_a_divergence_with_the_way_out() -> None:
    now = overflowing(0.0, duration="64it")
    with pytest.raises(DivergenceError, match=r"in fp16 the gradients overflow .* or precision=bf16"):
        now.run()
