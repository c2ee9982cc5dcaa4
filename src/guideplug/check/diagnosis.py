"""Is a denoiser what it is said to be?

A network that is wrapped as something else than it was trained as samples nonsense in silence: every number is finite,
and no shape is wrong. Its error on noised real examples says it: right networks are below the best Gaussian denoiser
of each number alone, wrong ones far above (`guideplug.check.measure`). What is wrong is found by trying what else the
network may be (`parametrisations`, `data`, `labels`).

Verdicts, of the ratio of errors, its geometric mean over the levels:

    right        up to 1.25, and nothing tried is better by a factor of 1.15
    wrong        above 2, or an output is not finite, or something tried is better by a factor of 1.5 and below 1.25,
                 or other labels are better beyond chance
    suspicious   in between, or something tried is better by a factor of 1.15 and below 1.25

A perfect denoiser cannot be above 1 but by chance, which is under 5 % for 256 examples. Up to 1.25 is left to networks
that were trained for little time; beyond 2 no training of ours was, after its first few steps.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from attrs import evolve
from torch import Tensor

from guideplug.adapters import Adapted
from guideplug.check.blind import SAMPLES, Blind, looked_at
from guideplug.check.data import other_data
from guideplug.check.labels import Labels, compared
from guideplug.check.measure import Answer, Trial, geometric_mean, trial
from guideplug.check.parametrisations import parametrisations, written
from guideplug.check.result import Alternative, Check, Level, Verdict
from guideplug.denoise import Condition, Denoiser, Leaf, expand
from guideplug.errors import DenoiserError, GuideplugError

__all__ = ["check_denoiser", "glance"]

RIGHT = 1.25
WRONG = 2.0
CURE = 1.5
HINT = 1.15
SHARE_TRIED = 4
"""What else the network may be is tried on one in so many of the examples, which is enough for factors of 1.5."""
FEWEST_TRIED = 32
ALIKE = 1.1
"""Ways whose errors are within this factor are alike, and the one that changes least is named."""
FEW = 64
"""Examples below which a line says that they are few."""
LEFT = 0.2, 0.5
"""Without data, how much noise may be left at the highest level: beyond is suspicious, and wrong."""
MOVED = 0.2, 0.5
"""Without data, how far clean samples may be moved at the lowest level."""


def check_denoiser(
    denoiser: Denoiser, examples: Tensor | None = None, condition: Condition = None, *, seed: int = 0, most: int = 256
) -> Check:
    """Whether a denoiser is what it is said to be: its error on real examples, and what else it may be.

    The network is asked in evaluation mode, without a graph; its mode and torch's global generators stay as they were.
    Four calls measure it. About sixty more, on fewer examples, try other parametrisations, schedules, data and labels.

    Args:
        denoiser: a network as `wrap` gives it, or any denoiser; what else may be tried is less for those not wrapped.
        examples: clean samples (N, *shape) as the network knows them (latents, for a latent model), 16 or more. Without
            them only little can be seen: whether outputs are finite, noise is forgotten and clean samples are kept.
        condition: what the examples were drawn under, one row each: a tensor, or a mapping of tensors.
        seed: decides which examples are used, and the noise.
        most: how many examples are used, at most.

    Returns:
        The errors by noise level, a verdict, and what to write instead.

    Raises:
        DenoiserError: the examples are too few, not finite, all the same, or not of the denoiser's shape; or the
            denoiser cannot be asked.
        ConditionError: the condition does not fit the examples or the network.
    """
    with _undisturbed(denoiser) as (answer, notes):
        if examples is None:
            return _without_data(denoiser, answer, seed, notes)
        here = _trial(denoiser, examples, condition, seed, most)
        denoised = here.answers(answer)
        errors = here.errors(denoised)
        measured = _measured(here, errors, notes)
        if not bool(errors.isfinite().all()):
            tried = tuple(_tried(denoiser, answer, here))
            return _not_finite(measured, denoised, here, tried)
        labels = compared(answer, here, errors, _null(denoiser, here), seed)
        return _judged(denoiser, measured, tuple(_tried(denoiser, answer, here)), labels, here, errors)


def glance(
    denoiser: Denoiser, examples: Tensor, condition: Condition = None, *, seed: int = 0, most: int = 256
) -> Check:
    """`check_denoiser` in four calls, and as many on fewer examples for labels; arguments and errors as there.

    Nothing else is tried: a network that is not right is for `check_denoiser` to look at.
    """
    with _undisturbed(denoiser) as (answer, notes):
        here = _trial(denoiser, examples, condition, seed, most)
        denoised = here.answers(answer)
        errors = here.errors(denoised)
        measured = _measured(here, errors, notes)
        if not bool(errors.isfinite().all()):
            return _not_finite(measured, denoised, here, ())
        few = here.of(_few(here))
        labels = compared(answer, few, errors[:, : len(few)], _null(denoiser, few), seed)
        return _judged(denoiser, measured, (), labels, here, errors)


@contextmanager
def _undisturbed(denoiser: Denoiser) -> "Iterator[tuple[Answer, list[str]]]":
    """How to ask the denoiser in evaluation mode, and lines about it; mode and global generators are put back."""
    modes = {module: module.training for module in denoiser.modules()}
    trained = any(module.training for module in denoiser.modules() if not any(True for _ in module.children()))
    notes = ["the network is in training mode: call .eval() before sampling"] if trained else []
    cuda = sorted({tensor.device.index or 0 for tensor in denoiser.parameters() if tensor.device.type == "cuda"})

    def answer(x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        try:
            denoised: Tensor = denoiser(x, sigma, condition)
        except (GuideplugError, torch.OutOfMemoryError):
            raise
        except (TypeError, IndexError, RuntimeError, ValueError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise DenoiserError(f"the denoiser cannot be asked for x of shape {tuple(x.shape)}: {reason}") from error
        return denoised

    with torch.random.fork_rng(devices=cuda):
        try:
            denoiser.eval()
            yield answer, notes
        finally:
            for module, training in modes.items():
                module.training = training


def _trial(denoiser: Denoiser, examples: Tensor, condition: Condition, seed: int, most: int) -> Trial:
    shape, own = tuple(examples.shape[1:]), denoiser.space.shape
    if not (denoiser.fits(shape) if isinstance(denoiser, Leaf) else shape == own):
        raise DenoiserError(
            f"examples has shape {tuple(examples.shape)}, and the denoiser's samples are (N, {str(own)[1:-1]}): give"
            " clean samples as the network knows them, latents for a latent model"
        )
    return trial(
        examples, expand(condition, len(examples)), denoiser.space, seed=seed, most=most, device=_device(denoiser)
    )


def _device(denoiser: Denoiser) -> torch.device:
    tensors = [*denoiser.parameters(), *denoiser.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


def _null(denoiser: Denoiser, here: Trial) -> Condition:
    if isinstance(denoiser, Leaf) and denoiser.has_null:
        return expand(denoiser.null_condition(len(here), here.clean.device), len(here))
    return None


def _measured(here: Trial, errors: Tensor, notes: list[str]) -> Check:
    """The table, without a judgement."""
    means, gaussian = errors.mean(1), here.gaussian.mean(1)
    levels = tuple(
        Level(sigma, float(error), float(unit), float(error / unit))
        for sigma, error, unit in zip(here.sigmas, means, gaussian, strict=True)
    )
    ratio = geometric_mean([level.ratio for level in levels])
    return Check("right", "", ratio, levels, notes=tuple(notes), examples=len(here), sd=here.sd)


def _few(here: Trial) -> int:
    """How many of the examples other ways are tried on."""
    return max(len(here) // SHARE_TRIED, min(FEWEST_TRIED, len(here)))


def _tried(denoiser: Denoiser, answer: Answer, here: Trial) -> Iterator[Alternative]:
    few = here.of(_few(here))
    if isinstance(denoiser, Adapted):
        yield from parametrisations(denoiser, few)
    yield from other_data(answer, few, denoiser.space.sigma_data)


def _judged(
    denoiser: Denoiser,
    measured: Check,
    tried: tuple[Alternative, ...],
    labels: Labels | None,
    here: Trial,
    errors: Tensor,
) -> Check:
    """The verdict, and one sentence."""
    assert measured.ratio is not None
    few = here.of(_few(here))
    on_few = geometric_mean(few.ratios(errors[:, : len(few)]))
    cure = _cure(tried, on_few)
    others = () if labels is None else labels.alternatives
    verdict: Verdict = "right" if measured.ratio <= RIGHT else "suspicious" if measured.ratio <= WRONG else "wrong"
    whose, code = f"Its error is {measured.ratio:.2g} times that of the best Gaussian denoiser of each number alone", ""
    if cure is not None and on_few / cure.ratio >= CURE and cure.ratio <= RIGHT:
        verdict, code = "wrong", cure.code
        diagnosis = f"{_as(denoiser)}; {cure.what} the error is {_times(on_few / cure.ratio)} smaller."
    elif labels is not None and labels.better is not None:
        verdict, code = "wrong", labels.better.code
        diagnosis = (
            f"The labels are not those that the network knows; {labels.better.what} the error is "
            f"{100 * labels.gain:.0f} % smaller."
        )
    elif cure is not None and on_few / cure.ratio >= HINT and cure.ratio <= RIGHT:
        verdict, code = "wrong" if verdict == "wrong" else "suspicious", cure.code
        diagnosis = f"{_as(denoiser)}; {cure.what} the error is {100 * (1 - cure.ratio / on_few):.0f} % smaller."
    elif cure is not None and verdict != "right" and on_few / cure.ratio >= CURE:
        code = cure.code
        diagnosis = (
            f"{whose}; {cure.what} it is {_times(on_few / cure.ratio)} smaller, which is still more than a right "
            "network's."
        )
    elif verdict != "right":
        diagnosis = (
            f"{whose}, and nothing that was tried is much better: it is hardly trained, or has other data, another "
            "schedule or another order of arguments."
        )
    else:
        diagnosis = f"{whose}: it denoises these samples."
    alternatives = tuple(sorted((*tried, *others), key=lambda one: one.ratio))
    notes = [*measured.notes, *_notes(None if verdict == "wrong" else labels, here)]
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


def _notes(labels: Labels | None, here: Trial) -> Iterator[str]:
    if labels is not None and not labels.used and labels.better is None:
        yield "labels are not used, or not what the network knows: those of other examples are as good"
    if len(here) < FEW:
        yield f"of {len(here)} examples only: give {FEW} or more for a verdict that does not depend on chance"


def _not_finite(measured: Check, denoised: list[Tensor], here: Trial, tried: tuple[Alternative, ...]) -> Check:
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


def _without_data(denoiser: Denoiser, answer: Answer, seed: int, notes: list[str]) -> Check:
    space, device = denoiser.space, _device(denoiser)
    known = isinstance(denoiser, Leaf) and denoiser.has_null
    null = expand(denoiser.null_condition(SAMPLES, device), SAMPLES) if known else None  # type: ignore[operator]
    seen = looked_at(answer, null, space, seed, device)
    verdict, text = _of_blind(seen, space.sigma_min, space.sigma_max)
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
