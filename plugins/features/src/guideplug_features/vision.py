"""Features of any network of torchvision, with weights from a file.

Images are resized to ``size`` x ``size``, bilinear and antialiased, scaled to [0, 1] and standardised by ImageNet's
mean and deviation, as torchvision's networks were trained. The features are what enters the last linear layer, or the
output of a named layer, averaged over positions.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug import ConfigError, Features, absolute_path, file_digest, option, read_weights, up_to
from guideplug_features.pixels import standardised
from guideplug_features.weights import filled

__all__ = ["TorchvisionFeatures"]


@final
@frozen
class TorchvisionFeatures(Features):
    """What enters the last linear layer of a network of torchvision, or the output of another layer."""

    name = "torchvision"
    libraries: ClassVar[Mapping[str, str]] = {"torchvision": "guideplug-features[torchvision]"}
    network: str = option(help="torchvision's name of the network, such as mobilenet_v2 or resnet50")
    path: str = option(
        help="its weights, a state dict with torchvision's names", identity=False, converter=absolute_path
    )
    size: int = option(224, help="side of the images that enter it", unit="pixels", validator=up_to(4096))
    layer: str | None = option(
        None, help="the layer whose output is taken, such as features.18; none for what enters the last linear layer"
    )

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """A small network, with weights at random."""
        from torchvision.models import get_model

        torch.save(get_model("squeezenet1_1", weights=None).state_dict(), folder / "network.pth")
        return {"network": "squeezenet1_1", "path": str(folder / "network.pth"), "size": 64, "layer": "features"}

    def load(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        self.check_libraries()
        from torchvision.models import get_model, list_models

        known = list_models()
        if self.network not in known:
            raise ConfigError(f"torchvision has no network {self.network!r}: see torchvision.models.list_models()")
        tensors = read_weights(self.path)
        classes = self._classes(tensors)
        network = filled(lambda: get_model(self.network, weights=None, **classes), tensors, self.path, device)
        taken: list[Tensor] = []
        if self.layer is None:
            layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
            if not layers:
                raise ConfigError(f"{self.network} has no linear layer: name one with layer=..., such as 'features'")
            layers[-1].register_forward_pre_hook(lambda module, inputs: taken.append(inputs[0]))
        else:
            names = dict(network.named_modules())
            if self.layer not in names:
                raise ConfigError(f"{self.network} has no layer {self.layer!r}: see its named_modules()")
            names[self.layer].register_forward_hook(lambda module, inputs, output: taken.append(output))

        def features(images: Tensor) -> Tensor:
            taken.clear()
            network(standardised(images.to(device), self.size, "bilinear"))
            rows = taken[-1]
            return rows.mean((-2, -1)) if rows.ndim == 4 else rows.flatten(1)

        return features

    def content(self) -> str:
        return file_digest(Path(self.path))

    def _classes(self, tensors: Mapping[str, Tensor]) -> dict[str, int]:
        """The number of classes by the network's last bias, so that networks that were fine-tuned fit."""
        from torchvision.models import get_model

        with torch.device("meta"):
            own = get_model(self.network, weights=None).state_dict()
        last = [name for name, tensor in own.items() if tensor.ndim == 1][-1]
        return {"num_classes": len(tensors[last])} if last in tensors else {}
