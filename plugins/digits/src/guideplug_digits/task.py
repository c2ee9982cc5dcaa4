"""The task: real handwritten digits of 8 × 8 pixels, conditional on their class.

Half of the images are trained on; samples are compared with a quarter, the reference, and the last quarter stands in
for samples (`guideplug_digits.images`). A run draws as many samples as there are reference images, under the reference
images' classes in their order, so that what is measured on samples can be measured on real images too.

The recipe is ours: a small transformer, EDM's preconditioning, noise levels and loss weight, classes dropped in one
example of ten, so that classifier-free guidance works from the one network.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.utils.data import TensorDataset

from guideplug import (
    Arm,
    Condition,
    Cosine,
    Domain,
    Duration,
    Examples,
    FiniteData,
    Leaf,
    LogNormal,
    Metric,
    Network,
    Perturbation,
    Recipe,
    Sampler,
    Space,
    Start,
    Streams,
    Task,
    Train,
    TrainingStreams,
    TrainOptions,
    blurred_queries,
    draw_image_grid,
    dropped_units,
    grid_by_class,
    identity_attention,
    option,
    skip_layers,
    up_to,
    weaker,
)
from guideplug_digits.convolutional import ConvolutionalNet
from guideplug_digits.features import digit_classifier
from guideplug_digits.images import SIGMA_DATA, load_split
from guideplug_digits.measures import METRICS
from guideplug_digits.network import NULL_LABEL, DigitsNet

__all__ = ["SPACE", "Digits", "DigitsConvolutional", "DigitsTransformer"]

ROWS = 10
"""Images of each class in the figure."""
SPACE = Space(shape=(1, 8, 8), sigma_data=SIGMA_DATA, sigma_min=0.002, sigma_max=80.0)
"""Images in [-1, 1] and EDM's noise levels."""


class LearnedDigits(Leaf):
    """A learned denoiser of the digits, given a class: 0 to 9, or 10 for none."""

    num_labels = NULL_LABEL

    def __init__(self, network: DigitsNet | ConvolutionalNet) -> None:
        super().__init__(SPACE)
        self.network = network

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean images."""
        denoised: Tensor = self.network(x, sigma, condition)
        return denoised

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), NULL_LABEL, device=device)


@final
class DigitsDenoiser(LearnedDigits):
    """The transformer as a denoiser."""

    def perturbations(self) -> Mapping[str, Perturbation]:
        """Skipped blocks, attention as the identity or with blurred queries, dropped units of the blocks' MLPs."""
        blocks = [f"blocks.{number}" for number in range(len(self.network.blocks))]
        mixing = [f"{block}.attention.mixing" for block in blocks]
        offers = {
            "skip-layer": skip_layers(*blocks),
            "identity-attention": identity_attention(*mixing, core=True),
            "blurred-queries": blurred_queries(*mixing, core=True),
            "dropout": dropped_units(*(f"{block}.mlp.1" for block in blocks)),
        }
        return {kind: functools.partial(offer, self.network) for kind, offer in offers.items()}


@final
class ConvolutionalDigitsDenoiser(LearnedDigits):
    """The convolutional network as a denoiser, of pieces of images too."""

    def perturbations(self) -> Mapping[str, Perturbation]:
        """Skipped blocks, and dropped units between the two convolutions of each."""
        blocks = [f"blocks.{number}" for number in range(len(self.network.blocks))]
        offers = {
            "skip-layer": skip_layers(*blocks),
            "dropout": dropped_units(*(f"{block}.act" for block in blocks)),
        }
        return {kind: functools.partial(offer, self.network) for kind, offer in offers.items()}

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[0] == 1


@final
@frozen
class DigitsConvolutional(Network):
    """A small convolutional network, which also denoises pieces of images; in EDM preconditioning."""

    name = "digits-convolutional"
    width: int = option(32, help="channels", validator=up_to(65_536))
    blocks: int = option(3, help="residual blocks of two convolutions", validator=up_to(1_000))

    def build(self, domain: Domain) -> Leaf:
        _check_domain(self.name, domain)
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        return ConvolutionalDigitsDenoiser(ConvolutionalNet(self.width, self.blocks, SIGMA_DATA, generator))


