"""A classifier of a task's images: a small convolutional network, trained on the training images once and kept.

A recipe, not weights, and ours: three 3 x 3 convolutions of 32, 64 and 128 channels, each with batch normalisation
and ReLU, and each but the first after a 2 x 2 maximum; then the mean over positions and a linear layer; 2,000 steps
of AdamW on 128 images, with a learning rate that falls from 0.002 to zero as a cosine. Its own accuracy on held-out
images is that of the arm "truth".
Cost: on one core 4 minutes for images of 28 x 28, in proportion to pixels.
"""

import functools
import hashlib
from pathlib import Path
from typing import final

import torch
from safetensors.torch import save
from torch import Tensor, nn

from guideplug import prepared_data, read_weights, whole_file
from guideplug_images.dataset import ImageData

__all__ = ["ImageClassifier", "trained_classifier"]

WIDTHS = (32, 64, 128)
STEPS, BATCH, LEARNING_RATE = 2000, 128, 0.002
SEED = 0
VERSION = 1
"""Of the recipe."""
FILE = "classifier.safetensors"


@final
class ImageClassifier(nn.Module):
    """Scores of classes (B, K) for images (B, C, H, W) of any size."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        widths = (channels, *WIDTHS)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in zip(widths, WIDTHS, strict=False)
        )
        self.last = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = images
        for number, layer in enumerate(self.layers):
            if number:
                hidden = nn.functional.max_pool2d(hidden, 2, ceil_mode=True)
            hidden = layer(hidden)
        scores: Tensor = self.last(hidden.mean((2, 3)))
        return scores

    def classes(self, images: Tensor) -> Tensor:
        """The most probable class of each image, int64 (B,)."""
        with torch.no_grad():
            return torch.cat([self(part).argmax(1) for part in torch.split(images.float(), 1024)])


def trained_classifier(data: ImageData) -> ImageClassifier:
    """The classifier of labelled images, trained, or read from the store if it was trained before.

    Raises:
        StoreError, WriteError: the store cannot be used.
    """
    prepared = data.prepared
    assert prepared.labels is not None
    decides = [VERSION, prepared.fingerprint, hashlib.sha256(data.train.tobytes()).hexdigest(), data.flip]
    key = hashlib.sha256(f"classifier {decides}".encode()).hexdigest()
    build = functools.partial(ImageClassifier, prepared.shape[0], len(prepared.labels.classes))
    folder = prepared_data(key, functools.partial(_train, data, build))
    with torch.device("meta"):  # nothing is drawn for weights that are read
        network = build()
    network.load_state_dict(read_weights(folder / FILE), assign=True)
    return network.eval()


def _train(data: ImageData, build: "functools.partial[ImageClassifier]", folder: Path) -> None:
    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        network = build()
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        ids = torch.randint(data.size, (BATCH,), generator=generator)
        labels = data.labels(ids)
        assert labels is not None
        loss = nn.functional.cross_entropy(network(data.examples(ids, torch.device("cpu"))), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rates.step()
    with whole_file(folder / FILE) as file:
        file.write(save(network.state_dict()))
