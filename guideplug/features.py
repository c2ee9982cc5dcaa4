"""Features: numbers in which images are compared, as those of a network that was trained on other images.

This is the abstract strategy; the core has none. Plugins offer features by name, and ``guideplug evaluate --features``
measures images with them.
"""

import abc
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import attrs
import torch
from torch import Tensor

from guideplug.config import Strategy, decides_nothing
from guideplug.config.libraries import missing_libraries
from guideplug.errors import ConfigError

__all__ = ["Features"]


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
