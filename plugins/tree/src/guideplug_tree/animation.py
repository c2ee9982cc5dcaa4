"""The tree's animation: the same starts flow along the sampler's steps, a panel for each denoiser.

A point is blue while it is inside the outline of the figure, and red while it is not; the number above a panel is the
share that is inside. The view follows the noise: it spans 2.2 standard deviations of the noisy data until that is the
figure's window.
Cost: one more trajectory of 2,000 samples per arm.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from attrs import frozen
from torch import Tensor

from guideplug import Arm, Sampler, SampleStreams
from guideplug_tree.figure import INSIDE, OUTSIDE, window
from guideplug_tree.metrics import OUTLINE
from guideplug_tree.mixture import TreeMixture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

__all__ = ["NUM_POINTS", "draw_animation", "walk"]

NUM_POINTS = 2000
"""Points that flow in each panel."""
MAX_FRAMES = 65
"""A sampler with more steps than that is shown at evenly spaced ones."""
PANEL, GAP, HEADER, FOOTER = 296, 8, 74, 28
"""Pixels: the side of a panel, the space between panels, and the lines above and below them."""
SUPERSAMPLING = 3
SHADES = 6
"""Steps from uncovered to covered: few, for a small palette and long runs."""
DOT, GAIN = 0.7, 1.5
"""The radius of a point in pixels, and how solid it is."""
FIRST_MS, LAST_MS, FLOW_MS = 900, 2200, 3600
"""Milliseconds that the first and the last frame stand, and that those between take together."""
GRID = 360
INK, MUTED, FRAME, WITHIN = "#222222", "#6b6b6b", "#d0d0d0", "#f3f0e6"

Pixels = npt.NDArray[np.float32]


@frozen
class Flow:
    """Where an arm's starts are at each noise level, (F, N, 2), and which are inside the outline there, (F, N)."""

    title: str
    sigmas: list[float]
    points: npt.NDArray[np.float32]
    inside: npt.NDArray[np.bool_]


def draw_animation(mixture: TreeMixture, arms: Sequence[Arm], sampler: Sampler, seed: int, path: Path) -> None:
    """Write a GIF with a panel for each arm and a frame for each step of the sampler.

    It begins with its last frame, so that a preview that stands still shows the samples.
    """
    _save(_frames(mixture, [_flow(mixture, arm, sampler, seed) for arm in arms]), path)


