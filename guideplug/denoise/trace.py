"""The parts of an evaluation with a graph: the inputs of functions whose gradient goes through them.

A `Trace` belongs to one evaluation. It holds the requests that need a graph, and the x per place of the gradients: a
leaf of the graph at the place of the evaluation itself, and behind views inside the function, the views' inputs of it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from guideplug.denoise.node import Query
from guideplug.denoise.plan import ActiveTerms, EvalPoint, EvalRequest, Path
from guideplug.errors import DenoiserError

__all__ = ["Trace", "beneath", "gradients"]


def gradients(terms: ActiveTerms) -> list[EvalRequest]:
    """The functions whose gradients are taken, with their places."""
    return [(path, query) for path, _, queries in terms for query in queries if query.source.takes_gradient]


def beneath(terms: ActiveTerms) -> dict[EvalRequest, set[EvalRequest]]:
    """The requests inside each function whose gradient goes through its inputs."""
    left = {(path, point): queries for path, point, queries in terms}
    requests: dict[EvalRequest, set[EvalRequest]] = {}
    for path, query in gradients(terms):
        if not query.source.traced:
            continue
        inside = requests[path, query] = set[EvalRequest]()
        waiting = [(path, point) for point in query.source.traced]
        while waiting:
            place, point = waiting.pop()
            for inner in left[place, point]:
                if (place, inner.rows) not in inside:
                    inside.add((place, inner.rows))
                    source = inner.source
                    where = place if source.change is None else (*place, source)
                    waiting += [(where, below) for below in source.points]
    return requests


class Trace:
    """The requests of an evaluation that need a graph, and the x of their gradients.

    Raises:
        DenoiserError: gradients are needed in inference mode, which has none.
    """

    def __init__(self, terms: ActiveTerms, places: Mapping[Path, EvalPoint]) -> None:
        self.gradients = gradients(terms)
        self.beneath = beneath(terms) if self.gradients else {}
        self._traced = set[EvalRequest]().union(*self.beneath.values())
        self._places = places
        self._live: dict[Path, Tensor] = {}
        if self.gradients and torch.is_inference_mode_enabled():
            names = ", ".join(dict.fromkeys(str(query.source) for _, query in self.gradients))
            raise DenoiserError(
                f"{names} is asked for under torch.inference_mode, which has no gradients: use torch.no_grad instead"
            )

    def __contains__(self, request: EvalRequest) -> bool:
        return request in self._traced

    def x(self, request: EvalRequest) -> Tensor:
        """The x of a request: the one with a graph, if the request needs a graph or takes a gradient."""
        path, query = request
        if request in self._traced or query.source.takes_gradient:
            return self._live_x(path)
        x = self._places[path].x
        assert x is not None
        return x

    def _live_x(self, path: Path) -> Tensor:
        if path not in self._live:
            x = self._places[path].x
            assert x is not None
            if path and (path[:-1], Query(path[-1])) in self._traced:
                change, outer = path[-1].change, path[:-1]
                assert change is not None
                with torch.enable_grad():
                    x = change.inputs(self._live_x(outer), self._places[outer].sigma)
            elif not (torch.is_grad_enabled() and x.requires_grad):
                x = x.detach()
            self._live[path] = x if x.requires_grad else x.requires_grad_()
        return self._live[path]
