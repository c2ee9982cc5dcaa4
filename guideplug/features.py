"""Features: numbers in which images are compared, as those of a network that was trained on other images.

This is the abstract strategy; the core has none. Plugins offer features by name, and ``guideplug evaluate --features``
measures images with them.
"""

import abc
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, cast, final

import attrs
import torch
from attrs import frozen
from torch import Tensor

from guideplug.config import Strategy, decides_nothing, short
from guideplug.config.libraries import missing_libraries
from guideplug.errors import ConfigError, UsageError

__all__ = ["FeatureFunction", "Features"]

BATCH: Final = 64


@decides_nothing
class Features(Strategy):
    """A function from images to features. Final frozen attrs classes; the fields are its options."""

    kind: ClassVar[str] = "features"
    statistics_key: ClassVar[str] = ""
    """The name of these features in files of reference statistics, as "fid" in EDM2's; empty for the strategy's."""

    libraries: ClassVar[Mapping[str, str]] = {}
    """Libraries that are imported when it is used, and their requirements: ``{"timm": "guideplug-features[timm]"}``."""

    @classmethod
    def check_libraries(cls) -> None:
        """Refuse to load what needs a library that is not installed.

        Raises:
            ConfigError: how to install it.
        """
        for line in missing_libraries(cls.libraries):
            raise ConfigError(f"features {cls.name} {line}")

    @abc.abstractmethod
    def load(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The function, with its network on a device.

        It takes images uint8 (B, 3, H, W), RGB, of any one size, and returns features (B, D), finite floats, of each
        image alone: resizing and scaling are its own. The images are left as they are.

        Raises:
            GuideplugError: a file or a library is missing, or does not fit.
        """

    def content(self) -> str:
        """Deciding content besides the options, such as the hash of a file's bytes."""
        return ""

    @property
    def identity(self) -> str:
        """The name, and a digest of what decides: options that are not marked ``identity=False``, and `content`."""
        fields = [field for field in attrs.fields(cast(Any, type(self))) if field.metadata.get("identity", True)]
        options = [f"{field.name}={getattr(self, field.name)!r}" for field in fields]
        return f"{self.name} {hashlib.sha256(' '.join([*options, self.content()]).encode()).hexdigest()[:16]}"

    def loaded(self, device: torch.device | None = None) -> "FeatureFunction":
        """The function, with its answers checked; on the accelerator if there is one, unless a device is given.

        Raises:
            GuideplugError: a file or a library is missing, or does not fit.
        """
        self.check_libraries()
        place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return FeatureFunction(self, self.load(place))


@decides_nothing
@final
@frozen(eq=False)
class FeatureFunction:
    """Features with their network loaded.

    Args:
        features: the strategy.
        function: what it loaded.
    """

    features: Features
    function: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor, name: Callable[[int], str] = "image {}".format) -> Tensor:
        """The features of images, floats (N, D) on the CPU, a batch at a time.

        Args:
            images: uint8 (N, 3, H, W), N > 0.
            name: of an image by its number, for messages.

        Raises:
            UsageError: a feature is not finite, or the answer is no row of floats per image.
        """
        parts = torch.split(images, BATCH)
        return torch.cat([self._checked(part, number * BATCH, name) for number, part in enumerate(parts)])

    def _checked(self, batch: Tensor, start: int, name: Callable[[int], str]) -> Tensor:
        who = f"features {short(self.features)}"
        with torch.no_grad():
            rows = self.function(batch)
        if not isinstance(rows, Tensor) or not rows.is_floating_point() or rows.ndim != 2 or len(rows) != len(batch):
            form = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
            raise UsageError(f"{who} gave {form} for {len(batch)} images: floats (B, D) are needed, a row per image")
        rows = rows.detach().cpu()
        rows = rows if rows.dtype == torch.float64 else rows.float()
        finite = rows.isfinite().all(1)
        if not bool(finite.all()):
            number = start + int((~finite).nonzero()[0, 0])
            raise UsageError(f"{who} gave a value that is not finite, first for {name(number)}")
        return rows
