"""One-pass evaluation: every distinct network runs at most once per (x, sigma, condition).

The calls of a plan (`guideplug.denoise.plan`) are executed, then summed. A single remaining term is returned unchanged,
so a guider that is off equals its base, bit for bit. Nothing synchronises with an accelerator: control flow never
depends on values on the device.

The caller's gradient mode applies. For the gradient of a function (`guideplug.denoise.gradient`) a graph is recorded
for its inputs alone (`guideplug.denoise.trace`), and the result carries no graph unless the caller records one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from attrs import evolve
from torch import Tensor

from guideplug.config import described
from guideplug.denoise.condition import Condition, expand, for_networks, parts_of
from guideplug.denoise.node import Point, Query
from guideplug.denoise.noisy import check_noisy, wide
from guideplug.denoise.output import DENOISED
from guideplug.denoise.plan import Call, EvalPoint, EvalRequest, Path, Plan, collect
from guideplug.denoise.rows import per_row
from guideplug.denoise.space import Space
from guideplug.denoise.tally import record_gradient
from guideplug.denoise.trace import Trace
from guideplug.denoise.weight_input import Level, Step, WeightInput
from guideplug.errors import DenoiserError, DivergenceError
from guideplug.rng.keyed import asking

__all__ = ["OnePass"]


class OnePass:
    """The evaluation of composed denoisers at one x, noise level and condition, in one step of a sampler."""

    def __init__(
        self,
        x: Tensor,
        sigma: Level,
        condition: Condition,
        toward: Level | None,
        step: Step,
        space: Space,
    ) -> None:
        check_noisy(x)
        sigma = sigma.to(x.device, x.dtype) if isinstance(sigma, Tensor) else float(sigma)
        at = WeightInput(sigma, toward, space, expand(condition, len(x)), step, len(x), device=x.device)
        self._condition = condition
        self._place = EvalPoint(at, x, shape=tuple(x.shape[1:]), conditional=for_networks(condition) is not None)
        self._places: dict[Path, EvalPoint] = {}
        self._outputs: dict[EvalRequest, Tensor] = {}
        self._calls: list[Call] = []

    def values(self, points: Sequence[Point], plan: Plan) -> list[Tensor]:
        """The denoised samples of each point, (B, *), or its value where it is one."""
        assert self._place.x is not None
        self._places, terms = collect(points, self._place)
        self._trace = Trace(terms, self._places)
        recorded = torch.is_grad_enabled() and (not self._trace.gradients or self._is_recorded(points))
        with torch.set_grad_enabled(recorded):
            self._calls = plan.calls(terms, self._places, self._condition)
            with asking(plan.samples(self._place.x)):
                for call in self._calls:
                    self._do(call)
            return [self._sum(point, ()) for point in points]

    def _is_recorded(self, points: Sequence[Point]) -> bool:
        """Whether the caller records gradients; the x of a gradient that is taken here does not count."""
        place = self._place
        parts = parts_of(place.at.condition).values()
        given = [part for part in (place.x, place.sigma, *parts) if isinstance(part, Tensor)]
        weights = (parameter for point in points for parameter in point.parameters())
        return any(tensor.requires_grad for tensor in (*given, *weights))

    def _do(self, call: Call) -> None:
        places = [self._places[path] for path, _ in call.requests]
        inputs = [self._trace.x(request) for request in call.requests]
        sigma = places[0].sigma
        if len(places) > 1 and (isinstance(sigma, Tensor) or any(place.sigma != sigma for place in places)):
            sigma = torch.cat([_levels(place) for place in places])
        with torch.set_grad_enabled(
            torch.is_grad_enabled() or any(request in self._trace for request in call.requests)
        ):
            x = inputs[0] if len(places) == 1 else torch.cat(inputs)
            if list(call.names) == [DENOISED]:
                self._keep(call, DENOISED, call.leaf(x, sigma, call.condition), inputs)
                return
            for name, output in call.leaf.call_named(x, sigma, call.condition, call.names).items():
                self._keep(call, name, output, inputs)

    def _keep(self, call: Call, name: str, output: Any, inputs: Sequence[Tensor]) -> None:
        """Keep an output of a call, (rows, ...), for each of its requests."""
        parts = [output] if len(inputs) == 1 else output.split([len(x) for x in inputs])
        for (path, query), part in zip(call.requests, parts, strict=True):
            self._outputs[path, query if name == DENOISED else evolve(query, output=name)] = part

    def _sum(self, point: Point, path: Path) -> Tensor:
        left = self._places[path].coefficients.of(point)
        values = [(coefficient, self._output(query, path)) for query, coefficient in left.items()]
        if len(values) == 1:
            only = values[0][1]  # it may carry the graph of a gradient taken at another place
            graph = isinstance(only, Tensor) and only.requires_grad
            return only.detach() if graph and not torch.is_grad_enabled() else only
        for query, (_, value) in zip(left, values, strict=True):
            if not isinstance(value, Tensor):
                raise DenoiserError(f"{type(query.source).__name__} gave {described(value)}: return samples like x")
        if len({value.shape for _, value in values}) > 1:  # broadcasting would hide this
            shapes = [f"{type(query.source).__name__} {tuple(self._output(query, path).shape)}" for query in left]
            raise DenoiserError(f"{' and '.join(shapes)} gave denoised samples of shapes that differ: return x's")
        total: Tensor | None = None
        for query, (coefficient, value) in zip(left, values, strict=True):
            if isinstance(coefficient, Tensor):
                rows = per_row(coefficient.to(value.dtype), value)
                # 0 * NaN would be NaN. Finite terms stay, because a learned weight of 0 has a gradient.
                term = rows * torch.where((rows != 0) | value.isfinite(), value, 0)
            elif abs(coefficient) > torch.finfo(value.dtype).max:
                raise _overflow(coefficient, query, value.dtype, self._places[path].sigma)
            elif total is not None:
                total = torch.add(total, value, alpha=coefficient)
                continue
            else:
                term = value * coefficient
            total = term if total is None else total + term
        assert total is not None
        return total

    def _output(self, query: Query, path: Path) -> Tensor:
        request = path, query
        if request not in self._outputs:
            with torch.set_grad_enabled(torch.is_grad_enabled() or request in self._trace):
                self._outputs[request] = self._combined(request)
        return self._outputs[request]

    def _combined(self, request: EvalRequest) -> Tensor:
        """The answer of a function of other denoisers."""
        path, query = request
        source, place, x = query.source, self._places[path], self._trace.x(request)
        if source.change is not None:
            return source.change.answer(self._sum(source.points[0], (*path, source)), x, place.sigma)
        with torch.set_grad_enabled(torch.is_grad_enabled() or bool(source.traced)):
            outputs = [self._sum(inner, path) for inner in source.points]
        for call in self._calls if source.traced else ():
            if not self._trace.beneath[request].isdisjoint(call.requests):
                record_gradient(call.leaf.counted_as)
        return source.combined(outputs, x, place.sigma, place.condition)


def _overflow(coefficient: float, query: Query, dtype: torch.dtype, sigma: Level) -> DivergenceError:
    level = "" if isinstance(sigma, Tensor) else f" at sigma {sigma:.4g}"
    return DivergenceError(
        f"guidance diverged{level}: the coefficient {coefficient:.4g} of {type(query.source).__name__} is more than "
        f"{str(dtype).removeprefix('torch.')} holds, {torch.finfo(dtype).max:.4g}; give a smaller weight"
    )


def _levels(place: EvalPoint) -> Tensor:
    """The level of each row, (rows,)."""
    assert place.x is not None
    if isinstance(place.sigma, Tensor):
        return place.sigma.expand(len(place.x))
    return torch.full((len(place.x),), place.sigma, device=place.x.device, dtype=wide(place.x.dtype))
