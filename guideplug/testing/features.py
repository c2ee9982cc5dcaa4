"""The laws of features: finite numbers per image, of that image alone, the same each time."""

import torch
from attrs import frozen
from torch import Tensor

from guideplug.features import Features
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import no_global_draws
from guideplug.testing.strategies import STRATEGY

__all__ = ["FEATURES", "FeaturesCase", "check_features", "features_case"]

TOLERANCE = 1e-3
"""Of a feature in batches of other sizes, in parts of the largest: reductions differ in their last bits."""


@frozen(eq=False)
class FeaturesCase:
    """Features under test, on a few images, loaded once.

    Args:
        features: the strategy.
        images: uint8 (B, 3, H, W), B > 1.
        rows: the features of these.
    """

    features: Features
    images: Tensor
    rows: list[Tensor]

    def of(self, images: Tensor) -> Tensor:
        """The features of images, without gradients."""
        with torch.no_grad():
            return self.features.load(torch.device("cpu"))(images)


def features_case(features: Features) -> FeaturesCase:
    """The features of three images of random pixels."""
    images = torch.randint(0, 256, (3, 3, 32, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return FeaturesCase(features, images, [])


FEATURES: Laws[FeaturesCase] = Laws()


def check_features(features: Features) -> None:
    """The laws of features: finite numbers per image, of that image alone, the same each time."""
    STRATEGY.check(features)
    FEATURES.check(features_case(features))


@FEATURES.add("each image has a row of finite floats", "return floats (B, D): flatten or average", premise=True)
def _rows(case: FeaturesCase) -> None:
    before = case.images.clone()
    with no_global_draws():
        case.rows.append(case.of(case.images))
    rows = case.rows[0]
    must(isinstance(rows, Tensor), f"it gave a {type(rows).__name__}")
    must(rows.ndim == 2 and len(rows) == len(case.images), f"{len(case.images)} images gave {tuple(rows.shape)}")
    must(rows.is_floating_point(), f"it gave {rows.dtype}")
    must(bool(rows.isfinite().all()), "a value is not finite")
    must(torch.equal(before, case.images), "the images were changed")


@FEATURES.add("features differ between images", "compute them from the images")
def _differ(case: FeaturesCase) -> None:
    must(not torch.equal(case.rows[0][0], case.rows[0][1]))


@FEATURES.add("the features of an image do not depend on the others", "no statistics of the batch: network.eval()")
def _alone(case: FeaturesCase) -> None:
    one = case.of(case.images[1:2])[0]
    must(float((one - case.rows[0][1]).abs().max()) <= TOLERANCE * float(case.rows[0].abs().max()))


@FEATURES.add("content and identity are decided by options and files", "hash the bytes of files in content")
def _identity(case: FeaturesCase) -> None:
    must(case.features.identity == case.features.identity)
    must(isinstance(case.features.content(), str))
