"""DINOv2, in whose features the Fréchet distance is FD-DINOv2.

Images are resized to 224 x 224, bicubic and antialiased, scaled to [0, 1] and standardised by ImageNet's mean and
deviation. The features are the class token after the last norm: 1,024 of ViT-L/14. Weights that were trained at 518 x
518 have 37 x 37 position embeddings; they are interpolated to 16 x 16 as DINOv2's code does, bicubic, without
antialiasing, the positions scaled by 16.1 / 37. Sources: M. Oquab et al. 2023, "DINOv2: Learning Robust Visual Features
without Supervision", arXiv:2304.07193; G. Stein et al. 2023, arXiv:2306.04675 (for generated images); T. Karras et al.
2024, arXiv:2312.02696 (EDM2, whose FD-DINOv2 this is). Cost: 81 billion multiplications per image.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional as F

from guideplug import ConfigError, Features, Source, absolute_path, file_digest, option, read_weights
from guideplug_features.pixels import standardised
from guideplug_features.weights import filled

__all__ = ["DINOv2", "positions_at"]

SIZE, PATCH = 224, 14
OFFSET = 0.1
"""Added to the number of patches by DINOv2's code before it is divided by that of the weights."""


@final
@frozen
class DINOv2(Features):
    """The class token of DINOv2, 1,024 features of ViT-L/14: those of FD-DINOv2."""

    name = "dinov2"
    statistics_key = "fd_dinov2"
    libraries: ClassVar[Mapping[str, str]] = {"timm": "guideplug-features[timm]"}
    source = Source(
        "G. Stein, J. Cresswell, R. Hosseinzadeh, Y. Sui, B. Ross, V. Villecroze, Z. Liu, A. Caterini, E. Taylor, "
        "G. Loaiza-Ganem",
        2023,
        "Exposing flaws of generative model evaluation metrics and their unfair treatment of diffusion models",
        "https://arxiv.org/abs/2306.04675",
    )
    path: str = option(
        help="the weights, by Meta's names or timm's, such as dinov2_vitl14_pretrain.pth",
        identity=False,
        converter=absolute_path,
    )
    network: str = option("vit_large_patch14_dinov2", help="timm's name of the network: another size of DINOv2")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """The smallest network, with weights at random."""
        import timm

        path, network = folder / "dinov2.pth", "vit_small_patch14_dinov2"
        torch.save(timm.create_model(network, pretrained=False, num_classes=0, img_size=SIZE).state_dict(), path)
        return {"path": str(path), "network": network}

    def load(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        self.check_libraries()
        import timm

        if not self.network.endswith("dinov2") or self.network not in timm.list_models():
            known = ", ".join(timm.list_models("*patch14_dinov2"))
            raise ConfigError(f"network is {self.network!r}: give one of {known}")
        tensors = read_weights(self.path)
        tensors.pop("mask_token", None)  # of training alone
        if "pos_embed" in tensors:
            tensors["pos_embed"] = positions_at(tensors["pos_embed"], SIZE // PATCH)

        def make() -> nn.Module:
            return timm.create_model(self.network, pretrained=False, num_classes=0, img_size=SIZE)

        network = filled(make, tensors, self.path, device)

        def features(images: Tensor) -> Tensor:
            answer: Tensor = network(standardised(images.to(device), SIZE, "bicubic"))
            return answer

        return features

    def content(self) -> str:
        return file_digest(Path(self.path))


def positions_at(embeddings: Tensor, side: int) -> Tensor:
    """Position embeddings (1, 1 + n n, D), the first of the class token, for side x side patches."""
    count = round((embeddings.shape[1] - 1) ** 0.5)
    if count == side:
        return embeddings
    token, grid = embeddings[:, :1].float(), embeddings[:, 1:].float().mT.reshape(1, -1, count, count)
    scale = (side + OFFSET) / count
    grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", recompute_scale_factor=False)
    return torch.cat([token, grid.flatten(2).mT], 1)
