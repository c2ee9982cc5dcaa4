"""Diagnosis of a wrapped denoiser.

A network wrapped with a wrong parametrisation samples nonsense without an error: all values are finite, and all shapes
match. Its error on noised real examples shows it: correct networks are below the best Gaussian denoiser of each number
alone, wrong ones far above (`guideplug.check.measure`). The fault is found by trying alternatives (`parametrisations`,
`data`, `labels`). The verdict is that of `guideplug.check.verdict`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from guideplug.adapters import Adapted
from guideplug.check.blind import SAMPLES, looked_at
from guideplug.check.data import other_data
from guideplug.check.labels import compared
from guideplug.check.measure import Answer, Trial, geometric_mean, trial
from guideplug.check.parametrisations import parametrisations
from guideplug.check.result import Alternative, Check, Level
from guideplug.check.verdict import judged, judged_blind, judged_broken
from guideplug.denoise import Condition, Denoiser, Leaf, expand
from guideplug.errors import DenoiserError, GuideplugError
from guideplug.rng import derived_seed

__all__ = ["check_denoiser", "glance"]

SHARE_TRIED = 4
"""Alternatives are tried on one in this many examples, which resolves factors of 1.5."""
FEWEST_TRIED = 32


def check_denoiser(
    denoiser: Denoiser, examples: Tensor | None = None, condition: Condition = None, *, seed: int = 0, most: int = 256
) -> Check:
    """Check a denoiser by its error on real examples, and find a better wrapping.

    The network is evaluated in evaluation mode, without a graph; its mode and torch's global generators are restored.
    Four calls measure it. About sixty more, on fewer examples, try other parametrisations, schedules, data and labels.

    Args:
        denoiser: a network from `wrap`, or any denoiser; fewer alternatives are tried for others.
        examples: clean samples (N, *shape) in the network's space (latents, for a latent model), 16 or more. Without
            them the check is limited to finite outputs, independence of noise and preservation of clean samples.
        condition: the condition of the examples, one row each: a tensor, or a mapping of tensors.
        seed: the seed of the choice of examples, and of the noise.
        most: the largest number of examples used.

    Returns:
        The errors by noise level, a verdict, and the corrected code.

    Raises:
        DenoiserError: the examples are too few, not finite, all the same, or not of the denoiser's shape; or the
            denoiser cannot be evaluated.
        ConditionError: the condition does not fit the examples or the network.
    """
    with _undisturbed(denoiser, seed) as (answer, notes):
        if examples is None:
            return _without_data(denoiser, answer, seed, notes)
        here = _trial(denoiser, examples, condition, seed, most)
        denoised = here.answers(answer)
        errors = here.errors(denoised)
        measured = _measured(here, errors, notes)
        if not bool(errors.isfinite().all()):
            tried = tuple(_tried(denoiser, answer, here))
            return judged_broken(measured, denoised, here, tried)
        labels = compared(answer, here, errors, _null(denoiser, here), seed)
        tried = tuple(_tried(denoiser, answer, here))
        return judged(measured, denoiser, tried, labels, _ratio_of_few(here, errors))


def glance(
    denoiser: Denoiser, examples: Tensor, condition: Condition = None, *, seed: int = 0, most: int = 256
) -> Check:
    """A short `check_denoiser`: four calls, and sixteen on fewer examples for labels; arguments and errors as there.

    No alternatives are tried: use `check_denoiser` for a network that fails.
    """
    with _undisturbed(denoiser, seed) as (answer, notes):
        here = _trial(denoiser, examples, condition, seed, most)
        denoised = here.answers(answer)
        errors = here.errors(denoised)
        measured = _measured(here, errors, notes)
        if not bool(errors.isfinite().all()):
            return judged_broken(measured, denoised, here, ())
        few = here.of(_few(here))
        labels = compared(answer, few, errors[:, : len(few)], _null(denoiser, few), seed)
        return judged(measured, denoiser, (), labels, _ratio_of_few(here, errors))


@contextmanager
def _undisturbed(denoiser: Denoiser, seed: int) -> "Iterator[tuple[Answer, list[str]]]":
    """The denoiser in evaluation mode, with notes; mode and global generators are restored."""
    modes = {module: module.training for module in denoiser.modules()}
    layers = [module for module in modes if hasattr(module, "p") or any(True for _ in module.parameters(recurse=False))]
    training = any(modes[layer] for layer in layers)
    notes = ["the network is in training mode: call .eval() before sampling"] if training else []
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
        torch.default_generator.manual_seed(derived_seed("check", seed))  # for networks with random draws in every mode
        try:
            denoiser.eval()
            yield answer, notes
        finally:
            for module, mode in modes.items():
                module.training = mode


def _trial(denoiser: Denoiser, examples: Tensor, condition: Condition, seed: int, most: int) -> Trial:
    if not isinstance(examples, Tensor):
        raise DenoiserError(f"examples is a {type(examples).__name__}: give a tensor, as in torch.from_numpy(samples)")
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
    """The measured errors, without a verdict."""
    means, gaussian = errors.mean(1), here.gaussian.mean(1)
    levels = tuple(
        Level(sigma, float(error), float(unit), float(error / unit))
        for sigma, error, unit in zip(here.sigmas, means, gaussian, strict=True)
    )
    ratio = geometric_mean([level.ratio for level in levels])
    return Check("right", "", ratio, levels, notes=tuple(notes), examples=len(here), sd=here.sd)


def _few(here: Trial) -> int:
    """The number of examples for alternatives."""
    return max(len(here) // SHARE_TRIED, min(FEWEST_TRIED, len(here)))


def _ratio_of_few(here: Trial, errors: Tensor) -> float:
    """The denoiser's own ratio on the examples for alternatives."""
    few = here.of(_few(here))
    return geometric_mean(few.ratios(errors[:, : len(few)]))


def _tried(denoiser: Denoiser, answer: Answer, here: Trial) -> Iterator[Alternative]:
    few = here.of(_few(here))
    if isinstance(denoiser, Adapted):
        yield from parametrisations(denoiser, few)
    yield from other_data(answer, few, denoiser.space.sigma_data)


def _without_data(denoiser: Denoiser, answer: Answer, seed: int, notes: list[str]) -> Check:
    space, device = denoiser.space, _device(denoiser)
    known = isinstance(denoiser, Leaf) and denoiser.has_null
    null = expand(denoiser.null_condition(SAMPLES, device), SAMPLES) if known else None  # type: ignore[operator]
    seen = looked_at(answer, null, space, seed, device)
    return judged_blind(seen, space.sigma_min, space.sigma_max, notes)
