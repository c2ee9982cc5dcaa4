"""Trainings of slow networks: checked, and reported, by time as well as by steps."""

import time

import pytest
import torch
from gaussian import AffineLeaf, GaussianData, training
from torch import Tensor

from guideplug import Condition, Duration, Leaf
from guideplug.errors import DivergenceError

torch.set_num_threads(1)


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> Leaf:
    """A network whose evaluation takes 3 seconds, by the clock."""
    clock, late = time.perf_counter, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + late[0])

    class Slow(AffineLeaf):
        def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
            late[0] += 3.0
            return super().denoise(x, sigma, condition)

    return Slow()


def test_it_is_checked_after_ten_seconds(learner: Leaf) -> None:
    now, checked = training(learner, duration="40it"), []
    now.run(each=lambda now: checked.append(now.step) if now.checked == now.step else None)
    assert checked == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]


def test_a_fast_one_is_checked_by_steps() -> None:
    now, checked = training(duration="70it"), []
    now.run(each=lambda now: checked.append(now.step) if now.checked == now.step else None)
    assert checked == [32, 64]


def test_what_is_not_finite_ends_it_within_the_time(learner: Leaf) -> None:
    now = training(learner, GaussianData(nan_at=5), duration="40it")
    with pytest.raises(DivergenceError, match="step 5"):
        now.run()
    assert now.step == 8


def test_a_resumed_one_waits_as_long(learner: Leaf) -> None:
    first = training(learner, duration="40it")
    first.run(until=Duration(6, "it"))
    again, checked = training(learner, duration="40it"), []
    again.load_state(*first.state())
    again.run(until=Duration(16, "it"), each=lambda now: checked.append(now.step) if now.checked == now.step else None)
    assert checked == [10, 14]
