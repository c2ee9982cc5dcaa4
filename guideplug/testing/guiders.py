"""The laws of a guider, on closed-form Gaussians and under every kind of condition."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import attrs
import torch
from torch import Tensor

from guideplug.denoise import (
    Condition,
    Count,
    Denoiser,
    Leaf,
    Level,
    LinearStep,
    WeightInput,
    WeightSchedule,
    calls,
    select_rows,
    tally,
)
from guideplug.guide import Guider, needs_of
from guideplug.testing.guided import Case, Guided
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import BATCH, SIGMAS, close, converted, no_global_draws, same
from guideplug.testing.oracles import Conditioning
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.toys import Normal

__all__ = ["GUIDER", "check_guider"]

LEVELS = (7.0, 2.0, 0.5, 0.02)
"""Levels of a trajectory, for guiders with memory."""

GUIDER: Laws[Guided] = Laws()


def check_guider(
    make: Callable[..., Guider],
    *,
    models: Callable[[Conditioning], Mapping[str, Any]] | None = None,
    shape: tuple[int, ...] = (2,),
    base: Callable[[Conditioning], Leaf] | None = None,
) -> None:
    """The laws of a guider, under every kind of condition.

    For all: it guides without changing its inputs or drawing from global generators; each network is called at most
    once per evaluation, and once more for each perturbed view and each other shape; the result does not depend on the
    order of the batch or on how it is split; repeated, it is the same, on the device and of the type of its inputs. If
    it has an option ``weight``: 1 is the base, bit for bit, and calls no guide; 0 does not call a base that does not
    count; the result is affine in it; where its type says that it takes schedules, a schedule is the number that it
    gives at a level.

    Args:
        make: the guider's class, or a function that makes one; given ``weight=`` where it takes that.
        models: the other networks by role, for a kind of condition; by default closed-form ones for every role.
        shape: the shape of a sample, for guiders that are for images only: (1, 8, 8).
        base: what is guided, for a kind of condition; by default a closed-form denoiser of samples of that shape.
    """
    guided = Guided(make, models, shape, base)
    STRATEGY.check(guided.guider)
    GUIDER.check(guided)


@GUIDER.add("inputs are not changed", "compute out of place: x * 2, not x.mul_(2) or x *= 2; copies by clone()")
def _inputs_stay(guided: Guided) -> None:
    for case in guided.cases:
        x, condition = converted(case.x), converted(case.condition)
        weights = [parameter.clone() for parameter in case.main.parameters()]
        for sigma in SIGMAS:
            levels = torch.full((BATCH,), sigma)
            guided.answer(case.guided(guided.guider), case.x, levels, case.condition)
            must(same(levels, torch.full((BATCH,), sigma)), "the tensor of levels was changed")
        changed, condition_changed = not same(x, case.x), not same(condition, case.condition)
        case.x.copy_(x)  # for the laws after this one
        must(not changed, "x was changed")
        must(not condition_changed, "the condition was changed")
        must(all(map(torch.equal, weights, case.main.parameters())), "the network's parameters were changed")


@GUIDER.add("a guided denoiser is a denoiser", "return an expression of denoisers from guide()", premise=True)
def _is_a_denoiser(guided: Guided) -> None:
    for case in guided.cases:
        point = case.guided(guided.guider)
        must(isinstance(point, Denoiser), f"guide() returned a {type(point).__name__}")
        must(point.space.shape == case.main.space.shape, f"its space is {point.space.shape}, not the base's")
        result = guided.answer(point, case.x, 0.5, case.condition)
        must(result.shape == case.x.shape, f"x of shape {tuple(case.x.shape)} gave {tuple(result.shape)}")
        must(bool(result.isfinite().all()), "the result is not finite")


class _RecordedRoles(Mapping[str, Any]):
    """Networks by role, with a record of the roles looked up."""

    def __init__(self, of: Mapping[str, Any]) -> None:
        self._of = of
        self.roles: set[str] = set()

    def __getitem__(self, role: str) -> Any:
        self.roles.add(role)
        return self._of[role]

    def __contains__(self, role: object) -> bool:
        return role in self._of

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)


@GUIDER.add(
    "it says in needs, or in may_use, which networks it asks for", "return {role: task.recipe(role, main)} from needs"
)
def _needs(guided: Guided) -> None:
    task = Normal(shape=guided.cases[0].main.space.shape)
    main = task.recipe("main", None)
    assert main is not None
    named = {*needs_of(guided.guider, task, main), *guided.guider.may_use()}
    for case in guided.cases:
        models = _RecordedRoles(case.others)
        guided.guider.guide(case.main, models)
        must(models.roles <= named, f"it asks for {', '.join(sorted(models.roles - named))}")


@GUIDER.add("no draw from a global generator", "guidance draws nothing; what is random belongs to samplers' streams")
def _draws_nothing(guided: Guided) -> None:
    with no_global_draws():
        for case in guided.cases:
            point = case.guided(guided.guider)
            for sigma in SIGMAS:
                guided.answer(point, case.x, sigma, case.condition)


@GUIDER.add(
    "each network is called at most once per evaluation, and once for each view of it",
    "combine denoisers, or give them all to one Combine; do not call them yourself",
)
def _called_once(guided: Guided) -> None:
    for case in guided.cases:
        point = case.guided(guided.guider)
        for sigma in SIGMAS:
            with tally() as counts:
                guided.answer(point, case.x, sigma, case.condition)
            planned = calls(point, sigma, conditional=case.condition is not None, step=guided.step(point))
            for network, count in counts.counts.items():
                most = planned.get(network, Count()).calls
                must(count.calls <= most, f"{type(network).__name__} was called {count.calls} times, planned: {most}")


@GUIDER.add(
    "the same inputs give the same result", "keep nothing between calls; memory along a trajectory: Combine(begin=...)"
)
def _repeats(guided: Guided) -> None:
    for case in guided.cases:
        point = case.guided(guided.guider)
        for sigma in SIGMAS:
            first, second = (guided.answer(point, case.x, sigma, case.condition) for _ in range(2))
            must(torch.equal(first, second), f"at sigma {sigma}")


@GUIDER.add(
    "nothing is kept from one trajectory for another",
    "give Combine begin=, which makes a fresh function for each trajectory; keep nothing in the strategy or the module",
)
def _trajectories_are_apart(guided: Guided) -> None:
    def step(point: Denoiser, number: int, x: Tensor, condition: Condition) -> Tensor:
        after = (*LEVELS[1:], 0.0)[number]
        step = LinearStep(LEVELS[number], after)
        result: Tensor = point(x, LEVELS[number], condition, toward=after, step=step)
        return result

    for case in guided.cases:
        point = case.guided(guided.guider)
        alone = point.trajectory()
        first = [step(alone, number, case.x, case.condition) for number in range(len(LEVELS))]
        one, other = point.trajectory(), point.trajectory()
        for number, expected in enumerate(first):
            step(other, number, 3.0 - case.x, case.condition)
            must(torch.equal(step(one, number, case.x, case.condition), expected), f"at sigma {LEVELS[number]}")


@GUIDER.add("the result does not depend on the order of the batch", "treat each row (B, *) by itself")
def _order(guided: Guided) -> None:
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    for case in guided.cases:
        point = case.guided(guided.guider)
        for sigma in SIGMAS:
            whole = guided.answer(point, case.x, sigma, case.condition)
            shuffled = guided.answer(point, case.x[order], sigma, select_rows(case.condition, order))
            must(close(shuffled, whole[order]), f"at sigma {sigma}")


@GUIDER.add(
    "the result does not depend on how the batch is split",
    "treat each row by itself: means, norms and maxima over the other axes alone, not over the batch",
)
def _split(guided: Guided) -> None:
    for case in guided.cases:
        point = case.guided(guided.guider)
        for sigma in SIGMAS:
            whole = guided.answer(point, case.x, sigma, case.condition)
            parts = [
                guided.answer(point, case.x[rows], sigma, select_rows(case.condition, rows))
                for rows in (slice(0, 2), slice(2, BATCH - 1), slice(BATCH - 1, BATCH))
            ]
            must(close(torch.cat(parts), whole), f"at sigma {sigma}")


@GUIDER.add("a tensor of levels gives what the float gives", "take sigma (B,) as it takes a float, row by row")
def _levels(guided: Guided) -> None:
    for case in guided.cases:
        point = case.guided(guided.guider)
        for sigma in SIGMAS:
            whole = guided.answer(point, case.x, sigma, case.condition)
            levels = torch.full((BATCH,), sigma)
            must(close(guided.answer(point, case.x, levels, case.condition), whole), f"at sigma {sigma}")
        mixed = torch.tensor([SIGMAS[row % len(SIGMAS)] for row in range(BATCH)])
        rows = [
            guided.answer(point, case.x[alone], float(mixed[row]), select_rows(case.condition, alone))
            for row, alone in ((row, slice(row, row + 1)) for row in range(BATCH))
        ]
        must(close(guided.answer(point, case.x, mixed, case.condition), torch.cat(rows)), "of levels that differ")


@GUIDER.add(
    "the result has the type of x",
    "make tensors like those that are given, as in torch.zeros_like(x) or x.new_zeros(...); convert with .to(x)",
)
def _types(guided: Guided) -> None:
    for case in guided.cases:
        for dtype in (torch.float64, torch.bfloat16):
            other = case.as_kind(dtype=dtype)
            result = guided.answer(other.guided(guided.guider), other.x, 0.5, other.condition)
            must(result.dtype == dtype, f"x of {dtype} gave {result.dtype}")
            if dtype == torch.float64:
                exact = guided.answer(case.guided(guided.guider), case.x, 0.5, case.condition)
                must(close(result, exact), "in float64 it is another result")


@GUIDER.add(
    "the result is on the device of x, and no value of it is looked at",
    "make tensors on x.device, as torch.zeros_like(x) does; decide nothing by float(...), .item() or `if tensor`",
)
def _device(guided: Guided) -> None:
    for case in guided.cases:
        # A tensor on the meta device has no values: reading it, or mixing devices, raises.
        other = case.as_kind(device="meta")
        result = guided.answer(other.guided(guided.guider), other.x, 0.5, other.condition)
        must(result.device.type == "meta", f"x on another device gave a result on {result.device}")


def _at(guided: Guided, case: Case, weight: float, sigma: float) -> Tensor:
    result: Tensor = guided.make(weight=weight).guide(case.main, case.others)(case.x, sigma, case.condition)
    return result


def _weighted(guided: Guided) -> bool:
    return guided.weighted


def _scheduled(guided: Guided) -> bool:
    return guided.scheduled


FORM = "write it as base + (weight - 1) * (base - guide)"


@GUIDER.add("weight 1 is the base, bit for bit", FORM, where=_weighted)
def _off(guided: Guided) -> None:
    for case in guided.cases:
        for sigma in SIGMAS:
            off = _at(guided, case, 1.0, sigma)
            must(torch.equal(off, case.main(case.x, sigma, case.condition)), f"at sigma {sigma}")


@GUIDER.add("weight 1 calls no guide", f"{FORM}, which leaves out a term of weight 0; or return base", where=_weighted)
def _off_is_free(guided: Guided) -> None:
    for case in guided.cases:
        for sigma in SIGMAS:
            with tally() as counts:
                _at(guided, case, 1.0, sigma)
            free = counts.calls == 1 and counts[case.main].outputs == BATCH
            must(free, f"at sigma {sigma} there were {counts.calls} calls")


@GUIDER.add("a weight within rounding of 1 calls no guide", FORM, where=_weighted)
def _nearly_off(guided: Guided) -> None:
    for case in guided.cases:
        for sigma in SIGMAS:
            with tally() as counts:
                near = _at(guided, case, 1.0 + 2e-10, sigma)
            must(counts.calls == 1, f"at sigma {sigma} there were {counts.calls} calls")
            must(torch.equal(near, _at(guided, case, 1.0, sigma)), f"at sigma {sigma} it is not the base")


class _Elsewhere(Leaf):
    """A network with other outputs than another one, under every condition."""

    def __init__(self, of: Leaf) -> None:
        super().__init__(of.space)
        self.of = of

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return self.of.denoise(x, sigma, condition) + 0.37

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return self.of.null_condition(batch, device)

    @property
    def has_null(self) -> bool:
        return self.of.has_null

    def perturbations(self) -> Any:
        return self.of.perturbations()

    def fits(self, shape: tuple[int, ...]) -> bool:
        return self.of.fits(shape)


@GUIDER.add(
    "weight 0 does not call a base that does not count",
    f"{FORM}, which leaves out a term of weight 0; a function of Combine asks all its inputs",
    where=_weighted,
)
def _guide_alone(guided: Guided) -> None:
    for case in guided.cases:
        if next(case.main.parameters(), None) is not None:
            continue  # a result made from parameters is no function of outputs
        elsewhere = attrs.evolve(case, main=_Elsewhere(case.main))
        for sigma in SIGMAS:
            with tally() as counts:
                alone = _at(guided, case, 0.0, sigma)
            called = counts.counts.get(case.main, Count()).calls
            if counts.calls > called and torch.equal(alone, _at(guided, elsewhere, 0.0, sigma)):
                must(called == 0, f"at sigma {sigma} the base was called {called} times, and the result is not of it")


@GUIDER.add("the result is affine in the weight", FORM, where=_weighted)
def _affine(guided: Guided) -> None:
    for case in guided.cases:
        for sigma in SIGMAS:
            off = _at(guided, case, 1.0, sigma)
            away = _at(guided, case, 3.0, sigma) - off
            for weight in (2.0, -1.0, 0.0):
                actual, expected = _at(guided, case, weight, sigma) - off, away * (weight - 1) / 2
                must(close(actual, expected), f"weight {weight:g} at sigma {sigma} is not on the line of 1 and 3")


SAME = "use the option as it is in the expression: a schedule is multiplied as a number is"


@GUIDER.add("a weight schedule is the number that it gives", SAME, where=_scheduled)
def _schedules(guided: Guided) -> None:
    for case in guided.cases:
        point = guided.make(weight=_Rising()).guide(case.main, case.others)
        for sigma in SIGMAS:
            number = _at(guided, case, 1.0 + sigma, sigma)
            must(close(guided.answer(point, case.x, sigma, case.condition), number), f"at sigma {sigma}")
            levels = torch.full((BATCH,), sigma)
            must(close(guided.answer(point, case.x, levels, case.condition), number), f"in a tensor of levels {sigma}")


@GUIDER.add("a weight schedule that gives 1 calls no guide", SAME, where=_scheduled)
def _schedules_off(guided: Guided) -> None:
    for case in guided.cases:
        with tally() as counts:
            guided.make(weight=_Rising()).guide(case.main, case.others)(case.x, 2.0**-40, case.condition)
        must(counts.calls == 1 and counts[case.main].outputs == BATCH, f"there were {counts.calls} calls")


@final
@attrs.frozen
class _Rising(WeightSchedule):
    """1 + sigma."""

    name = "rising"

    @property
    def least(self) -> float:
        return 1.0

    def at(self, at: WeightInput) -> Level:
        return 1.0 + at.sigma
