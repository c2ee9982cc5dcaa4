"""The exact denoiser of a mixture of Gaussians: of all of it, or of the class that is asked for.

D(x; s, c) is the closed form of `guideplug_mixture.density` for the components of class c; under the null label, which
is the number of classes, that of all. Cost: the components, once for each class.
"""

from typing import final

import torch
from torch import Tensor, nn

from guideplug import Condition, Leaf, Space
from guideplug_mixture.density import Gaussians

__all__ = ["ExactGaussians"]


@final
class ExactGaussians(Leaf):
    """The expected clean point.

    Args:
        space: of the points.
        density: of the data.
        classes: how many classes are conditions; none for a denoiser without conditions.
    """

    def __init__(self, space: Space, density: Gaussians, classes: int | None = None) -> None:
        super().__init__(space)
        parts = [density] if classes is None else [*(density.of(label) for label in range(classes)), density]
        self.parts, self.classes = nn.ModuleList(parts), classes

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        if self.classes is None:
            return self._of(0, x, sigma)
        assert isinstance(condition, Tensor)
        answers = torch.stack([self._of(number, x, sigma) for number in range(len(self.parts))])  # (classes + 1, B, 2)
        return answers.gather(0, condition[None, :, None].expand(1, -1, 2))[0]

    def _of(self, number: int, x: Tensor, sigma: Tensor) -> Tensor:
        part = self.parts[number]
        assert isinstance(part, Gaussians)
        return part.denoise(x, sigma)

    @property
    def has_null(self) -> bool:
        return self.classes is not None

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        if self.classes is None:
            return super().null_condition(batch, device)
        return torch.full((batch,), self.classes, device=device)
