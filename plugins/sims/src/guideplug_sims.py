"""SIMS, self-improving diffusion models with synthetic data: away from a copy that was trained on its own samples.

    D(x; sigma, c) = D_r(x; sigma, c) + omega * (D_r(x; sigma, c) - D_s(x; sigma, c)),  omega >= 0

The paper's four steps: (1) D_r is trained on data; (2) samples are drawn from it, as many as there are data; (3) D_s, a
copy of D_r, is fine-tuned on those samples alone for a budget, then they are dropped; (4) sampling goes away from D_s,
which has learned what D_r gets wrong. The weight of the other guiders is w = 1 + omega.

Source: S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse and R. Baraniuk 2024, "Self-improving diffusion models
with synthetic data", arXiv:2408.16333. The budget is a stopping point that the paper searches; our defaults are choices
of our own, measured on our tasks (docs/guiders.md).
Cost: one call of each network; before, one sampling of the base and the fine-tuning.
"""

from collections.abc import Mapping
from typing import Any, final

from attrs import frozen
from attrs.validators import optional

from guideplug import (
    Denoiser,
    Duration,
    Guider,
    Recipe,
    Source,
    Task,
    Train,
    WeightSchedule,
    at_least,
    hook,
    non_negative,
    option,
    positive,
)

ENDLESS = 16384
"""Synthetic samples where the data are drawn anew without end, so that there is no number to match."""


def _duration(value: Any) -> Duration | None:
    return None if value is None else Duration.of(value)


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
    count: int | None = option(
        None,
        help="synthetic samples; none for as many as there are data",
        unit="samples",
        validator=optional(at_least(1)),
    )
    budget: Duration | None = option(
        None,
        help="how long the copy is fine-tuned; none for an eighth of the training of the base",
        converter=_duration,
    )
    lr: float = option(0.1, help="learning rate of the fine-tuning, as a share of the base's", validator=positive)
    model: str = option("synthetic", help="role of the fine-tuned copy")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | str | None]:
        assert isinstance(main, Train)  # or the task's own, where what is guided was not trained from scratch
        options, seed = main.options, main.seed
        count = self.count or task.size() or ENDLESS
        budget = self.budget or options.duration.part(1 / 8)
        samples = f"synthetic(of=main, count={count}, seed={seed})"
        return {
            self.model: f"fine-tune(of=main, on={samples}, duration={budget}, lr={self.lr * options.lr:.6g}, "
            f"schedule=constant, warmup=0, seed={seed})"
        }

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + self.omega * (base - models[self.model])


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [SIMS]
