"""The laws of a reward: a finite number per sample, of that sample alone, with a gradient."""

from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from guideplug.denoise import Condition, select_rows
from guideplug.reward import Reward
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import close, no_global_draws
from guideplug.testing.strategies import STRATEGY

__all__ = ["REWARD", "RewardCase", "check_reward"]


@frozen(eq=False)
class RewardCase:
    """A reward under test, and suitable clean samples."""

    reward: Reward
    x0: Tensor
    condition: Condition = None

    def scores(self) -> tuple[Tensor, Tensor]:
        """The evaluated samples, and their scores."""
        x = self.x0.detach().clone().requires_grad_()
        return x, self.reward.score(x, self.condition)


REWARD: Laws[RewardCase] = Laws()


def check_reward(reward: Reward, x0: Tensor, condition: Condition = None) -> None:
    """The laws of a reward: a finite number for each of a few samples, of that sample alone, with a gradient.

    Args:
        reward: the reward.
        x0: suitable clean samples (B, *), B > 1.
        condition: their condition.
    """
    STRATEGY.check(reward)
    REWARD.check(RewardCase(reward, x0, condition))


@REWARD.add("no draw from a global generator", "a score is a function of the sample and its condition")
def _draws_nothing(case: RewardCase) -> None:
    with no_global_draws():
        case.scores()


@REWARD.add("samples are left as they are", "compute out of place: x0 * 2, not x0.mul_(2)")
def _samples_stay(case: RewardCase) -> None:
    x, _ = case.scores()
    must(torch.equal(x.detach(), case.x0))


@REWARD.add("each sample has one number", "return scores (B,): sum or average over the other axes", premise=True)
def _numbers(case: RewardCase) -> None:
    scores: Any = case.scores()[1]
    must(isinstance(scores, Tensor), f"it gave a {type(scores).__name__}")
    must(scores.shape == (len(case.x0),), f"{len(case.x0)} samples gave {tuple(scores.shape)}")


@REWARD.add("scores are finite", "clamp what overflows, such as an exponent")
def _finite(case: RewardCase) -> None:
    must(bool(torch.isfinite(case.scores()[1]).all()))


@REWARD.add("scores have a gradient", "compute with torch operations on x0; no detach, no .item()", premise=True)
def _gradient(case: RewardCase) -> None:
    must(case.scores()[1].requires_grad)


def _slope(case: RewardCase) -> Tensor:
    x, scores = case.scores()
    return torch.autograd.grad(scores[0], x)[0]


@REWARD.add("the gradient is finite", "take roots and logarithms of what is bounded away from 0")
def _finite_gradient(case: RewardCase) -> None:
    must(bool(torch.isfinite(_slope(case)).all()))


@REWARD.add("a score does not depend on the other samples", "treat each row by itself: no mean over the batch")
def _alone(case: RewardCase) -> None:
    must(not bool(_slope(case)[1:].any()))


@REWARD.add("the order of the batch does not matter", "treat each row by itself")
def _order(case: RewardCase) -> None:
    x0, scores = case.x0, case.scores()[1].detach()
    rows = torch.arange(len(x0) - 1, -1, -1)
    turned = case.reward.score(x0[rows], select_rows(case.condition, rows))
    must(close(turned, scores[rows]))
