"""A guider under test: networks and inputs for every kind of condition."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, cast, get_args

import attrs
import torch
from torch import Tensor

from guideplug.denoise import Condition, Denoiser, Leaf, Level, LinearStep, Step, Weight, WeightSchedule
from guideplug.guide import Guider
from guideplug.testing.law_helpers import BATCH, converted
from guideplug.testing.oracles import CONDITIONS, Conditioning, GaussianDenoiser, example_condition

__all__ = ["Case", "Guided", "models_for"]


class _Models(dict[str, Denoiser]):
    """A distinct closed-form denoiser for any role."""

    def __init__(self, conditioning: Conditioning, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._conditioning: Conditioning = conditioning
        self._shape = shape

    def __missing__(self, role: str) -> Denoiser:
        number = len(self)
        self[role] = GaussianDenoiser(
            0.3 + 0.2 * number, 0.6 + 0.1 * number, conditioning=self._conditioning, shape=self._shape
        )
        return self[role]


def models_for(
    guider: Guider, conditioning: Conditioning = "none", *, shape: tuple[int, ...] = (2,)
) -> Mapping[str, Denoiser]:
    """A distinct closed-form denoiser for every role that a guider needs or may use."""
    models = _Models(conditioning, shape)
    for role in guider.may_use():
        models[role]
    return models


@attrs.frozen(eq=False)
class Case:
    """A network to guide, other networks, and inputs."""

    main: Leaf
    others: Any
    x: Tensor
    condition: Condition

    def guided(self, guider: Guider) -> Denoiser:
        return guider.guide(self.main, self.others)

    def as_kind(self, *, dtype: torch.dtype | None = None, device: str | None = None) -> "Case":
        """A copy with another dtype, or on another device; shared networks stay shared."""
        main, others = converted({"main": self.main, "others": self.others}, dtype=dtype, device=device).values()
        x = converted(self.x, dtype=dtype, device=device)
        return Case(cast(Leaf, main), others, x, converted(self.condition, dtype=dtype, device=device))


class Guided:
    """A guider under test: its factory, and cases of every kind of condition. Arguments as of `check_guider`."""

    def __init__(
        self,
        make: Callable[..., Guider],
        models: Callable[[Conditioning], Mapping[str, Any]] | None = None,
        shape: tuple[int, ...] = (2,),
        base: Callable[[Conditioning], Leaf] | None = None,
    ) -> None:
        self.make, self.guider = make, make()
        self._models, self._shape, self._base = models, shape, base

    @cached_property
    def cases(self) -> list[Case]:
        return [self._case(conditioning) for conditioning in CONDITIONS]

    def _case(self, kind: Conditioning) -> Case:
        main = GaussianDenoiser(0.1, 0.5, conditioning=kind, shape=self._shape) if self._base is None else None
        network: Leaf = main if main is not None else cast(Any, self._base)(kind)
        shape = network.space.shape
        others = models_for(self.guider, kind, shape=shape) if self._models is None else self._models(kind)
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(BATCH, *shape, generator=generator)
        return Case(network, others, x, example_condition(kind, BATCH, generator))

    def answer(self, point: Denoiser, x: Tensor, sigma: Level, condition: Condition) -> Tensor:
        """The guided denoised samples (B, *), in a step of a sampler where `step` is one."""
        denoised: Tensor = point(x, sigma, condition, step=self.step(point))
        return denoised

    def step(self, point: Denoiser) -> Step:
        """A step of a sampler for guidance that is defined in steps alone; None for other guidance."""
        in_steps = any(isinstance(module, Weight) and module.in_steps for module in point.modules())
        return LinearStep(1.0, 0.5) if in_steps else None

    @property
    def weighted(self) -> bool:
        """Whether it has an option ``weight``."""
        return any(attribute.name == "weight" for attribute in attrs.fields(cast(Any, type(self.guider))))

    @property
    def scheduled(self) -> bool:
        """Whether that option takes schedules."""
        cls = cast(Any, type(self.guider))
        attrs.resolve_types(cls)
        return self.weighted and WeightSchedule in get_args(attrs.fields_dict(cls)["weight"].type)
