"""Is a denoiser what it is said to be?

A network that is wrapped as something else than it was trained as samples nonsense in silence: every number is finite,
and no shape is wrong. Its error on noised real examples says it: right networks are below the best Gaussian denoiser
of each number alone, wrong ones far above (`guideplug.check.measure`). What is wrong is found by trying what else the
network may be (`parametrisations`, `data`, `labels`).
The verdict is that of `guideplug.check.verdict`.
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
"""What else the network may be is tried on one in so many of the examples, which is enough for factors of 1.5."""
FEWEST_TRIED = 32


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
    """`check_denoiser` in four calls, and sixteen on fewer examples for labels; arguments and errors as there.

    Nothing else is tried: a network that is not right is for `check_denoiser` to look at.
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
    """How to ask the denoiser in evaluation mode, and lines about it; mode and global generators are put back."""
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
        torch.default_generator.manual_seed(derived_seed("check", seed))  # for networks that draw whatever their mode
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


def _ratio_of_few(here: Trial, errors: Tensor) -> float:
    """The denoiser's own ratio on them."""
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
