"""The tree's denoisers: the learned one, with and without labels, and the exact one."""

from collections.abc import Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import one_hot

from guideplug import Condition, Domain, Leaf, Network, Perturbation, Source, Space, option, up_to
from guideplug_tree.mixture import TreeMixture, tree_mixture
from guideplug_tree.network import TreeMLP

__all__ = ["NULL_LABEL", "SPACE", "ExactTree", "LabelledExactTree", "TreeMLPNetwork", "label_share"]

SPACE = Space(shape=(2,), sigma_data=0.5, sigma_min=0.002, sigma_max=5.0)
"""Points of the plane; noise levels of the paper's toy example."""

NULL_LABEL = 2
"""The label that means none: 0 is class A, 1 class B."""


def _null_labels(batch: int, device: torch.device) -> Tensor:
    return torch.full((batch,), NULL_LABEL, device=device)


@final
class TreeDenoiser(Leaf):
    """The learned denoiser of one class set, without conditions."""

    def __init__(self, hidden: int) -> None:
        super().__init__(SPACE)
        self.network = TreeMLP(hidden)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """D(x; sigma); a condition is not looked at."""
        denoised: Tensor = self.network(x, sigma)
        return denoised

    def perturbations(self) -> Mapping[str, Perturbation]:
        """Dropped units of the hidden layers."""
        return {"dropout": self.network.dropping}

    def after_step(self) -> None:
        self.network.normalize_weights_()


@final
class LabelledTreeDenoiser(Leaf):
    """The learned denoiser of both classes, given a label: 0 is A, 1 is B, 2 is none."""

    num_labels = NULL_LABEL

    def __init__(self, hidden: int) -> None:
        super().__init__(SPACE)
        self.network = TreeMLP(hidden, num_labels=2)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """D(x; sigma, label)."""
        assert isinstance(condition, Tensor)
        known = one_hot(condition, NULL_LABEL + 1)[:, :NULL_LABEL].to(x.dtype)
        denoised: Tensor = self.network(x, sigma, known)
        return denoised

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return _null_labels(batch, device)

    def perturbations(self) -> Mapping[str, Perturbation]:
        """Dropped units of the hidden layers."""
        return {"dropout": self.network.dropping}

    def after_step(self) -> None:
        self.network.normalize_weights_()


@final
class ExactTree(Leaf):
    """The exact denoiser of a class set: x + sigma^2 times the mixture's score."""

    def __init__(self, mixture: TreeMixture) -> None:
        super().__init__(SPACE)
        self.mixture = mixture

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean point."""
        return self.mixture.to(x.device, x.dtype).denoise(x, sigma)


@final
class LabelledExactTree(Leaf):
    """The exact denoiser given a label: of A, of B, or of both for the null label."""

    num_labels = NULL_LABEL

    def __init__(self) -> None:
        super().__init__(SPACE)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean point."""
        assert isinstance(condition, Tensor)
        both = [tree_mixture(classes).to(x.device, x.dtype).denoise(x, sigma) for classes in ("A", "B", "AB")]
        rows = condition[None, :, None].expand(1, -1, 2)
        return torch.stack(both).gather(0, rows)[0]

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return _null_labels(batch, device)


def label_share() -> float:
    """The share of class A in A and B together."""
    both = tree_mixture("AB")
    in_a = torch.tensor([name == "A" for name in both.branch_classes])
    return float(both.component_weights[in_a[both.component_branches]].sum())


@final
@frozen
class TreeMLPNetwork(Network):
    """A small magnitude-preserving MLP whose gradient is the score."""

    name = "tree-mlp"
    source = Source(
        "T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine",
        2024,
        "Guiding a Diffusion Model with a Bad Version of Itself",
        "https://arxiv.org/abs/2406.02507",
        "appendix C",
    )
    hidden: int = option(64, help="width of the layers", validator=up_to(65_536))

    def build(self, domain: Domain) -> Leaf:
        shape, labels = domain.space.shape, domain.num_labels
        if shape != SPACE.shape or labels not in (None, NULL_LABEL):
            raise ValueError(
                f"tree-mlp is for points (2,) with {NULL_LABEL} labels or none, not for samples of {shape} with "
                f"{labels or 'no'} labels"
            )
        return TreeDenoiser(self.hidden) if labels is None else LabelledTreeDenoiser(self.hidden)
