"""One pass: every distinct network runs at most once for everything that is asked at one (x, sigma, condition).

What is called is the plan's (`guideplug.denoise.plan`); here it is done. Then sums: a term that is left alone is
returned as it is, so a guider that is off is its base, bit for bit. Nothing here waits for an accelerator: no value on
the device decides anything.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from guideplug.denoise.condition import Condition, expand
from guideplug.denoise.plan import Call, Coefficients, Plan
from guideplug.denoise.query import Query
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
        self._x, self._sigma, self._condition = x, sigma, condition
        expanded = expand(condition, len(x))
        self._coefficients = Coefficients(expanded, sigma, toward, conditional=condition is not None)
        self._outputs: dict[Query, Tensor] = {}

    def value(self, point: "Denoiser", plan: Plan) -> Tensor:
        """The denoised samples of ``point``, (B, *)."""
        for call in plan.calls(self._coefficients.terms(point), self._x, self._condition):
            self._do(call)
        return self._sum(point)

    def _do(self, call: Call) -> None:
        count, x, sigma = len(call.queries), self._x, self._sigma
        if count == 1:
            self._outputs[call.queries[0]] = call.leaf(x, sigma, call.condition)
            return
        if isinstance(sigma, Tensor):
            sigma = sigma.expand(len(x)).repeat(count)
        outputs: Any = call.leaf(torch.cat([x] * count), sigma, call.condition)
        self._outputs.update(zip(call.queries, outputs.split(len(x)), strict=True))

    def _sum(self, point: "Denoiser") -> Tensor:
        values = [(coefficient, self._output(query)) for query, coefficient in self._coefficients.of(point).items()]
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

    def _output(self, query: Query) -> Tensor:
        if query not in self._outputs:
            inputs = [self._sum(inner) for inner in query.source.points]
            self._outputs[query] = query.source.combined(inputs, self._x, self._sigma)
        return self._outputs[query]
