"""Checks of conditions.

The error under the examples' own conditions is compared, per example and under the same noise, with the errors under
conditions of other examples, under the null condition and, for whole numbers, under neighbouring labels. If the own
labels do not help, all labels are tried at one level: each of ours is matched to the network's label with the least
error.

Cost: four calls of the network per level, and one per label if the own labels do not help.
"""

import functools
import math
from collections.abc import Callable
from typing import final

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug.check.measure import Answer, Trial, geometric_mean
from guideplug.check.result import Alternative
from guideplug.denoise import Condition, mapped, parts_of, select_rows
from guideplug.errors import GuideplugError
from guideplug.rng import TrainingStreams

__all__ = ["Labels", "compared"]

STANDARD_ERRORS = 4.0
"""The significance of a paired difference in standard errors: reached by chance in one comparison of 30,000."""
SHARE = 0.02
"""The smallest reported difference, as a share of the error."""
MOST_LABELS = 64


@final
@frozen
class Labels:
    """The results of the checks of conditions.

    Args:
        alternatives: the tried alternatives.
        better: the significantly better alternative, or None.
        gain: its improvement, as a share of the error.
        used: whether conditions of other examples are significantly worse.
    """

    alternatives: tuple[Alternative, ...]
    better: Alternative | None
    gain: float
    used: bool


def compared(answer: Answer, trial: Trial, own: Tensor, null: Condition, seed: int) -> Labels | None:
    """The conditions of a trial compared with others; None without conditions, or if all are equal.

    Args:
        answer: the denoiser as a function.
        trial: the examples.
        own: its errors under the examples' conditions, (levels, N).
        null: the null condition of all examples, or None if the network has none.
        seed: the seed of the exchange of conditions.
    """
    condition = trial.condition
    if condition is None or _all_same(condition):
        return None
    generator = TrainingStreams(seed, 0).generator("check conditions")
    order = torch.randperm(len(trial), generator=generator).to(trial.clean.device)
    word = "labels" if _whole(condition) else "conditions"
    others: list[tuple[str, Condition, str]] = [(f"with {word} of other examples", select_rows(condition, order), "")]
    if null is not None:
        others.append((f"with no {word}", null, f"give no {word}"))
    if _whole(condition):
        for by in (1, -1):
            written = f"labels {'+' if by > 0 else '-'} 1"
            others.append((f"with {written}", _shifted(condition, by), f"labels = {written}"))
    losses: list[tuple[Alternative, float]] = []
    for what, other, code in others:
        errors = _errors(answer, trial, other)
        if errors is not None:
            losses.append(_judged(trial, own, errors, what, code))
    used = bool(losses) and losses[0][1] < -STANDARD_ERRORS
    if not used and _whole(condition):
        renamed = _renamed(answer, trial, own)
        losses += [] if renamed is None else [renamed]
    better = [one for one, distance in losses if distance > STANDARD_ERRORS]
    best = min(better, key=lambda one: one.ratio, default=None)
    here = geometric_mean(trial.ratios(own))
    gain = 0.0 if best is None else 1 - best.ratio / here
    return Labels(tuple(one for one, _ in losses), best, gain, used)


def _judged(trial: Trial, own: Tensor, errors: Tensor, what: str, code: str) -> tuple[Alternative, float]:
    """An alternative, and its improvement over the own conditions in standard errors; 0 if negligible."""
    unit = trial.gaussian.mean(1, keepdim=True)
    gains = ((own - errors) / unit).mean(0)
    spread = float(gains.std()) / math.sqrt(len(gains))
    share = float(gains.mean() / (own / unit).mean())
    distance = 0.0 if abs(share) < SHARE or spread == 0.0 else float(gains.mean()) / spread
    ratios = trial.ratios(errors)
    return Alternative(what, geometric_mean(ratios), tuple(ratios), code), distance


def _errors(answer: Answer, trial: Trial, condition: Condition) -> Tensor | None:
    """The errors under other conditions; None if the network does not accept them."""
    try:
        errors = trial.errors(trial.answers(answer, condition))
    except (GuideplugError, IndexError, RuntimeError):
        return None
    return errors if bool(errors.isfinite().all()) else None


def _renamed(answer: Answer, trial: Trial, own: Tensor) -> tuple[Alternative, float] | None:
    """The labels renumbered to the network's, as estimated on half of the examples."""
    labels = _only(trial.condition)
    names: list[int] = sorted({*labels.tolist()})
    if len(names) > MOST_LABELS:
        return None
    tried: dict[int, Tensor] = {}
    for name in range(max(0, names[0] - 1), names[-1] + 1):
        everywhere = _relabelled(trial.condition, functools.partial(torch.full_like, fill_value=name))
        errors = _errors(answer, trial, everywhere)
        if errors is not None:
            tried[name] = (errors / trial.gaussian.mean(1, keepdim=True)).mean(0)
    if len(tried) < 2:
        return None
    table = torch.stack(list(tried.values()))
    half = torch.arange(len(labels)) % 2 == 0
    here = labels.cpu()
    known = {}
    for name in names:
        rows = half & (here == name)
        known[name] = list(tried)[int(table[:, rows].mean(1).argmin())] if bool(rows.any()) else name
    if all(name == known[name] for name in names):
        return None

    def rename(part: Tensor) -> Tensor:
        return torch.tensor([known[int(name)] for name in part.tolist()], device=part.device, dtype=part.dtype)

    errors = _errors(answer, trial, _relabelled(trial.condition, rename))
    if errors is None:
        return None
    shifts = {known[name] - name for name in names}
    if len(shifts) == 1:
        (shift,) = shifts
        text = f"labels {'+' if shift > 0 else '-'} {abs(shift)}"
        what, code = f"with {text}", f"labels = {text}"
    else:
        table_of_names = [known.get(name, name) for name in range(max(names) + 1)]
        what, code = f"with labels renamed {known}", f"labels = torch.tensor({table_of_names})[labels]"
    judged, _ = _judged(trial, own, errors, what, code)
    rest = ~half
    _, distance = _judged(_part(trial, rest), own[:, rest], errors[:, rest], what, code)
    return judged, distance


def _part(trial: Trial, rows: Tensor) -> Trial:
    return evolve(trial, gaussian=trial.gaussian[:, rows])


def _relabelled(condition: Condition, change: Callable[[Tensor], Tensor]) -> Condition:
    """The condition with its labels changed."""
    return mapped(condition, lambda part: change(part) if _is_label(part) else part)


def _only(condition: Condition) -> Tensor:
    return next(part for part in parts_of(condition).values() if _is_label(part))


def _is_label(part: Tensor) -> bool:
    return part.ndim == 1 and part.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)


def _whole(condition: Condition) -> bool:
    return sum(map(_is_label, parts_of(condition).values())) == 1


def _all_same(condition: Condition) -> bool:
    return all(bool((part == part[:1]).all()) for part in parts_of(condition).values())


def _shifted(condition: Condition, by: int) -> Condition:
    """Labels shifted by one, cyclically, so that all occur among the examples.

    Downwards without wrapping if no label is 0: every table of labels has an entry below.
    """

    def shift(part: Tensor) -> Tensor:
        low, high = int(part.min()), int(part.max())
        if by < 0 < low:
            return part + by
        return low + (part - low + by) % (high - low + 1)

    return _relabelled(condition, shift)
