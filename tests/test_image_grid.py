"""Grids of images: every image at its place, pixel by pixel, with its names whole."""

from pathlib import Path

import numpy as np
import pytest
import torch

from guideplug import ImagePanel, draw_image_grid, grid_by_class, grid_in_order


def read(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    pixels: np.ndarray = imread(path)[..., :3]
    return pixels


def test_each_class_is_in_its_column_and_members_are_spread_over_them() -> None:
    images = torch.arange(30, dtype=torch.uint8).reshape(30, 1, 1, 1).expand(30, 3, 4, 4)
    panel = grid_by_class("one", images, torch.arange(30) % 3, ["a", "b", "c", "none of it"], 2)
    values = [[None if cell is None else int(cell[0, 0, 0]) for cell in row] for row in panel.cells]
    assert values == [[0, 1, 2, None], [15, 16, 17, None]]


def test_the_first_images_are_in_reading_order() -> None:
    images = torch.arange(7, dtype=torch.uint8).reshape(7, 1, 1, 1).expand(7, 3, 4, 4)
    values = [[int(cell[0, 0, 0]) for cell in row if cell is not None] for row in grid_in_order("one", images, 2).cells]
    assert values == [[0, 1], [2, 3]]


def test_pixels_are_squares_of_whole_screen_pixels_without_blur(tmp_path: Path) -> None:
    checks = np.indices((8, 8)).sum(0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    draw_image_grid([ImagePanel("", [[image, image], [None, image]])], tmp_path / "grid.png")
    picture = read(tmp_path / "grid.png")
    assert set(np.unique(picture)) == {0.0, 1.0}
    black = (picture[..., 0] == 0).sum()
    assert black == 3 * 32 * 6 * 6  # zoom 6, half of the pixels of three images


def test_a_row_without_cells_is_a_narrow_gap(tmp_path: Path) -> None:
    black = np.zeros((9, 9, 3), np.uint8)
    panel = ImagePanel("", [[black], [], [black]], rows=["above", "", "below"])
    assert panel.pixels((9, 9))[:, 4, 0].tolist() == [255, *[0] * 9, *[255] * 4, *[0] * 9, 255]
    draw_image_grid([panel], tmp_path / "grid.png")


@pytest.mark.parametrize("names", [["0", "1", "2"], ["Ankle boot", "T-shirt/top", "class of a very long name"]])
def test_names_of_columns_are_within_the_picture(tmp_path: Path, names: list[str]) -> None:
    white = np.full((28, 28, 3), 255, np.uint8)
    panel = ImagePanel("a title that is wider than its panel", [[white] * 3] * 2, names, ["unguided", "guided"])
    draw_image_grid([panel, panel], tmp_path / "grid.png")
    picture = read(tmp_path / "grid.png").min(axis=2)
    edge = 3
    for side in (picture[:edge], picture[-edge:], picture[:, :edge], picture[:, -edge:]):
        assert side.min() == 1.0


def test_images_of_two_sizes_and_none_are_refused(tmp_path: Path) -> None:
    small, large = np.zeros((4, 4, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="one size"):
        draw_image_grid([ImagePanel("", [[small, large]])], tmp_path / "grid.png")
    with pytest.raises(ValueError, match="no image"):
        draw_image_grid([ImagePanel("", [[None]])], tmp_path / "grid.png")
