"""Autoencoders of latents: how samples of latent models become images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from attrs import define, field
from torch import Tensor

from guideplug.errors import CheckpointError

__all__ = ["Autoencoder"]


@final
@define(eq=False)
class Autoencoder:
    """The decoder of an autoencoder that is in a local folder, diffusers' ``AutoencoderKL``, with the scale of latents.

    A call maps latents z (B, C, h, w) to images (B, 3, H, W) in [-1, 1]: ``decode((z - bias) / scale)``. `encoded` is
    its inverse on the mean and standard deviation that the encoder gives. The weights are read at the first call, as
    safetensors alone; nothing is fetched.

    Args:
        folder: of the autoencoder, with ``config.json``.
        scale, bias: per channel of a latent, or one number for all; EDM2's sheets have them.
    """

    folder: Path = field(converter=Path)
    scale: Sequence[float] = (1.0,)
    bias: Sequence[float] = (0.0,)
    _model: list[Any] = field(factory=list, init=False, repr=False)

    def __call__(self, latents: Tensor) -> Tensor:
        """The images (B, 3, H, W) of latents (B, C, h, w).

        Raises:
            CheckpointError: diffusers is not installed, or the folder holds no autoencoder.
        """
        model = self._loaded(latents.device)
        raw = (latents - self._column(self.bias, latents)) / self._column(self.scale, latents)
        with torch.no_grad():
            images: Tensor = model.decode(raw.to(next(model.parameters()).dtype)).sample
        return images.to(latents.dtype).clamp(-1, 1)

    def encoded(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Latents (B, C, h, w) from the encoder's mean and standard deviation, and unit noise of their shape."""
        return (mean + std * noise) * self._column(self.scale, mean) + self._column(self.bias, mean)

    @staticmethod
    def _column(values: Sequence[float], like: Tensor) -> Tensor:
        return torch.tensor(tuple(values), dtype=like.dtype, device=like.device)[:, None, None]

    def _loaded(self, device: torch.device) -> Any:
        if not self._model:
            try:
                from diffusers import AutoencoderKL  # seconds, and only latents need it
            except ImportError:
                raise CheckpointError(f"the autoencoder {self.folder} needs diffusers: pip install diffusers") from None
            try:
                read: Any = AutoencoderKL.from_pretrained
                model = read(self.folder, local_files_only=True, use_safetensors=True)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                why = (str(error).splitlines() or [type(error).__name__])[0]
                raise CheckpointError(
                    f"the autoencoder {self.folder} cannot be read ({why}): give its folder"
                ) from None
            self._model.append(model.eval().requires_grad_(False))
        return self._model[0].to(device)
