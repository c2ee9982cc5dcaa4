"""SIMS, self-improving diffusion models with synthetic data: away from a copy that was trained on its own samples.

    D(x; sigma, c) = D_r(x; sigma, c) + omega * (D_r(x; sigma, c) - D_s(x; sigma, c)),  omega >= 0

The paper's four steps: (1) D_r is trained on data; (2) samples are drawn from it, as many as there are data; (3) D_s, a
copy of D_r, is fine-tuned on those samples alone for a budget, then they are dropped; (4) sampling goes away from D_s,
which has learned what D_r gets wrong. The weight of the other guiders is w = 1 + omega.

Source: S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse and R. Baraniuk 2024, "Self-improving diffusion models
with synthetic data", arXiv:2408.16333. The budget is a stopping point that the paper searches; our defaults are choices
of our own, measured on our tasks (docs/guiders.md).
Cost: one call of each network; before, one sampling of the base and the fine-tuning.

`Extrapolation` takes the same step between the weights t of the same two networks, not between their answers:

    t = t_r + omega * (t_r - t_s) = (1 + omega) t_r - omega t_s

Source: S. Alemohammad, Z. Wang and R. Baraniuk 2025, "Neon: negative extrapolation from self-training improves image
generation", arXiv:2510.03597; and G. Ilharco et al. 2022, "Editing models with task arithmetic", arXiv:2212.04089, for
which t_s - t_r is a task vector, and this its negation. To first order in t_s - t_r it is SIMS at the same omega, and
where a network is linear in its weights it is SIMS. Offering it as a guider beside SIMS, with SIMS' defaults, is ours.
Cost: one call of the extrapolated network, none of the other two; memory for a third network.
"""

import copy
from collections.abc import Mapping
from typing import Any, Protocol, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import (
    Denoiser,
    DenoiserError,
    Duration,
    Guider,
    Leaf,
    Recipe,
    Source,
    Task,
    Train,
    WeightSchedule,
    hook,
    non_negative,
    option,
    positive,
    up_to,
)

ENDLESS = 16384
"""Synthetic samples where the data are drawn anew without end, so that there is no number to match."""


def _duration(value: Any) -> Duration | None:
    return None if value is None else Duration.of(value)


def _count() -> Any:
    return option(
        None,
        help="synthetic samples; none for as many as there are data",
        unit="samples",
        validator=up_to(100_000_000),
    )


def _budget() -> Any:
    return option(
        None,
        help="how long the copy is fine-tuned; none for an eighth of the training of the base",
        converter=_duration,
    )


def _lr() -> Any:
    return option(0.1, help="learning rate of the fine-tuning, as a share of the base's", validator=positive)


def _model() -> Any:
    return option("synthetic", help="role of the fine-tuned copy")


class _Copies(Protocol):
    """The options that say how the copy is made, which both guiders have."""

    @property
    def count(self) -> int | None: ...
    @property
    def budget(self) -> Duration | None: ...
    @property
    def lr(self) -> float: ...
    @property
    def model(self) -> str: ...


def _copy_of(options: _Copies, task: Task, main: Recipe) -> Mapping[str, Recipe | str | None]:
    """The recipe of the copy that was fine-tuned on its own samples, under its role: steps 2 and 3."""
    assert isinstance(main, Train)  # or the task's own, where what is guided was not trained from scratch
    training, seed = main.options, main.seed
    count = options.count or task.size() or ENDLESS
    budget = options.budget or training.duration.part(1 / 8)
    samples = f"synthetic(of=main, count={count}, seed={seed})"
    return {
        options.model: f"fine-tune(of=main, on={samples}, duration={budget}, lr={options.lr * training.lr:.6g}, "
        f"schedule=constant, warmup=0, seed={seed})"
    }


@final
@frozen
class SIMS(Guider):
    """A model guided away from a copy of itself that was fine-tuned on its own samples."""

    name = "sims"
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    omega: float | WeightSchedule = option(
        1.0, help="guidance strength; 0 is off, and 1 + omega is the other guiders' weight", validator=non_negative
    )
    count: int | None = _count()
    budget: Duration | None = _budget()
    lr: float = _lr()
    model: str = _model()

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | str | None]:
        return _copy_of(self, task, main)

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + self.omega * (base - models[self.model])


@final
@frozen
class Extrapolation(Guider):
    """One network whose weights lie beyond the model's, away from a copy fine-tuned on the model's own samples."""

    name = "extrapolation"
    source = Source(
        "S. Alemohammad, Z. Wang, R. Baraniuk",
        2025,
        "Neon: Negative Extrapolation from Self-Training Improves Image Generation",
        "https://arxiv.org/abs/2510.03597",
    )
    omega: float = option(
        1.0, help="how far beyond the base, in distances between the two networks; 0 is off", validator=non_negative
    )
    count: int | None = _count()
    budget: Duration | None = _budget()
    lr: float = _lr()
    model: str = _model()

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | str | None]:
        return _copy_of(self, task, main)

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        if self.omega == 0:
            return base
        network, copied = self._network(base, "what is guided"), self._network(models[self.model], self.model)
        ours, theirs = _tensors(network), _tensors(copied)
        for name in dict.fromkeys([*ours, *theirs]):
            shapes = [tuple(state[name].shape) if name in state else "none" for state in (ours, theirs)]
            if shapes[0] != shapes[1]:
                raise DenoiserError(
                    f"guider {self.name!r}: {network.role!r} and {copied.role!r} are not of one architecture, {name} "
                    f"is {shapes[0]} in one and {shapes[1]} in the other: give the role {self.model!r} a copy of the "
                    "base that was trained further, or use sims"
                )
        extrapolated = copy.deepcopy(network)
        moved = {name: self._beyond(value, theirs[name]) for name, value in ours.items()}
        extrapolated.load_state_dict({**network.state_dict(), **moved})
        extrapolated.role = f"extrapolated {self.omega:g}"
        return extrapolated

    def _network(self, point: Denoiser, who: str) -> Leaf:
        if isinstance(point, Leaf) and next(point.parameters(), None) is not None:
            return point
        what = f"a {type(point).__name__} without parameters" if isinstance(point, Leaf) else "made of several answers"
        raise DenoiserError(
            f"guider {self.name!r} combines the weights of two networks, and {who} is {what}: give it a trained "
            "network itself, and put other guiders around this one, as in interval(extrapolation, high=1)"
        )

    def _beyond(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """One tensor of the extrapolated network; what the two have alike stays, an infinity in a mask too."""
        if not ours.is_floating_point():
            return ours
        exact = torch.promote_types(ours.dtype, torch.float32)  # in half precision a difference is mostly rounding
        start, other = ours.to(exact), theirs.to(ours.device, exact)
        return torch.where(start == other, start, start + self.omega * (start - other)).to(ours.dtype)


def _tensors(network: Leaf) -> dict[str, Tensor]:
    """The parameters and stored buffers of a network, by name."""
    return {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [SIMS, Extrapolation]
