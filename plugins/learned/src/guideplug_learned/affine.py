"""Whether the weight of a guider is one that can be learned: whether the guider is affine in it.

An affine guider is G_w = D_0 + (w - 1) * (D_0 - O), and O = G_0, the guider at weight 0, is its opposite: the weak
network of autoguidance, the unconditional one of classifier-free guidance. Its direction D_0 - O is G_2 - D_0.

`check_affine` holds a guider to that by its values on closed-form Gaussians: G_1 = D_0, and G_0, G_2, G_3 lie on the
line. Cost: no network call, a few operations on four samples.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast, final

import attrs
import torch
from torch import Tensor

from guideplug import Condition, Denoiser, Guider, Leaf, Level, Space, Step, per_row
from guideplug_learned.errors import LearnedError

__all__ = ["asked_roles", "at_weight", "check_affine", "check_weight"]

TOLERANCE = 1e-6
"""Relative, in float64."""


def at_weight(guider: Guider, weight: float) -> Guider:
    """The guider with another weight."""
    changed: Guider = attrs.evolve(cast(Any, guider), weight=weight)
    return changed


def check_weight(guider: Guider) -> None:
    """Refuse a guider without a weight, and one whose weight was chosen, for it is what is learned.

    Raises:
        LearnedError: it has no option ``weight``, or the option is not at its default.
    """
    options = {attribute.name: attribute for attribute in attrs.fields(cast(Any, type(guider)))}
    if "weight" not in options:
        raise LearnedError(
            f"guider {guider.name!r} has no option weight, which is what is learned: put learned around one that has, "
            "as in learned(autoguidance), and others around learned"
        )
    weight, default = getattr(guider, "weight"), options["weight"].default  # noqa: B009 - not every guider has it
    if weight != default:
        raise LearnedError(f"guider {guider.name!r} has weight {weight}: the weight is what is learned, leave it out")


def asked_roles(guider: Guider, space: Space, roles: Mapping[str, object]) -> list[str]:
    """Those of the roles whose networks the guider asks for."""
    models = _Probes(space, roles)
    at_weight(guider, 2.0).guide(_Probe(space, 0), models)
    return [role for role in roles if role in models.asked]


def check_affine(guider: Guider, space: Space) -> None:
    """Refuse a guider that is not off at weight 1, or not affine in its weight.

    Raises:
        LearnedError: it is not.
    """
    base, models = _Probe(space, 0), _Probes(space, None)
    generator = torch.Generator().manual_seed(0)
    condition = torch.tensor([0, 1, 0, 1])
    for share in (0.2, 0.5, 0.8):
        sigma = space.sigma_min ** (1 - share) * space.sigma_max**share
        spread = (space.sigma_data**2 + sigma**2) ** 0.5
        x = 2 * spread * torch.randn(4, *space.shape, generator=generator, dtype=torch.float64)
        values = [
            at_weight(guider, weight).guide(base, models)(x, sigma, condition, toward=sigma / 2)
            for weight in (0.0, 1.0, 2.0, 3.0)
        ]
        off = base(x, sigma, condition)
        away = values[2] - off
        size = TOLERANCE * (float(off.abs().max()) + float(values[3].abs().max()))
        for found, wanted in ((values[1], off), (values[0], off - away), (values[3], off + 2 * away)):
            if not bool(((found - wanted).abs() <= size).all()):
                raise LearnedError(
                    f"guider {guider.name!r} is not base + (weight - 1) * (base - guide), so no weight of it can be "
                    "learned: give an affine one, such as learned(autoguidance) or learned(cfg)"
                )


@final
class _Probe(Leaf):
    """The denoiser of N(m, sigma_data^2), m different for each number and condition. Its calls are not counted."""

    def __init__(self, space: Space, number: int) -> None:
        super().__init__(space)
        self.mean = (0.3 + 0.4 * number) * space.sigma_data
        self.std = (1 + 0.3 * number) * space.sigma_data

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        levels = sigma if isinstance(sigma, Tensor) else torch.full((len(x),), sigma, dtype=x.dtype)
        return self.denoise(x, levels.to(x.dtype).expand(len(x)), condition)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        variance = per_row(sigma**2, x)
        part = condition
        while part is not None and not isinstance(part, Tensor):
            part = next(iter(part.values() if isinstance(part, Mapping) else part), None)
        shift = 0.0 if part is None else per_row(part.to(x.dtype).reshape(len(part), -1).mean(1), x)
        # Not the same in every coordinate, so that projections have something to do.
        slope = torch.linspace(0.5, 1.5, x[0].numel(), dtype=x.dtype).reshape(x.shape[1:])
        mean = (self.mean + self.space.sigma_data * shift) * slope
        denoised: Tensor = (self.std**2 * x + variance * mean) / (self.std**2 + variance)
        return denoised

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), -1, device=device)


class _Probes(Mapping[str, Denoiser]):
    """A probe for every role that is there, or for whatever is asked for where that is not said."""

    def __init__(self, space: Space, roles: Mapping[str, object] | None) -> None:
        self._space, self._roles = space, roles
        self.asked: dict[str, Denoiser] = {}

    def __getitem__(self, role: str) -> Denoiser:
        if self._roles is not None and role not in self._roles:
            raise KeyError(role)
        if role not in self.asked:
            self.asked[role] = _Probe(self._space, 1 + len(self.asked))
        return self.asked[role]

    def __contains__(self, role: object) -> bool:
        return self._roles is not None and role in self._roles

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles or ())

    def __len__(self) -> int:
        return len(self._roles or ())
