"""Features by a function of the user's own. It runs as code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import ConfigError, Features, PythonRef, option

__all__ = ["OwnFeatures"]


@final
@frozen
class OwnFeatures(Features):
    """Features by your own function: images uint8 (B, 3, H, W) to numbers (B, D)."""

    name = "python"
    function: str = option(
        help="the function, as module:function or FILE.py:function; it is code and runs as such",
        converter=lambda text: PythonRef.checked(text, "function"),
        identity=False,
    )

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """The mean of each channel."""
        (folder / "own.py").write_text("def features(images):\n    return images.float().mean((2, 3))\n")
        return {"function": f"{folder / 'own.py'}:features"}

    def load(self, device: torch.device) -> Callable[[Tensor], Tensor]:
        function = self._code.load()

        def features(images: Tensor) -> Tensor:
            try:
                answer: Tensor = function(images.to(device))
            except Exception as error:
                raise ConfigError(f"{self._code.who} raised {type(error).__name__}: {error}") from error
            return answer

        return features

    def content(self) -> str:
        return self._code.digest()

    @property
    def _code(self) -> PythonRef:
        return PythonRef(self.function, f'python("{self.function}")')
