"""Rewards: what else a weight is fitted for.

    L + gamma L_R,   L_R = -E R(D_w(x_t), c)

R is a function of the user's own code, named ``module:function`` or ``FILE.py:function``, that scores guided clean
predictions x0 (B, *) under their condition: one finite number a sample, differentiable in x0. A latent model's
predictions are decoded first. It is code and runs as such.

Source: A. Galashov et al. 2025, "Learn to guide your diffusion model", arXiv:2510.00815.
Cost: one call of R a batch, and its gradient.
"""

import torch
from attrs import field, frozen
from torch import Tensor

from guideplug import Condition, GuideplugError, OwnCode
from guideplug_learned.errors import LearnedError

__all__ = ["Reward"]


@frozen
class Reward:
    """A reward by its name."""

    place: str
    code: OwnCode = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "code", OwnCode(self.place, f"reward {self.place}"))

    def __call__(self, x: Tensor, condition: Condition) -> Tensor:
        """The scores of clean samples (B, *), (B,).

        Raises:
            LearnedError: it raises, or gives something else than one number a sample.
        """
        try:
            scores = self.code.load()(x, condition)
        except GuideplugError:
            raise
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise LearnedError(f"reward {self.place} raised {said} for x of shape {tuple(x.shape)}") from error
        if not isinstance(scores, Tensor) or scores.shape != (len(x),) or not scores.is_floating_point():
            shape = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
            kind = f" of {str(scores.dtype).removeprefix('torch.')}" if isinstance(scores, Tensor) else ""
            raise LearnedError(
                f"reward {self.place} returned {shape}{kind} for {len(x)} samples: return a tensor of {len(x)} numbers"
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
                    f"reward {self.place} is not finite for {bad} of {len(x)} samples of the data: return numbers"
                )
            if not scores.requires_grad:
                raise LearnedError(
                    f"reward {self.place} has no gradient: compute it of x by torch, without no_grad, detach or NumPy"
                )