def _save(frames: "Iterable[Image]", path: Path) -> None:
    """Write frames, given in the order of time, as a GIF that begins with the last."""
    from PIL import Image

    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in _colours() for channel in colour])
    *rest, last = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    each = min(max(FLOW_MS // max(len(rest) - 1, 1), 20), 400)
    durations = [LAST_MS, FIRST_MS, *[each] * (len(rest) - 1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    last.save(
        path, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=True, disposal=1
    )


@torch.no_grad()
def walk(arm: Arm, sampler: Sampler, seed: int, count: int) -> tuple[list[float], Tensor]:
    """The noise levels of the sampler's steps, the start's first, and ``count`` points of an arm there, (F, N, 2)."""
    assert arm.denoiser is not None
    assert arm.start is not None
    start = arm.start[:count]
    device = next(iter(arm.denoiser.parameters()), start).device
    streams = SampleStreams(seed, range(len(start)), device)
    condition = None if arm.labels is None else arm.labels[:count].to(device)
    sigmas, points = [sampler.sigmas(arm.denoiser)[0]], [start]
    for state in sampler.steps(arm.denoiser, start.to(device), condition, streams):
        sigmas.append(state.sigma)
        points.append(state.x.cpu())
    return sigmas, torch.stack(points)


def _flow(mixture: TreeMixture, arm: Arm, sampler: Sampler, seed: int) -> Flow:
    sigmas, points = walk(arm, sampler, seed, NUM_POINTS)
    shown = np.unique(np.linspace(0, len(sigmas) - 1, min(len(sigmas), MAX_FRAMES)).round().astype(int))
    points = points[shown]
    inside = mixture.log_prob(points.reshape(-1, 2)).reshape(points.shape[:2]) >= OUTLINE
    title = "truth: the exact score" if arm.name == "exact" else arm.title
    levels = [sigmas[step] for step in shown]
    return Flow(title, levels, points.numpy(), inside.numpy())


def _frames(mixture: TreeMixture, flows: Sequence[Flow]) -> "Iterator[Image]":
    """The frames in RGB: header, panels with outline and points, footer."""
    from PIL import Image, ImageDraw

    low, high = (corner.numpy() for corner in window(mixture))
    middle, half = (low + high) / 2, float(high[0] - low[0]) / 2
    spread = float(mixture.component_means.std(0).max())
    outline = _outline(mixture)
    large, small = _font(16), _font(13)
    lefts = [GAP + number * (PANEL + GAP) for number in range(len(flows))]
    width, height = lefts[-1] + PANEL + GAP, HEADER + PANEL + FOOTER
    num_frames = min(len(flow.sigmas) for flow in flows)
    backdrop, reach_before = np.empty(0, np.float32), 0.0
    for index in range(num_frames):
        sigma = flows[0].sigmas[index]
        reach = max(half, 2.2 * (spread**2 + sigma**2) ** 0.5)
        if reach != reach_before:
            backdrop, reach_before = _backdrop(outline, middle, reach), reach
        pixels = np.full((height, width, 3), 255.0, np.float32)
        for flow, left in zip(flows, lefts, strict=True):
            pixels[HEADER : HEADER + PANEL, left : left + PANEL] = _panel(backdrop, flow, index, middle, reach)
        image = Image.fromarray(pixels.astype(np.uint8))
        draw = ImageDraw.Draw(image)
        draw.text((GAP, 8), f"noise level σ = {sigma:.3f}", INK, large)
        draw.text((width - GAP, 10), f"step {index} of {num_frames - 1}", MUTED, small, anchor="ra")
        for flow, left in zip(flows, lefts, strict=True):
            draw.rectangle((left, HEADER, left + PANEL - 1, HEADER + PANEL - 1), outline=FRAME)
            draw.text((left, 37), _fitting(flow.title, small), INK, small)
            draw.text((left, 55), f"inside the outline now: {flow.inside[index].mean():.1%}", MUTED, small)
        _legend(draw, small, height - FOOTER + 6, flows[0].inside.shape[1])
        yield image


def _panel(backdrop: Pixels, flow: Flow, index: int, middle: Pixels, reach: float) -> Pixels:
    """The outline with an arm's points on it, those outside on top, (PANEL, PANEL, 3)."""
    pixels, inside = backdrop, flow.inside[index]
    for rows, colour in ((inside, INSIDE), (~inside, OUTSIDE)):
        cover = _cover(flow.points[index][rows], middle, reach)[..., None]
        pixels = pixels * (1 - cover) + np.array(_rgb(colour), np.float32) * cover
    return pixels


def _cover(points: Pixels, middle: Pixels, reach: float) -> Pixels:
    """How much of each pixel round dots at the points cover, from 0 to 1."""
    place = (points - middle) / (2 * reach) * PANEL
    at = np.stack([PANEL / 2 - place[:, 1], PANEL / 2 + place[:, 0]], 1) - 0.5  # row and column, of pixel centres
    at = at[((at > -2) & (at < PANEL + 1)).all(1)]
    corner = np.floor(at).astype(np.int64)
    light = np.zeros((PANEL + 8) ** 2, np.float32)
    for row in range(-1, 3):
        for column in range(-1, 3):
            square = ((np.add(corner, (row, column)) - at) ** 2).sum(1)
            cells = (corner[:, 0] + row + 4) * (PANEL + 8) + corner[:, 1] + column + 4
            light += np.bincount(cells, np.exp(-square / (2 * DOT**2)), len(light)).astype(np.float32)
    return _shaded(1 - np.exp(-GAIN * light)).reshape(PANEL + 8, PANEL + 8)[4:-4, 4:-4]


def _shaded(cover: Pixels) -> Pixels:
    return (cover * np.float32(SHADES)).round() / np.float32(SHADES)


@functools.cache
def _outline(mixture: TreeMixture) -> list[Pixels]:
    """The curves log p = `OUTLINE`, (V, 2) each."""
    from matplotlib.figure import Figure

    low, high = window(mixture)
    across, up = (torch.linspace(float(low[d]), float(high[d]), GRID) for d in (0, 1))
    grid = torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1).reshape(-1, 2)
    density = mixture.log_prob(grid).reshape(GRID, GRID).numpy()
    curves = Figure().subplots().contour(across.numpy(), up.numpy(), density, levels=[OUTLINE]).allsegs[0]
    return [np.asarray(curve, np.float32) for curve in curves]


def _backdrop(outline: Sequence[Pixels], middle: Pixels, reach: float) -> Pixels:
    """The outline on white, within lightly tinted, (PANEL, PANEL, 3)."""
    from PIL import Image, ImageDraw

    side = PANEL * SUPERSAMPLING
    within = np.zeros((side, side), bool)
    lines = Image.new("L", (side, side))
    for curve in outline:
        place = (curve - middle) / (2 * reach) * side * (1, -1) + side / 2
        vertices = [(float(x), float(y)) for x, y in place]
        filled = Image.new("1", (side, side))
        ImageDraw.Draw(filled).polygon(vertices, fill=1)
        within ^= np.asarray(filled)  # a curve inside another is a hole
        ImageDraw.Draw(lines).line(vertices, fill=255, width=SUPERSAMPLING)
    pixels = np.full((PANEL, PANEL, 3), 255.0, np.float32)
    for mask, colour in ((within * np.float32(255), WITHIN), (np.asarray(lines, np.float32), MUTED)):
        blocks = mask.reshape(PANEL, SUPERSAMPLING, PANEL, SUPERSAMPLING)
        share = _shaded(blocks.mean((1, 3)) / 255)[..., None]
        pixels = pixels * (1 - share) + np.array(_rgb(colour), np.float32) * share
    return pixels


def _legend(draw: "ImageDraw", font: "FreeTypeFont", top: int, count: int) -> None:
    """What the colours mean."""
    left = float(GAP)
    for colour, said in (
        (INSIDE, "inside the outline now"),
        (OUTSIDE, "outside it"),
        (None, f"{count:,} points in each panel, from the same noise"),
    ):
        if colour is not None:
            draw.ellipse((left, top + 4, left + 8, top + 12), fill=colour)
            left += 13
        draw.text((left, top), said, MUTED if colour is None else INK, font)
        left += font.getlength(said) + 12


def _fitting(text: str, font: "FreeTypeFont") -> str:
    """The text, cut where it is wider than a panel."""
    if font.getlength(text) <= PANEL:
        return text
    while text and font.getlength(f"{text}…") > PANEL:
        text = text[:-1]
    return f"{text}…"


def _font(size: int) -> "FreeTypeFont":
    """The font of the figures, which matplotlib brings."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _colours() -> list[tuple[int, ...]]:
    """The palette: the shades of text, outline and ground, and those of points on each."""
    steps = np.linspace(0, 1, SHADES + 1)

    def between(first: Sequence[float], second: Sequence[float]) -> list[tuple[int, ...]]:
        return [tuple(map(round, (1 - step) * np.array(first) + step * np.array(second))) for step in steps]

    white, within, muted, inside, outside = map(_rgb, ("#ffffff", WITHIN, MUTED, INSIDE, OUTSIDE))
    grounds = dict.fromkeys([white, within, *between(within, muted)[1::2], *between(white, muted)[1::2]])
    points = [shade for ground in grounds for colour in (inside, outside) for shade in between(ground, colour)]
    texts = [*between(white, _rgb(INK)), *between(white, muted), *between(inside, outside), _rgb(FRAME)]
    return list(dict.fromkeys([*texts, *points]))[:256]


def _rgb(colour: str) -> tuple[int, ...]:
    from PIL import ImageColor

    return ImageColor.getrgb(colour)
