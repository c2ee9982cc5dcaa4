"""The real images: the 1,797 handwritten 8 × 8 digits that scikit-learn ships.

They are the test part of the "Optical Recognition of Handwritten Digits" data set (Alpaydin and Kaynak, UCI Machine
Learning Repository, 1998; CC BY 4.0), written by 13 people; every pixel is a count of 0 … 16 inked dots. A count p
becomes p/8 − 1, so that white paper is −1 and full ink +1, exactly, in float32.

The split is half and half: 899 images to train on, 898 held out, stratified by class, drawn once from a fixed seed.
Half, not the usual fifth, because Fréchet distance, coverage and recall depend on the number of images: with halves,
the held-out images can stand in for 898 generated ones with ~90 of each class, and the value that real images get
("truth") is what a perfect generator would get from as many samples. The price is small: trained on 80 % instead, the
denoiser's samples had the same class accuracy (.969 with either, one seed). The split is by image: the data do not
name the writers, so both halves hold digits of the same 13 hands.

Cost: no network calls; the first call imports scikit-learn (0.8 s).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["SIGMA_DATA", "SPLIT_SEED", "DigitImages", "DigitSplit", "load_digits", "load_split"]

SPLIT_SEED = 0
"""Seed of the split; another one is another task, and needs other networks."""

SIGMA_DATA = 0.752
"""Standard deviation of all scaled pixels around their common mean (measured 0.75210; the mean is −0.38948)."""


class DigitImages(NamedTuple):
    """Images (N, 1, 8, 8), float32 in [-1, 1], and their labels (N,), int64 in 0 … 9."""

    images: Tensor
    labels: Tensor


class DigitSplit(NamedTuple):
    """The half that networks and the classifier are trained on, and the half that none of them sees."""

    train: DigitImages
    heldout: DigitImages


@functools.cache
def load_digits() -> DigitImages:
    """All 1,797 images in scikit-learn's order; read once a process. Do not write into the tensors."""
    from sklearn.datasets import load_digits as load  # imported here: 0.8 s

    digits = load()
    images = torch.from_numpy((digits.images / 8 - 1).astype(np.float32)).unsqueeze(1)
    return DigitImages(images, torch.from_numpy(digits.target.astype(np.int64)))


@functools.cache
def load_split() -> DigitSplit:
    """The fixed halves: 899 training and 898 held-out images, each half in scikit-learn's order.

    Each class in turn is permuted by one `numpy.random.RandomState(SPLIT_SEED)` (whose stream NumPy has frozen) and cut
    in two; of the classes with an odd count, the first gives its spare image to training, the next to held-out, ….
    """
    images, labels = load_digits()
    random = np.random.RandomState(SPLIT_SEED)
    in_train = np.zeros(len(labels), dtype=bool)
    spare = 1
    for digit in range(10):
        members = random.permutation(np.flatnonzero(labels.numpy() == digit))
        in_train[members[: (len(members) + spare) // 2]] = True
        if len(members) % 2:
            spare = 1 - spare
    chosen = torch.from_numpy(in_train)
    return DigitSplit(DigitImages(images[chosen], labels[chosen]), DigitImages(images[~chosen], labels[~chosen]))
