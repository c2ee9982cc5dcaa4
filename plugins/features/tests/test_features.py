"""Features: the laws, the pixels that networks get, and what is refused."""

from pathlib import Path

import pytest
import torch

from guideplug import Features, GuideplugError
from guideplug.testing import check_features
from guideplug_features import DINOv2, Inception, OwnFeatures, TorchvisionFeatures
from guideplug_features.dinov2 import positions_at
from guideplug_features.inception import inception_network, resized_as_tensorflow
from guideplug_features.pixels import standardised

CPU = torch.device("cpu")


@pytest.mark.parametrize("cls", [DINOv2, Inception, OwnFeatures, TorchvisionFeatures])
def test_laws(cls: type[Features], tmp_path: Path) -> None:
    if cls.libraries:
        pytest.importorskip(next(iter(cls.libraries)))
    check_features(cls(**cls.example(tmp_path)))


def test_the_resizing_of_tensorflow_by_hand() -> None:
    x = torch.tensor([[10.0, 20.0], [30.0, 60.0]])[None, None]
    rows = [[10, 15, 20, 20], [20, 30, 40, 40], [30, 45, 60, 60], [30, 45, 60, 60]]
    assert torch.equal(resized_as_tensorflow(x, 4)[0, 0], torch.tensor(rows, dtype=torch.float32))


def test_inception_averages_without_padding_and_ends_with_a_maximum() -> None:
    pytest.importorskip("torchvision")
    network = inception_network()
    ones = torch.ones(1, 1, 4, 4)
    for name in ("Mixed_5b", "Mixed_6c", "Mixed_7b"):
        assert torch.equal(getattr(network, name).pool(ones), ones)  # torchvision's own gives 4/9 in corners
    peak = torch.zeros(1, 1, 3, 3)
    peak[0, 0, 0, 0] = 1
    assert float(network.Mixed_7c.pool(peak)[0, 0, 1, 1]) == 1
    assert network.state_dict()["fc.weight"].shape == (1008, 2048)


def test_a_block_of_inception_is_torchvisions_but_for_its_pooling() -> None:
    inception = pytest.importorskip("torchvision.models.inception")
    block = inception_network().Mixed_5b.eval()
    plain = inception.InceptionA(192, 32).eval()
    plain.load_state_dict(block.state_dict())
    x = torch.randn(1, 192, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(block(x)[..., 1:-1, 1:-1], plain(x)[..., 1:-1, 1:-1], atol=1e-5)
    assert not torch.allclose(block(x), plain(x), atol=1e-5)


def test_positions_that_are_in_their_place_are_left_and_others_are_interpolated() -> None:
    embeddings = torch.arange(1 + 37 * 37).float()[None, :, None].expand(1, -1, 2)
    assert positions_at(embeddings, 37) is embeddings
    smaller = positions_at(embeddings, 16)
    assert smaller.shape == (1, 257, 2)
    assert torch.equal(smaller[:, 0], embeddings[:, 0])
    # Patch (8, 8) of 16 at (8.5 / (16.1 / 37) - .5) of 37, in rows and in columns; without the .1 it
    # would be 4 higher. Torch's bicubic weights keep a plane up to .02 of a step.
    place = 8.5 * 37 / 16.1 - 0.5
    assert float(smaller[0, 1 + 8 * 16 + 8, 0]) == pytest.approx(1 + 38 * place, abs=38 * 0.02)


def test_dinov2_takes_weights_by_metas_names_at_518(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    example = DINOv2.example(tmp_path)
    tensors = torch.load(example["path"], weights_only=True)
    tensors["pos_embed"] = torch.randn(1, 1 + 37 * 37, 384)
    tensors["mask_token"] = torch.zeros(1, 384)
    torch.save(tensors, example["path"])
    rows = DINOv2(**example).load(CPU)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert rows.shape == (1, 384)


def test_pixels_of_imagenet() -> None:
    grey = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(standardised(grey, 9, "bicubic")[0, :, 3, 3], expected, atol=1e-5)


def test_torchvision_takes_what_enters_the_last_layer_and_any_number_of_classes(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    network = models.mobilenet_v2(num_classes=7)
    torch.save(network.state_dict(), tmp_path / "m.pth")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    rows = TorchvisionFeatures("mobilenet_v2", str(tmp_path / "m.pth"), size=32).load(CPU)(images)
    network.classifier = torch.nn.Identity()
    assert torch.equal(rows, network.eval()(standardised(images, 32, "bilinear")))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (lambda at: TorchvisionFeatures("mobilenet_v9", str(at / "m.pth")), "no network 'mobilenet_v9'"),
        (lambda at: TorchvisionFeatures("squeezenet1_1", str(at / "s.pth")), "no linear layer"),
        (lambda at: TorchvisionFeatures("squeezenet1_1", str(at / "s.pth"), layer="x"), "no layer 'x'"),
        (lambda at: TorchvisionFeatures("resnet18", str(at / "s.pth")), "resnet|ResNet"),
        (lambda at: DINOv2(str(at / "s.pth"), network="resnet18"), "vit_large_patch14_dinov2"),
        (lambda at: Inception(str(at / "s.pth")), "Inception"),
        (lambda at: Inception(str(at / "none.pth")), "does not exist"),
    ],
)
def test_refusals(features: object, message: str, tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    pytest.importorskip("timm")
    torch.save(models.squeezenet1_1().state_dict(), tmp_path / "s.pth")
    with pytest.raises(GuideplugError, match=message) as caught:
        features(tmp_path).load(CPU)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", [DINOv2, Inception, TorchvisionFeatures])
def test_a_missing_library_is_named_with_its_extra(cls: type[Features], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(GuideplugError, match=rf"features {cls.name} needs .*guideplug-features\[\w+\]"):
        cls.check_libraries()