@final
@frozen
class DigitsTransformer(Network):
    """A small transformer on 2 × 2 patches, in EDM preconditioning."""

    name = "digits-transformer"
    width: int = option(64, help="channels of a token, a multiple of 2 heads", validator=up_to(65_536))
    blocks: int = option(3, help="blocks of attention and MLP", validator=up_to(1_000))
    heads: int = option(4, help="attention heads", validator=up_to(1_024))

    def __attrs_post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError(f"width is {self.width}: it must be a multiple of 2 heads = {2 * self.heads}")

    def build(self, domain: Domain) -> Leaf:
        _check_domain(self.name, domain)
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        return DigitsDenoiser(
            DigitsNet(
                width=self.width, blocks=self.blocks, heads=self.heads, sigma_data=SIGMA_DATA, generator=generator
            )
        )


def _check_domain(name: str, domain: Domain) -> None:
    """Refuse other samples than the digits."""
    shape, labels = domain.space.shape, domain.num_labels
    if shape != SPACE.shape or labels != NULL_LABEL:
        raise ValueError(
            f"{name} is for images {SPACE.shape} with {NULL_LABEL} labels, not for samples of {shape} with "
            f"{labels or 'no'} labels"
        )


def _smaller(network: Network) -> Network:
    """Half the width and one block less, of the architecture of the main network where that is one of ours."""
    if isinstance(network, DigitsConvolutional):
        return evolve(network, width=max(network.width // 2, 1), blocks=max(network.blocks - 1, 1))
    known = network if isinstance(network, DigitsTransformer) else DigitsTransformer()
    halved = max(known.width // (4 * known.heads), 1) * 2 * known.heads
    return evolve(known, width=halved, blocks=max(known.blocks - 1, 1))


@functools.cache
def _training_half() -> FiniteData:
    train = load_split().train
    return FiniteData(TensorDataset(train.images, train.labels))


@final
@frozen
class Digits(Task):
    """The handwritten digits that scikit-learn ships."""

    name = "digits"

    @property
    def space(self) -> Space:
        return SPACE

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        return _training_half().draw(sigma, streams)

    def start(self, streams: Streams, sigma: float) -> Start:
        labels = load_split().reference.labels
        chosen = labels[torch.from_numpy(np.asarray(streams.indices) % len(labels))]
        return Start(sigma * streams.normal(SPACE.shape, "start noise"), chosen.to(streams.device))

    @property
    def num_labels(self) -> int:
        return NULL_LABEL

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        if main is None:
            return self._main() if role == "main" else None
        return weaker(main, _smaller) if role == "weak" else None

    def _main(self) -> Train:
        options = TrainOptions(
            duration=Duration(1500, "it"),
            batch=128,
            lr=0.004,
            betas=(0.9, 0.99),
            schedule=Cosine(),
            warmup=100,
            noise=LogNormal(-1.2, 1.2),
            weighting="edm",
            condition_dropout=0.1,
            ema=(0.05,),
        )
        return Train(task=self, denoiser=DigitsTransformer(), options=options)

    def sampler(self) -> str:
        return "heun(num_steps=18)"

    def samples(self) -> int:
        return len(load_split().reference.labels)

    def num_true(self) -> int | None:
        return len(load_split().real.labels)

    def size(self) -> int | None:
        return _training_half().size()

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        return _training_half().items(ids)

    def groups(self) -> Sequence[str]:
        return [f"digit {label}" for label in range(NULL_LABEL)]

    def group(self, examples: Examples) -> Tensor | None:
        return examples.condition if isinstance(examples.condition, Tensor) else None

    def fingerprint(self) -> str:
        return _training_half().fingerprint()

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        real = load_split().real
        return [Arm("truth", real.images[:count], real.labels[:count])]

    def metrics(self) -> Sequence[Metric]:
        return METRICS

    def primary(self) -> Sequence[str]:
        return "precision", "coverage", "Fréchet distance", "nearest training image"

    def pictures(self, samples: Tensor) -> Tensor | None:
        """Digits as ink on paper."""
        ink = (255 * (1 - samples.double()) / 2).clamp(0, 255).round().byte()
        return ink.expand(-1, 3, -1, -1)

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        panels = []
        for arm in arms:
            title = "real" if arm.name == "truth" else arm.title
            labels, images = arm.labels, self.pictures(arm.samples)
            if labels is None:  # samples from elsewhere may come without their classes
                labels = digit_classifier().probabilities(arm.samples).argmax(1)
            assert images is not None
            panels.append(grid_by_class(title, images, labels, [str(digit) for digit in range(NULL_LABEL)], ROWS))
        draw_image_grid(panels, path)
