"""Networks whose parametrisation is known, and ten wrong ways to wrap them."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug import CosineSchedule, FlowSchedule, Leaf, NoiseSchedule, VESchedule, VPSchedule, check_denoiser, wrap
from guideplug.check import Check

__all__ = ["Known", "Predicting", "wrong_ways"]


class Predicting(nn.Module):
    """A denoiser as the network of another parametrisation, so that what it predicts is known.

    Args:
        denoiser: the trained one.
        predicts: "denoised", "epsilon", "v" or "flow".
        schedule: what it is told.
    """

    def __init__(self, denoiser: Leaf, predicts: str, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.denoiser, self.predicts, self.schedule = denoiser, predicts, schedule

    def forward(self, x_t: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """The prediction (B, *) of x_t at the time (B,)."""
        sigma = self.schedule.sigma(time).nan_to_num(1e4).clamp(1e-4, 1e4)
        rows = [-1, *[1] * (x_t.ndim - 1)]
        alpha = self.schedule.alpha(sigma).reshape(rows)
        x, sigma_of_rows = x_t / alpha, sigma.reshape(rows)
        clean = self.denoiser(x, sigma, labels)
        noise = (x - clean) / sigma_of_rows
        predicted = {
            "denoised": clean,
            "epsilon": noise,
            "v": alpha * noise - alpha * sigma_of_rows * clean,
            "flow": noise - clean,
        }
        return predicted[self.predicts]


@frozen(eq=False)
class Known:
    """A network, what is true of it, and real samples."""

    network: Any
    predicts: Any
    schedule: NoiseSchedule | None
    examples: Tensor
    labels: Tensor | None
    null: Any = None
    sigma_data: float = 0.5

    def wrapped(self, **wrong: Any) -> Leaf:
        """As it is, but for what is to be wrong."""
        true = {"predicts": self.predicts, "schedule": self.schedule, "null": self.null, "sigma_data": self.sigma_data}
        return wrap(self.network, self.examples.shape[1:], **{**true, **wrong})


def wrong_ways(known: Known) -> Iterator[tuple[str, str, Callable[[], Check]]]:
    """Each wrong way, a piece of the code that cures it, and its check."""
    x, labels = known.examples, known.labels
    cured = f'predicts="{known.predicts}"'

    def check(samples: Tensor = x, condition: Tensor | None = labels, **wrong: Any) -> Callable[[], Check]:
        return lambda: check_denoiser(known.wrapped(**wrong), samples, condition)

    yield "right", "", check()
    flow, ve = isinstance(known.schedule, FlowSchedule), isinstance(known.schedule, VESchedule)
    for other in ("denoised", "epsilon", "score", *(("flow",) if flow else () if ve else ("v",))):
        if other != known.predicts:
            yield f"as {other}", cured, check(predicts=other)
    yield "as edm", cured, check(predicts="edm", schedule=None)
    if known.predicts == "v":
        other_vp = VPSchedule() if isinstance(known.schedule, CosineSchedule) else CosineSchedule()
        yield "with another VP schedule", "schedule=", check(schedule=other_vp)
    elif known.predicts != "flow":
        way, schedule = ("with VP", VPSchedule()) if flow else ("with a flow's schedule", FlowSchedule())
        yield way, "schedule=", check(schedule=schedule)
        if not ve:
            yield "with VE", "schedule=", check(schedule=VESchedule())
    if hasattr(known.schedule, "time_scale"):
        scale = known.schedule.time_scale
        yield "time x 1000", "schedule=", check(schedule=evolve(known.schedule, time_scale=1000 * scale))
        yield "time / 1000", "schedule=", check(schedule=evolve(known.schedule, time_scale=scale / 1000))
    else:
        yield "time / 1000", "schedule=", check(schedule=VPSchedule())
    if x.ndim == 4:
        zero_to_one = (x - x.min()) / (x.max() - x.min())
        yield "0 .. 255", "samples", check(samples=255 * zero_to_one)
        other_range = 2 * x - 1 if float(x.min()) >= 0 else zero_to_one
        yield "0 .. 1 for -1 .. 1, or back", "samples", check(samples=other_range)
        yield "upside down", "flip(2)", check(samples=x.flip(2))
        yield "negated", "samples", check(samples=-x if float(x.min()) < 0 else 1 - x)
    else:
        yield "ten times as large", "samples", check(samples=10 * x)
        yield "shifted by 2 deviations", "samples", check(samples=x + 2 * x.std())
        yield "coordinates in reverse", "flip(1)", check(samples=x.flip(1))
    if labels is not None:
        classes = int(labels.max()) + 1
        yield "labels + 1", "labels", check(condition=(labels + 1) % classes)
        if classes > 2:
            order = torch.randperm(classes, generator=torch.Generator().manual_seed(1))
            yield "labels permuted", "labels", check(condition=order[labels])
