"""The verdict of a check, with one sentence.

Verdicts by the geometric mean over the levels of the ratio of errors:

    right        up to 1.25, and no alternative is better by a factor of 1.15
    wrong        above 2, or an output is not finite, or an alternative is better by a factor of 1.5 and below 1.25,
                 or other labels are significantly better
    suspicious   in between, or an alternative is better by a factor of 1.15 and below 1.25

A perfect denoiser exceeds 1 only by chance, by less than 5 % for 256 examples. The margin up to 1.25 allows for short
trainings; none of our trainings exceeded 2 after its first few steps.

Without data only far-off values are wrong, because a network's own samples are not real ones.
"""

import math
from collections.abc import Iterator

from attrs import evolve
from torch import Tensor

from guideplug.adapters import Adapted
from guideplug.check.blind import Blind
from guideplug.check.labels import Labels
from guideplug.check.measure import Trial
from guideplug.check.parametrisations import written
from guideplug.check.result import Alternative, Check, Verdict
from guideplug.denoise import Denoiser

__all__ = ["judged", "judged_blind", "judged_broken"]

RIGHT = 1.25
WRONG = 2.0
CURE = 1.5
HINT = 1.15
ALIKE = 1.1
"""Alternatives within this factor are equivalent: the one with the fewest changes is named."""
FEW = 64
"""The number of examples below which a note says that they are few."""
LEFT = 0.2, 0.5
"""Without data, limits of the remaining noise at the highest level: suspicious above one, wrong above the other."""
MOVED = 0.2, 0.5
"""Without data, the same limits of the change of clean samples at the lowest level."""


def judged(
    measured: Check, denoiser: Denoiser, tried: tuple[Alternative, ...], labels: Labels | None, on_few: float
) -> Check:
    """Measured errors with a verdict and one sentence.

    Args:
        measured: the measured errors.
        denoiser: the checked denoiser.
        tried: the tried alternatives.
        labels: the results on conditions, if any.
        on_few: the denoiser's own ratio on the examples for alternatives.
    """
    assert measured.ratio is not None
    cure = _cure(tried, on_few)
    others = () if labels is None else labels.alternatives
    verdict: Verdict = "right" if measured.ratio <= RIGHT else "suspicious" if measured.ratio <= WRONG else "wrong"
    whose, code = f"Its error is {measured.ratio:.2g} times that of the best Gaussian denoiser of each number alone", ""
    factor = 1.0 if cure is None else on_few / cure.ratio
    renamed = labels is not None and labels.better is not None and 1 / (1 - labels.gain) > factor
    if cure is not None and not renamed and factor >= CURE and cure.ratio <= RIGHT:
        verdict, code = "wrong", cure.code
        diagnosis = f"{_as(denoiser)}; {cure.what} the error is {_times(factor)} smaller."
    elif labels is not None and labels.better is not None:
        verdict, code = "wrong", labels.better.code
        diagnosis = (
            f"The labels are not those that the network knows; {labels.better.what} the error is "
            f"{100 * labels.gain:.0f} % smaller."
        )
    elif cure is not None and factor >= HINT and cure.ratio <= RIGHT:
        verdict, code = "wrong" if verdict == "wrong" else "suspicious", cure.code
        diagnosis = f"{_as(denoiser)}; {cure.what} the error is {100 * (1 - 1 / factor):.0f} % smaller."
    elif cure is not None and verdict != "right" and factor >= CURE:
        code = cure.code
        diagnosis = f"{whose}; {cure.what} it is {_times(factor)} smaller, which is still more than a right network's."
    elif verdict != "right":
        diagnosis = (
            f"{whose}, and nothing that was tried is much better: it is hardly trained, or has other data, another "
            "schedule or another order of arguments."
        )
    else:
        diagnosis = f"{whose}: it denoises these samples."
    alternatives = tuple(sorted((*tried, *others), key=lambda one: one.ratio))
    notes = [*measured.notes, *_notes(None if verdict == "wrong" else labels, measured.examples)]
    return evolve(
        measured, verdict=verdict, diagnosis=diagnosis, alternatives=alternatives, code=code, notes=tuple(notes)
    )


def _cure(tried: tuple[Alternative, ...], ratio: float) -> Alternative | None:
    """The best alternative; among nearly equal ones the one with the fewest changes."""
    best = min((one.ratio for one in tried), default=math.inf)
    if not best < ratio:
        return None
    return min((one for one in tried if one.ratio <= ALIKE * best), key=lambda one: (one.changes, one.ratio))


def _as(denoiser: Denoiser) -> str:
    if not isinstance(denoiser, Adapted):
        return "Asked as it is"
    schedule = "" if denoiser.predicts == "edm" else f" with {written(denoiser.schedule)}"
    return f"Wrapped as {denoiser.predicts}{schedule}"


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor < 10 else f"{factor:,.0f} times"


def _notes(labels: Labels | None, examples: int) -> Iterator[str]:
    if labels is not None and not labels.used and labels.better is None:
        yield "labels are not used, or not what the network knows: those of other examples are as good"
    if examples < FEW:
        yield f"of {examples} examples only: give {FEW} or more for a verdict that does not depend on chance"


def judged_broken(measured: Check, denoised: list[Tensor], here: Trial, tried: tuple[Alternative, ...]) -> Check:
    """The verdict for an output that is not finite."""
    sigma, broken = next(
        (sigma, share)
        for sigma, one in zip(here.sigmas, denoised, strict=True)
        if (share := float((~one.isfinite()).flatten(1).any(1).double().mean()))
    )
    text = f"{100 * broken:.0f} % of the answers at sigma {sigma:.3g} are not finite"
    cure = _cure(tried, math.inf)
    code = ""
    if cure is not None and cure.ratio <= RIGHT:
        text, code = f"{text}; {cure.what} the error is right", cure.code
    alternatives = tuple(sorted(tried, key=lambda one: one.ratio))
    return evolve(measured, verdict="wrong", diagnosis=f"{text}.", alternatives=alternatives, code=code)


def judged_blind(seen: Blind, low: float, high: float, notes: list[str]) -> Check:
    """The verdict without data; ``low`` and ``high`` are the checked levels."""
    verdict, text = _of_blind(seen, low, high)
    only = "Checked without data: only that outputs are finite, noise is forgotten and clean samples are kept"
    return Check(verdict, f"{only}; {text}.", notes=tuple(notes))


def _of_blind(seen: Blind, low: float, high: float) -> tuple[Verdict, str]:
    if seen.broken is not None:
        return "wrong", f"at sigma {seen.broken:.3g} outputs are not finite"
    percent, expected = f"{100 * seen.left:.0f} %", "where the mean of the data is expected"
    moved, kept = f"{100 * seen.moved:.0f} %", "where there is hardly any noise to take off"
    for value, (doubtful, far), text in (
        (seen.left, LEFT, f"at sigma {high:.4g} {percent} of the noise is left, {expected}"),
        (seen.moved, MOVED, f"at sigma {low:.3g} samples are moved by {moved} of their spread, {kept}"),
    ):
        if value > doubtful:
            return ("wrong" if value > far else "suspicious"), text
    return "right", "all three hold, as they may for a network that is wrapped as something else"
