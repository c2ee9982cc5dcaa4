"""Rewards: what else a weight is fitted for.

    L + gamma L_R,   L_R = -E R(D_w(x_t), c)

R scores guided clean predictions x0 (B, *) under their condition: one finite number per sample, differentiable in x0.
It is a reward that a plugin offers, or a function of the user's own code, named ``module:function`` or
``FILE.py:function``, which is code and runs as such. A latent model's predictions are decoded first.

Source: A. Galashov et al. 2025, "Learn to guide your diffusion model", arXiv:2510.00815.
Cost: one call of R a batch, and its gradient.
"""

from collections.abc import Callable

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Condition, GuideplugError, PythonRef, Reward, named, select_rows
from guideplug_learned.errors import LearnedError

__all__ = ["Scores"]


@frozen
class Scores:
    """The validated scores of a reward, or of a function by its name."""

    reward: Reward | str

    @property
    def who(self) -> str:
        """What messages call it."""
        return f"reward {self.reward}" if isinstance(self.reward, str) else named(self.reward)

    def digest(self) -> str:
        """The hash of a function's code; of a plugin's reward nothing, for its identity knows its code."""
        return PythonRef(self.reward, self.who).digest() if isinstance(self.reward, str) else ""

    def _function(self) -> Callable[[Tensor, Condition], object]:
        return PythonRef(self.reward, self.who).load() if isinstance(self.reward, str) else self.reward.score

    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        """The scores of clean samples (B, *), (B,).

        Raises:
            LearnedError: it raises, or gives something else than one number per sample.
        """
        try:
            scores = self._function()(x, condition)
        except GuideplugError:
            raise
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise LearnedError(f"{self.who} raised {said} for x of shape {tuple(x.shape)}") from error
        if not isinstance(scores, Tensor) or scores.shape != (len(x),) or not scores.is_floating_point():
            shape = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
            kind = f" of {str(scores.dtype).removeprefix('torch.')}" if isinstance(scores, Tensor) else ""
            raise LearnedError(
                f"{self.who} returned {shape}{kind} for {len(x)} samples: return a tensor of {len(x)} numbers"
            )
        return scores

    def check(self, x: Tensor, condition: Condition) -> None:
        """Try it on a few clean samples.

        Raises:
            LearnedError: its scores are not finite, or have no gradient.
        """
        asked = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            scores = self(asked, condition)
            if not bool(torch.isfinite(scores).all()):
                bad = int((~torch.isfinite(scores)).sum())
                raise LearnedError(
                    f"{self.who} is not finite for {bad} of {len(x)} samples of the data: return numbers"
                )
            half = len(x) // 2
            if half and not torch.allclose(
                self(asked[:half], select_rows(condition, slice(half))), scores[:half], rtol=1e-2
            ):
                raise LearnedError(
                    f"{self.who} scores a sample otherwise in another batch: treat each row by itself, no mean over it"
                )
            if not scores.requires_grad:
                raise LearnedError(
                    f"{self.who} has no gradient: compute it of x by torch, without no_grad, detach or NumPy"
                )
