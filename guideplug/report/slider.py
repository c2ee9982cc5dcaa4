"""Data of the slider: the samples at several weights as integers of 8 or 16 bits, and a sentence per weight.

Points of the plane unchanged; images as grids; other samples as their first two principal components about the truth,
with a note. Quantised to 1 / 65,535 of the range of points, 1 / 255 of that of images.
"""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["slider_of"]

Array = NDArray[Any]


def slider_of(sweep: Mapping[str, Array]) -> dict[str, Any] | str:
    """The data of the slider's script; or the reason why there is none, in words."""
    samples, truth = sweep["samples"].astype(np.float64), sweep["truth"].astype(np.float64)
    shape = samples.shape[2:]
    weights = [float(weight) for weight in sweep["weights"]]
    own = int(np.argmin(np.abs(sweep["weights"] - float(sweep["own"]))))
    common = {
        "option": str(sweep["option"]),
        "weights": weights,
        "own": own,
        "failed": [float(weight) for weight in sweep["failed"]],
        "count": samples.shape[1],
    }
    if len(shape) == 3 and shape[0] in (1, 3):
        return common | _images(samples, truth)
    if int(np.prod(shape)) < 2:
        return "Samples are single numbers, which the slider has no picture for."
    note = ""
    flat, true = samples.reshape(*samples.shape[:2], -1), truth.reshape(len(truth), -1)
    if flat.shape[2] != 2:
        note = (
            f"Samples have {flat.shape[2]} numbers; shown are their first two principal components about the truth, "
            "which leave out whatever else differs."
        )
        middle = true.mean(0)
        axes = np.linalg.svd(true - middle, full_matrices=False)[2][:2]
        flat, true = (flat - middle) @ axes.T, (true - middle) @ axes.T
    return common | {"note": note} | _points(flat, true, common["option"], weights)


def _points(samples: Array, truth: Array, option: str, weights: list[float]) -> dict[str, Any]:
    every = np.concatenate([samples.reshape(-1, 2), truth])
    low, high = every.min(0), every.max(0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 or 1.0
    seen_low, seen_high = np.quantile(every, 0.002, axis=0), np.quantile(every, 0.998, axis=0)
    seen = float((seen_high - seen_low).max()) / 2 * 1.08 or 1.0

    def packed(values: Array) -> str:
        return _base64(np.rint((values - middle) / half * 32767).astype("<i2"))

    apart = _nearest(truth, truth, leave_out=True)
    spread = float(np.sqrt(truth.var(0).sum())) or 1.0
    sentences = []
    for weight, points in zip(weights, samples, strict=True):
        wide = float(np.sqrt(points.var(0).sum())) / spread
        sentences.append(
            f"At {option} {weight:g}, samples are {_nearest(points, truth):.3g} from the nearest true sample in the "
            f"mean (true ones from each other {apart:.3g}), and spread {wide:.2f} times as wide as true ones."
        )
    return {
        "kind": "points",
        "samples": packed(samples),
        "truth": packed(truth),
        "middle": middle.tolist(),
        "half": half,
        "view": [*((seen_low + seen_high) / 2).tolist(), seen],
        "said": sentences,
    }


def _nearest(points: Array, others: Array, *, leave_out: bool = False) -> float:
    """The mean distance to the nearest other point."""
    squares = ((points[:, None] - others[None]) ** 2).sum(-1)
    if leave_out:
        np.fill_diagonal(squares, np.inf)
    nearest = np.sqrt(squares.min(1))
    return float(nearest[np.isfinite(nearest)].mean()) if np.isfinite(nearest).any() else 0.0


def _images(samples: Array, truth: Array) -> dict[str, Any]:
    low, high = float(truth.min()), float(truth.max())
    width = high - low or 1.0
    contrast = float(truth.std()) or 1.0

    def packed(values: Array) -> str:
        shown = np.rint((values - low) / width * 255).clip(0, 255).astype(np.uint8)
        return _base64(np.moveaxis(shown, -3, -1))

    return {
        "kind": "images",
        "note": "",
        "samples": packed(samples),
        "truth": packed(truth),
        "channels": samples.shape[2],
        "height": samples.shape[3],
        "width": samples.shape[4],
        "said": [_of_images(images, low, high, contrast) for images in samples],
    }


def _of_images(images: Array, low: float, high: float, contrast: float) -> str:
    slack = 0.05 * (high - low)
    beyond = float(np.mean((images < low - slack) | (images > high + slack)))
    return (
        f"Contrast (standard deviation of the pixels) {float(images.std()) / contrast:.2f} times that of true images; "
        f"{beyond:.1%} of the pixels are clearly beyond their range."
    )


def _base64(values: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
