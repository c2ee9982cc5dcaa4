"""One pass: every distinct network runs at most once for everything that is asked at one (x, sigma, condition).

What is called is the plan's (`guideplug.denoise.plan`); here it is done. Then sums: a term that is left alone is
returned as it is, so a guider that is off is its base, bit for bit. Nothing here waits for an accelerator: no value on
the device decides anything.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from guideplug.denoise.condition import Condition, expand
from guideplug.denoise.plan import Asked, Call, Path, Place, Plan, survey
from guideplug.denoise.query import Query
from guideplug.denoise.samples import asking
from guideplug.denoise.weight import Level

if TYPE_CHECKING:
    from guideplug.denoise.algebra import Denoiser

__all__ = ["OnePass"]


class OnePass:
    """The evaluation of one composed denoiser at one (x, sigma, condition, toward)."""

    def __init__(self, x: Tensor, sigma: Level, condition: Condition, toward: Level | None) -> None:
        if isinstance(sigma, int):
            sigma = float(sigma)
        if isinstance(sigma, Tensor):
            sigma = sigma.to(x.device, x.dtype)
        self._condition = condition
        given, shape = expand(condition, len(x)), tuple(x.shape[1:])
        self._place = Place(x, sigma, given, toward, shape=shape, conditional=condition is not None)
        self._places: dict[Path, Place] = {}
        self._outputs: dict[Asked, Tensor] = {}

    def value(self, point: "Denoiser", plan: Plan) -> Tensor:
        """The denoised samples of ``point``, (B, *)."""
        assert self._place.x is not None
        self._places, terms = survey(point, self._place)
        calls = plan.calls(terms, self._places, self._condition)
        with asking(plan.samples(self._place.x)):
            for call in calls:
                self._do(call)
        return self._sum(point, ())

    def _do(self, call: Call) -> None:
        places = [self._places[path] for path, _ in call.asked]
        first = places[0]
        if len(places) == 1:
            self._outputs[call.asked[0]] = call.leaf(first.x, first.sigma, call.condition)
            return
        inputs: list[Any] = [place.x for place in places]
        sigma = first.sigma
        if isinstance(sigma, Tensor) or any(place.sigma != sigma for place in places):
            sigma = torch.cat([_levels(place) for place in places])
        outputs: Any = call.leaf(torch.cat(inputs), sigma, call.condition)
        self._outputs.update(zip(call.asked, outputs.split([len(x) for x in inputs]), strict=True))

    def _sum(self, point: "Denoiser", path: Path) -> Tensor:
        left = self._places[path].coefficients.of(point)
        values = [(coefficient, self._output(query, path)) for query, coefficient in left.items()]
        if len(values) == 1:
            return values[0][1]
        total: Tensor | None = None
        for coefficient, value in values:
            if isinstance(coefficient, Tensor):
                rows = coefficient.to(value.dtype).reshape(-1, *[1] * (value.ndim - 1))
                # 0 * NaN would be NaN. What is finite stays, for a learned weight of 0 has a gradient.
                term = rows * torch.where((rows != 0) | value.isfinite(), value, 0)
            elif total is not None:
                total = torch.add(total, value, alpha=coefficient)
                continue
            else:
                term = value * coefficient
            total = term if total is None else total + term
        assert total is not None
        return total

    def _output(self, query: Query, path: Path) -> Tensor:
        if (path, query) not in self._outputs:
            source, place = query.source, self._places[path]
            assert place.x is not None
            if source.change is not None:
                answer = self._sum(source.points[0], (*path, source))
                found = source.change.answer(answer, place.x, place.sigma)
            else:
                found = source.combined([self._sum(inner, path) for inner in source.points], place.x, place.sigma)
            self._outputs[path, query] = found
        return self._outputs[path, query]


def _levels(place: Place) -> Tensor:
    """The level of each row, (rows,)."""
    assert place.x is not None
    if isinstance(place.sigma, Tensor):
        return place.sigma.expand(len(place.x))
    return torch.full((len(place.x),), place.sigma, device=place.x.device, dtype=place.x.dtype)
