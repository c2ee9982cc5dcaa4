"""Sliding-window guidance: away from what the same network says of pieces of an image.

    D_w(x; sigma, c) = D + (w - 1) M (D - V),    V = the average over windows of D(window of x; sigma, c)

The windows are n x n crops of one size that cover the image and overlap, at even distances. Within each the network
cannot see the rest, so the difference is what it knows of long range. M is 1 where windows overlap and 0 elsewhere: the
masked form, which the paper recommends; without ``masked`` it is 1 everywhere.

The network must take images of the windows' size, as a convolutional one does (`Leaf.fits`, or
``wrap(..., resizable=True)``); by default the size is the nearest to the paper's share of 5/8 that it takes.
Conditions go with each window as they are.

Source: N. Adaloglou, T. Kaiser, D. Iagudin and M. Kollmann 2024, "Guiding a diffusion model using sliding windows",
arXiv:2411.10257 (third version). There: windows of 40 in latents of 64, n = 2, w - 1 from .2 (best FID) to 1.1 (best
FDD) for EDM2-S; the share of 5/8 is that.
Cost: a call of the network for the image, and one for all windows: n^2 outputs of (size / side)^2 of the work each.
"""

import math
from collections.abc import Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import (
    Change,
    Combine,
    Denoiser,
    DenoiserError,
    Guider,
    Level,
    Source,
    View,
    WeightSchedule,
    finite,
    option,
    up_to,
)

__all__ = ["SlidingWindow", "Windows"]


@final
@frozen
class Windows(Change):
    """Overlapping crops of images (B, C, H, W), with averaged outputs."""

    size: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @property
    def copies(self) -> int:  # type: ignore[override]
        """How many windows."""
        return len(self.tops) * len(self.lefts)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], self.size, self.size)

    def _places(self) -> list[tuple[slice, slice]]:
        sides = [[slice(at, at + self.size) for at in begins] for begins in (self.tops, self.lefts)]
        return [(rows, columns) for rows in sides[0] for columns in sides[1]]

    def inputs(self, x: Tensor, sigma: Level) -> Tensor:
        return torch.cat([x[..., rows, columns] for rows, columns in self._places()])

    def answer(self, denoised: Tensor, x: Tensor, sigma: Level) -> Tensor:
        total = denoised.new_zeros(x.shape)
        for (rows, columns), piece in zip(self._places(), denoised.chunk(self.copies), strict=True):
            total[..., rows, columns] += piece
        return total / self.counts(x)

    def counts(self, x: Tensor) -> Tensor:
        """How many windows see each pixel, (H, W)."""
        height, width = (
            sum((at <= line) & (line < at + self.size) for at in begins)
            for line, begins in (
                (torch.arange(x.shape[-2], device=x.device), self.tops),
                (torch.arange(x.shape[-1], device=x.device), self.lefts),
            )
        )
        return torch.outer(torch.as_tensor(height), torch.as_tensor(width)).to(x.dtype)

    def __str__(self) -> str:
        return f"in {self.copies} windows of {self.size}"


@final
@frozen
class SlidingWindow(Guider):
    """A network guided away from its own outputs on windows of the image."""

    name = "sliding-window"
    source = Source(
        "N. Adaloglou, T. Kaiser, D. Iagudin, M. Kollmann",
        2024,
        "Guiding a Diffusion Model Using Sliding Windows",
        "https://arxiv.org/abs/2411.10257",
    )
    weight: float | WeightSchedule = option(
        1.5, help="guidance weight; 1 is off. The paper's lie between 1.2 and 2.1", validator=finite
    )
    size: int | None = option(
        None,
        help="side of a window; none for that nearest to 5/8 of the shorter side which the network takes",
        unit="pixels",
        validator=up_to(65_536),
    )
    count: int = option(2, help="windows along each side", validator=up_to(64, least=2))
    masked: bool = option(True, help="guide only where windows overlap")

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        windows = self._windows(base)
        view: Denoiser = View(base, windows)
        if self.masked:
            view = Combine(
                [base, view],
                lambda outputs, x, sigma: torch.where(windows.counts(x) > 1, outputs[1], outputs[0]),
                written="where-windows-overlap({})",
            )
        return base + (self.weight - 1) * (base - view)

    def _windows(self, base: Denoiser) -> Windows:
        shape = base.space.shape
        if len(shape) != 3:
            raise DenoiserError(
                f"sliding-window is for images (channels, height, width), and the samples have shape {shape}"
            )
        sides = shape[1:]
        best = round(min(sides) * 5 / 8)
        sizes = range(math.ceil(max(sides) / self.count), min(sides))
        if not sizes or (self.size is not None and self.size not in sizes):
            raise DenoiserError(
                f"sliding-window: {self.count} windows of {self.size or best} along each side do not cover images "
                f"{shape}, or are not smaller: give another size or count"
            )
        tried = sorted(sizes, key=lambda side: (abs(side - best), -side)) if self.size is None else [self.size]
        networks = list(base.leaves())
        size = next((side for side in tried if all(one.fits((shape[0], side, side)) for one in networks)), None)
        if size is None:
            piece = (shape[0], tried[0], tried[0])
            network = next(one for one in networks if not one.fits(piece))
            raise DenoiserError(
                f"sliding-window asks for windows {piece}, and the network {network.role!r}, a "
                f"{type(network).__name__}, takes samples {network.space.shape} only: take a convolutional network, or "
                "say wrap(..., resizable=True) of one that is, or resizable=8 of one that halves its sides three times"
            )
        tops, lefts = (
            tuple(round(number * (side - size) / (self.count - 1)) for number in range(self.count)) for side in sides
        )
        return Windows(size, tops, lefts)
