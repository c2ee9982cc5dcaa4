"""Augmentation while training, by a function of the user's own, such as a `Compose` of torchvision's v2 transforms.

The function takes one image, uint8 (C, H, W), and returns one of the same shape and type. It draws from the global
generators of torch, NumPy and Python, which are seeded per image by (seed, step, place in the batch) and restored.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import PythonRef, TrainingStreams
from guideplug_images.collection import ImageError
from guideplug_images.randomness import restored_random_numbers, seed_random_numbers

__all__ = ["Augmentation"]


@final
@frozen
class Augmentation:
    """A function of images.

    Args:
        who: the beginning of messages, with the function's name.
        function: uint8 (C, H, W) to the same shape and type.
        content: the hash of its code.
    """

    who: str
    function: Callable[[Tensor], Any]
    content: str

    @classmethod
    def load(cls, place: str) -> "Augmentation":
        """The function that ``module:function`` or ``FILE.py:function`` names; it runs as code.

        Raises:
            RecipeError, TrustError: it cannot be loaded, or may not run.
        """
        who = f"augment {place}"
        code = PythonRef(place, who)
        return cls(who, code.load(), code.digest())

    def __call__(self, images: Tensor, streams: TrainingStreams) -> Tensor:
        """Images (B, C, H, W), uint8 on the CPU, each augmented.

        Raises:
            ImageError: the function raises, or returns something else.
        """
        generator = streams.generator("augmentation", "cpu")
        seeds = torch.randint(2**32, (len(images),), generator=generator).tolist()
        with restored_random_numbers():
            return torch.stack([self._one(image, seed) for image, seed in zip(images, seeds, strict=True)])

    def _one(self, image: Tensor, seed: int) -> Tensor:
        shape = tuple(image.shape)
        seed_random_numbers(seed)
        try:
            changed = self.function(image)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ImageError(f"{self.who} raised {reason}, for an image uint8 {shape}") from error
        if not isinstance(changed, Tensor):
            raise ImageError(f"{self.who} returned {type(changed).__name__}: return a tensor uint8 {shape}")
        if changed.dtype != torch.uint8 or tuple(changed.shape) != shape:
            raise ImageError(
                f"{self.who} returned {changed.dtype} {tuple(changed.shape)}: return uint8 {shape}, as it is given"
            )
        return changed
