"""Grids of tokens: the sides of a sequence, and a Gaussian blur over it."""

import functools
import math

import torch
from torch import Tensor

from guideplug.errors import DenoiserError

__all__ = ["blurred", "sides"]


def sides(length: int, sample: tuple[int, ...] = ()) -> tuple[int, int, int]:
    """Frames, rows and columns of a sequence of tokens.

    Args:
        length: how many tokens.
        sample: the shape of the network's input. Tokens are taken to be square patches of images (B, C, H, W), or of
            videos (B, C, F, H, W), of one frame or of all. Without such a shape they are a square.

    Raises:
        DenoiserError: there is no such grid.
    """
    if len(sample) in (4, 5):
        height, width = sample[-2:]
        most = sample[2] if len(sample) == 5 else 1
        for frames in (count for count in range(1, most + 1) if most % count == 0 and length % count == 0):
            rows = round(math.sqrt(length / frames * height / width))
            columns = round(rows * width / height)
            if frames * rows * columns == length and rows * width == columns * height and rows <= height:
                return frames, rows, columns
    side = math.isqrt(length)
    if side * side == length:
        return 1, side, side
    grid = f"grid of inputs {sample}" if len(sample) in (4, 5) else "square grid"
    raise DenoiserError(f"queries of {length} tokens cannot be blurred: they are no {grid}; give blur=inf")


def blurred(tokens: Tensor, blur: float, grid: tuple[int, int, int] | None = None) -> Tensor:
    """Tokens (..., T, C), row by row, blurred by a Gaussian of ``blur`` tokens within each frame; inf gives their mean.

    The kernel is cut at three standard deviations and at half the grid; the grid is reflected at its edges.

    Args:
        tokens: the tokens.
        blur: the standard deviation.
        grid: frames, rows and columns; by default those of a square.

    Raises:
        DenoiserError: without a grid, the tokens are no square.
    """
    if blur == math.inf:
        return tokens.mean(-2, keepdim=True).expand_as(tokens)
    frames, *shape = sides(tokens.shape[-2]) if grid is None else grid
    rows, columns = (_blur_matrix(side, blur).to(tokens.device, tokens.dtype) for side in shape)
    unfolded = tokens.reshape(*tokens.shape[:-2], frames, *shape, tokens.shape[-1])  # (..., F, H, W, C)
    return torch.einsum("ih,jw,...hwc->...ijc", rows, columns, unfolded).reshape(tokens.shape)


@functools.lru_cache(maxsize=64)
def _blur_matrix(side: int, blur: float) -> Tensor:
    """The blur of one axis, (side, side): row i holds the weights of blurred token i."""
    reach = min(math.ceil(6 * blur) // 2, side // 2)
    weights = torch.tensor([math.exp(-0.5 * (step / blur) ** 2) for step in range(-reach, reach + 1)])
    matrix = torch.zeros(side, side)
    for i in range(side):
        for step, weight in zip(range(-reach, reach + 1), (weights / weights.sum()).tolist(), strict=True):
            at = abs(i + step)
            matrix[i, at if at < side else 2 * (side - 1) - at] += weight
    return matrix
