"""Inception of 2015, in whose features the Fréchet distance is FID.

The network is Inception-v3 as TensorFlow published it in 2015: averages over borders leave the padding out, the last
block takes a maximum, and 1,008 classes follow. Images are resized to 299 x 299 without antialiasing, as TensorFlow 1
did, output pixel i at input position i H / 299, and scaled to (x - 128) / 128. The features are the 2,048 averages
before the last layer. Sources: C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens and Z. Wojna 2016, "Rethinking the
Inception Architecture for Computer Vision", arXiv:1512.00567; M. Heusel et al. 2017, arXiv:1706.08500 (FID). Cost: 5.7
billion multiplications per image.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional as F

from guideplug import Features, Source, absolute_path, file_digest, option, read_weights
from guideplug_features.weights import filled

__all__ = ["Inception", "inception_network", "resized_as_tensorflow"]

SIZE = 299


@final
@frozen
class Inception(Features):
    """The 2,048 features of Inception-v3 of 2015, those of FID."""

    name = "inception"
    statistics_key = "fid"
    libraries: ClassVar[Mapping[str, str]] = {"torchvision": "guideplug-features[torchvision]"}
    source = Source(
        "M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter",
        2017,
        "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
        "https://arxiv.org/abs/1706.08500",
    )
    path: str = option(
        help="the weights of 2015 as a state dict, such as pt_inception-2015-12-05-6726825d.pth",
        identity=False,
        converter=absolute_path,
    )

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Weights at random."""
        path = folder / "inception.pth"
        torch.save(inception_network().state_dict(), path)
        return {"path": str(path)}

    def load(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        self.check_libraries()
        network: Any = filled(inception_network, read_weights(self.path), self.path, device)
        network.fc = nn.Identity()

        def features(images: Tensor) -> Tensor:
            x = resized_as_tensorflow(images.to(device).float(), SIZE)
            answer: Tensor = network((x - 128) / 128)
            return answer

        return features

    def content(self) -> str:
        return file_digest(Path(self.path))


def inception_network() -> nn.Module:
    """The network of 2015, with weights at random and the names of torchvision's."""
    from torchvision.models import inception

    class Averaged(nn.Module):
        """A block whose pooled branch leaves padding out of averages, or takes maxima."""

        branch_pool: nn.Module

        def _forward(self, x: Tensor) -> list[Tensor]:
            *branches, _ = super()._forward(x)  # type: ignore[misc]
            return [*branches, self.branch_pool(self.pool(x))]

        def pool(self, x: Tensor) -> Tensor:
            if getattr(self, "takes_maximum", False):
                return F.max_pool2d(x, 3, stride=1, padding=1)
            return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

    blocks = [
        inception.BasicConv2d,
        type("A", (Averaged, inception.InceptionA), {}),
        inception.InceptionB,
        type("C", (Averaged, inception.InceptionC), {}),
        inception.InceptionD,
        type("E", (Averaged, inception.InceptionE), {}),
        inception.InceptionAux,
    ]
    network: Any = inception.Inception3(1008, aux_logits=False, inception_blocks=blocks, init_weights=False)
    network.Mixed_7c.takes_maximum = True
    return network  # type: ignore[no-any-return]


def resized_as_tensorflow(x: Tensor, size: int) -> Tensor:
    """Images (B, C, H, W) as (B, C, size, size): bilinear, output pixel i at input position i H / size."""
    rows, columns = (_interpolation(length, size).to(x) for length in x.shape[-2:])
    return rows @ x @ columns.mT


def _interpolation(length: int, size: int) -> Tensor:
    """The weights (size, length) of input pixels."""
    place = torch.arange(size, dtype=torch.float64) * (length / size)
    below = place.floor().long()
    above = (below + 1).clamp(max=length - 1)
    share = (place - below)[:, None]
    weights = torch.zeros(size, length, dtype=torch.float64)
    weights.scatter_add_(1, below[:, None], 1 - share)
    return weights.scatter_add_(1, above[:, None], share)
