"""From errors to a verdict and one sentence.

Verdicts, of the ratio of errors, its geometric mean over the levels:

    right        up to 1.25, and nothing tried is better by a factor of 1.15
    wrong        above 2, or an output is not finite, or something tried is better by a factor of 1.5 and below 1.25,
                 or other labels are better beyond chance
    suspicious   in between, or something tried is better by a factor of 1.15 and below 1.25

A perfect denoiser cannot be above 1 but by chance, which is under 5 % for 256 examples. Up to 1.25 is left to networks
that were trained for little time; beyond 2 no training of ours was, after its first few steps.

Without data only far-off values are wrong, for samples of a network's own are no real ones.
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
"""Ways whose errors are within this factor are alike, and the one that changes least is named."""
FEW = 64
"""Examples below which a line says that they are few."""
LEFT = 0.2, 0.5
"""Without data, how much noise may be left at the highest level: beyond is suspicious, and wrong."""
MOVED = 0.2, 0.5
"""Without data, how far clean samples may be moved at the lowest level."""


def judged(
    measured: Check, denoiser: Denoiser, tried: tuple[Alternative, ...], labels: Labels | None, on_few: float
) -> Check:
    """A table with its verdict, and one sentence.

    Args:
        measured: the table.
        denoiser: what it is of.
        tried: what else it may be.
        labels: what was found about conditions, where there are some.
        on_few: the denoiser's own ratio on the examples that the others were tried on.
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
    """The best of what was tried; of those that are nearly as good the one that changes least."""
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
    """The verdict where an answer is not finite."""
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
    """The verdict without data; ``low`` and ``high`` are the levels that were looked at."""
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
