"""Laws of the digits, their split, the classifier's feature space and the figure."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import TensorDataset

from guideplug import FiniteData
from guideplug_digits import Digits
from guideplug_digits.features import FEATURE_DIMENSION, digit_classifier, train_classifier
from guideplug_digits.images import SIGMA_DATA, DigitImages, load_digits, load_split

TRAIN_FINGERPRINT = "563ad02647c8e27665151b62ee3bd94ca8e69d3c2ccfb671c85d74e71be37662"


def fingerprint(data: DigitImages) -> str:
    return FiniteData(TensorDataset(data.images, data.labels)).fingerprint()


def test_images_are_exact_counts_of_ink() -> None:
    images, labels = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.float32
    assert labels.shape == (1797,)
    assert labels.dtype == torch.int64
    counts = (images + 1) * 8
    assert torch.equal(counts, counts.round())
    assert (counts.min().item(), counts.max().item()) == (0, 16)


def test_sigma_data_is_the_measured_standard_deviation() -> None:
    assert load_digits().images.std().item() == pytest.approx(SIGMA_DATA, abs=5e-4)


def test_split_is_a_stratified_partition() -> None:
    everything, parts = load_digits(), load_split()
    assert [len(part.labels) for part in parts] == [899, 449, 449]
    train, reference, real = (part.labels.bincount(minlength=10) for part in parts)
    assert (train - reference - real).abs().max() <= 1
    assert (reference - real).abs().max() <= 1
    together = torch.cat([part.images for part in parts]).numpy()
    assert sorted(image.tobytes() for image in together) == sorted(i.tobytes() for i in everything.images.numpy())
    assert len({image.tobytes() for image in together}) == 1797  # no image is in two parts


def test_split_is_the_documented_one() -> None:
    assert fingerprint(load_split().train) == TRAIN_FINGERPRINT


def test_fingerprint_sees_every_pixel_and_label() -> None:
    images, labels = load_split().train
    one_pixel, one_label = images.clone(), labels.clone()
    one_pixel[17, 0, 3, 3] += 0.125
    one_label[17] = (one_label[17] + 1) % 10
    prints = {fingerprint(DigitImages(*pair)) for pair in [(images, labels), (one_pixel, labels), (images, one_label)]}
    assert len(prints) == 3


def test_classifier_is_accurate_on_images_it_never_saw() -> None:
    for part in load_split()[1:]:
        probabilities = digit_classifier().probabilities(part.images)
        assert torch.allclose(probabilities.sum(dim=1), torch.ones(len(part.labels)), atol=1e-5)
        assert (probabilities.argmax(dim=1) == part.labels).float().mean() >= 0.985


def test_classifier_is_deterministic_and_leaves_the_global_generator_alone() -> None:
    images, labels = load_split().train
    state = torch.get_rng_state()
    first = train_classifier(images, labels, epochs=1)
    torch.rand(3)
    second = train_classifier(images, labels, epochs=1)
    torch.set_rng_state(state)
    train_classifier(images, labels, epochs=1)
    assert torch.equal(torch.get_rng_state(), state)
    features = first.features(images[:50])
    assert features.shape == (50, FEATURE_DIMENSION)
    assert torch.allclose(features, second.features(images[:50]), atol=1e-6)
    assert not torch.allclose(features, train_classifier(images, labels, epochs=1, seed=1).features(images[:50]))


def test_features_decide_the_probabilities() -> None:
    images = load_split().reference.images[:20]
    classifier = digit_classifier()
    logits = classifier.features(images) @ classifier.head.weight.T + classifier.head.bias
    assert torch.allclose(torch.softmax(logits, dim=1), classifier.probabilities(images), atol=1e-6)


def test_pixels_are_ink_on_paper() -> None:
    images = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).reshape(5, 1, 1, 1).expand(5, 1, 8, 8)
    pixels = Digits().pictures(images)
    assert pixels is not None
    assert pixels.shape == (5, 3, 8, 8)
    assert pixels[:, 0, 0, 0].tolist() == [255, 255, 128, 0, 0]
