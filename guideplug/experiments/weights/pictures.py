"""The samples of a sweep that pictures show: the same noise at each weight.

Of images, a row for each noise and a column for each weight; of others, what the task draws, for a few weights.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from guideplug.denoise import select_rows
from guideplug.errors import ContractError
from guideplug.image_grid import ImagePanel, draw_image_grid
from guideplug.task import Arm, Task

__all__ = ["Kept"]

ROWS, COLUMNS, PANELS = 8, 11, 4
"""Noises and weights of a grid of images; weights of another picture."""
MOST = 4096
"""Samples of a weight that are kept for pictures."""


def _first(arm: Arm) -> Arm:
    condition = None if arm.condition is None else select_rows(arm.condition, slice(MOST))
    return attrs.evolve(arm, samples=arm.samples[:MOST], condition=condition, denoiser=None, start=None)


@attrs.define
class Kept:
    """The first samples of each arm.

    Args:
        task: draws them.
        option: what varies.
        truth, unguided: the arms beside the weights.
    """

    task: Task
    option: str
    truth: Arm = attrs.field(converter=_first)
    unguided: Arm = attrs.field(converter=_first)
    _at: dict[float, Arm] = attrs.field(factory=dict, init=False)

    def keep(self, weight: float, arm: Arm) -> None:
        """Keep the first samples of a weight."""
        self._at[weight] = _first(attrs.evolve(arm, title=f"{self.option} {weight:g}"))

    def draw(self, path: Path) -> bool:
        """Write a PNG; False without samples."""
        if not self._at:
            return False
        if self.task.pictures(self.unguided.samples[:1]) is None:
            weights = spread(list(self._at), PANELS)
            self.task.figure([self.truth, self.unguided, *(self._at[weight] for weight in weights)], path)
            return True
        columns = {"off": self.unguided}
        columns |= {f"{weight:g}": self._at[weight] for weight in spread(list(self._at), COLUMNS)}
        draw_image_grid([self._panel(columns)], path)
        return True

    def _panel(self, columns: Mapping[str, Arm]) -> ImagePanel:
        images = []
        for arm in columns.values():
            pixels = self.task.pictures(arm.samples[:ROWS])
            if pixels is None:
                raise ContractError(
                    f"task {self.task.name!r} has no pixels of some samples: give those of all, or None"
                )
            images.append(pixels.permute(0, 2, 3, 1).numpy())
        labels, names = self.unguided.labels, self.task.groups()
        rows = [] if labels is None else [_name(int(label), names) for label in labels[:ROWS]]
        cells: list[list[NDArray[np.uint8] | None]] = [[of[row] for of in images] for row in range(len(images[0]))]
        return ImagePanel(f"by {self.option}, the same noise in each row", cells, list(columns), rows)


def spread(weights: Sequence[float], most: int) -> list[float]:
    """At most ``most`` of the weights, evenly, first and last among them."""
    if len(weights) <= most:
        return list(weights)
    return [weights[round(place * (len(weights) - 1) / (most - 1))] for place in range(most)]


def _name(label: int, names: Sequence[str]) -> str:
    return names[label] if 0 <= label < len(names) else str(label)
