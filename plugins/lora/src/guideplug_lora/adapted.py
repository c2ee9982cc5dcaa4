"""A small network with a LoRA layer: an example for those who try views."""

import torch
from torch import Tensor, nn

from guideplug import Domain, Leaf, wrap

__all__ = ["adapted"]


class _Layers(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width, 8), nn.Linear(8, width)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        leave: Tensor = self.leave(self.enter(x.flatten(1)).tanh())
        return leave.view_as(x)


def adapted(domain: Domain) -> Leaf:
    """A network of two layers, the first with an adapter of rank 2; random weights from torch's generator."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=2, target_modules=["enter"], init_lora_weights=False)
    network = inject_adapter_in_model(config, _Layers(torch.Size(domain.space.shape).numel()))
    return wrap(network, domain.space.shape, predicts="denoised", sigma_data=domain.space.sigma_data)
