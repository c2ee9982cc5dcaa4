"""Rewards that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

import torch
from defects import broken
from torch import Tensor

from guideplug import (
    Condition,
    Reward,
)
from guideplug.testing.rewards import REWARD, RewardCase

torch.set_num_threads(1)


def test_a_rewards_defect() -> None:
    class Likes(Reward):
        """Small samples."""

        name = "likes"

        def score(self, x0: Tensor, condition: Condition) -> Tensor:
            return -x0.square().sum(1) + x0.mean()

    found = broken(REWARD, RewardCase(Likes(), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))))
    assert list(found) == ["a score does not depend on the other samples"]
