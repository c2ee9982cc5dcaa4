"""The error of a wrapped network under other parametrisations and schedules.

One call of the network serves every prediction under one schedule, because x_t and time are the same. A flow's velocity
is tried with either sign, for there are flows from noise to data and back whose sign is not that of their time. Cost: a
call per level, schedule and time scale, and per standard deviation of EDM's preconditioning.
"""

import json
from collections.abc import Iterator
from typing import Any, cast, final, get_args

import attrs
import torch
from attrs import field, frozen
from torch import Tensor

from guideplug.adapters import (
    Adapted,
    CosineSchedule,
    DiscreteSchedule,
    FlowSchedule,
    NoiseSchedule,
    VESchedule,
    VPSchedule,
)
from guideplug.adapters.prediction import Prediction, coefficients, schedule_of
from guideplug.check.measure import Trial, geometric_mean
from guideplug.check.result import Alternative
from guideplug.denoise import Condition, per_row
from guideplug.errors import GuideplugError

__all__ = ["parametrisations", "written"]

UNWRITTEN = "the same schedule"
"""A table or a custom schedule, without a short name."""
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)

TABLES = {
    "torch.linspace(1e-4, 0.02, 1000)": torch.linspace(1e-4, 0.02, 1000),
    "torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2": torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2,
}
"""The betas of DDPM and DiT, and of Stable Diffusion."""


@final
@frozen
class _Told:
    """A schedule, the factor of its time, and the code of both."""

    schedule: NoiseSchedule
    written: str
    scale: float = 1.0
    same: bool = False
    """Whether it is the schedule of the wrapping, with unscaled time."""
    only: tuple[Prediction, ...] = field(default=tuple(name for name in PREDICTIONS if name != "edm"))


def parametrisations(adapted: Adapted, trial: Trial) -> Iterator[Alternative]:
    """The ratios of a wrapped network under other wrappings; impossible ones are omitted."""
    name = type(adapted.network).__name__ if isinstance(adapted.network, torch.nn.Module) else "network"
    for noise_input in _schedules(adapted, trial):
        try:
            predicted = _predicted(adapted, noise_input, trial)
        except GuideplugError:  # the network does not accept such times
            continue
        for predicts, negated in _kinds(noise_input):
            if noise_input.same and predicts == adapted.predicts and not negated:
                continue
            try:
                schedule_of(
                    predicts, None if predicts == "edm" else noise_input.schedule, sigma_data=1.0, sigma_min=None,
                    sigma_max=None,
                )  # fmt: skip
            except ValueError:  # the prediction does not go with the schedule
                continue
            signed = [-prediction for prediction in predicted] if negated else predicted
            ratios = trial.ratios(trial.errors(_denoised(predicts, noise_input, signed, trial)))
            further = f"schedule={'schedule' if noise_input.written == UNWRITTEN else noise_input.written}"
            if predicts == "edm":
                further = f"sigma_data={_sigma_data(noise_input):.3g}"
            yield Alternative(
                what=_what(adapted, predicts, noise_input, negated),
                ratio=geometric_mean(ratios),
                ratios=tuple(ratios),
                code=f"wrap({_network(name, noise_input, negated)}, {adapted.space.shape}, "
                f"predicts={json.dumps(predicts)}, {further})",
                changes=(predicts != adapted.predicts) + (not noise_input.same) + negated,
            )


def _kinds(noise_input: _Told) -> Iterator[tuple[Prediction, bool]]:
    """The predictions under a schedule, and whether each is negated."""
    for predicts in noise_input.only:
        yield predicts, False
        if predicts == "flow":
            yield predicts, True


def _network(name: str, noise_input: _Told, negated: bool) -> str:
    """The network as an argument of `wrap`, in a function where its time or its sign is changed by no schedule."""
    scaled = noise_input.scale != 1.0 and not hasattr(noise_input.schedule, "time_scale")
    if not scaled and not negated:
        return name
    time = f"{noise_input.scale:g} * time" if scaled else "time"
    return f"lambda x, time, *rest: {'-' if negated else ''}{name}(x, {time}, *rest)"


def _what(adapted: Adapted, predicts: Prediction, noise_input: _Told, negated: bool) -> str:
    """``as epsilon``, ``with VPSchedule()``, or both."""
    parts = [f"as {predicts}"] if predicts != adapted.predicts else []
    if predicts == "edm":
        return f"as edm with sigma_data {_sigma_data(noise_input):.3g}"
    if predicts == "flow" == adapted.predicts and _data_at(noise_input.schedule) != _data_at(adapted.schedule):
        parts.append("run backwards")
    if negated:
        parts.append("with its velocity negated")
    if not noise_input.same and noise_input.scale != 1.0:
        parts.append(f"with its time {'multiplied by' if noise_input.scale > 1 else 'divided by'} 1000")
    elif not noise_input.same:
        parts.append(f"with {noise_input.written}")
    return " ".join(parts)


def _data_at(schedule: NoiseSchedule) -> int:
    return schedule.data_at if isinstance(schedule, FlowSchedule) else 0


def _sigma_data(noise_input: _Told) -> float:
    return float(noise_input.schedule.sigma_data)  # type: ignore[attr-defined]


def _predicted(adapted: Adapted, noise_input: _Told, trial: Trial) -> list[Tensor]:
    """The network's output per level."""
    predictions = []
    with torch.no_grad():
        for sigma, noise in zip(trial.sigmas, trial.noise, strict=True):
            level = torch.full((len(trial),), sigma, device=noise.device)
            x = trial.clean + sigma * noise
            alpha = per_row(noise_input.schedule.alpha(level), x)
            time = noise_input.schedule.time(level)
            time = time if noise_input.scale == 1.0 else noise_input.scale * time
            predictions.append(adapted.predict(alpha * x, time, _condition(adapted, trial), x.dtype).float())
    return predictions


def _condition(adapted: Adapted, trial: Trial) -> Condition:
    if trial.condition is None and adapted.has_null:
        return adapted.null_condition(len(trial), trial.clean.device)
    return trial.condition


def _denoised(predicts: Prediction, noise_input: _Told, predicted: list[Tensor], trial: Trial) -> list[Tensor]:
    denoised = []
    for sigma, noise, prediction in zip(trial.sigmas, trial.noise, predicted, strict=True):
        level = torch.tensor([sigma], device=noise.device)
        _, skip, out = (float(one) for one in coefficients(predicts, noise_input.schedule, level))
        denoised.append(skip * (trial.clean + sigma * noise) + out * prediction)
    return denoised


def _schedules(adapted: Adapted, trial: Trial) -> Iterator[_Told]:
    """The network's own schedule first, then the common ones."""
    own = adapted.schedule
    edm = adapted.predicts == "edm"
    if not edm:
        yield _Told(own, written(own), same=True)
    looked_up = isinstance(own, DiscreteSchedule) and own.rounded
    for text, table in TABLES.items():
        if not looked_up or len(cast(DiscreteSchedule, own).alphas_cumprod) >= len(table):
            schedule = DiscreteSchedule.from_betas(table, rounded=looked_up)
            if schedule != own:
                yield _Told(schedule, f"DiscreteSchedule.from_betas({text}{', rounded=True' if looked_up else ''})")
    if looked_up:
        return  # a table of embeddings accepts whole steps alone
    for scale in (1000.0, 0.001):
        if not edm:
            yield _Told(own, _rescaled(own, scale), scale)
    for usual in (
        VPSchedule(), VPSchedule(time_scale=1000), CosineSchedule(), CosineSchedule(time_scale=1000), FlowSchedule(),
        FlowSchedule(time_scale=1000), FlowSchedule(data_at=1), FlowSchedule(data_at=1, time_scale=1000), VESchedule(),
        VESchedule(noise_input="log_sigma"),
    ):  # fmt: skip
        if usual != own:
            yield _Told(usual, written(usual))
    for sigma_data in dict.fromkeys((adapted.space.sigma_data, 0.5, 1.0, float(f"{trial.sd:.2g}"))):
        preconditioned = schedule_of("edm", None, sigma_data=sigma_data, sigma_min=None, sigma_max=None)
        if not edm or sigma_data != _sigma_data(_Told(own, "")):
            yield _Told(preconditioned, "", only=("edm",))


def _rescaled(schedule: Any, scale: float) -> str:
    if hasattr(schedule, "time_scale"):
        schedule = attrs.evolve(schedule, time_scale=scale * schedule.time_scale)
    return written(schedule)


def written(schedule: Any) -> str:
    """A schedule as code, without defaults: ``VPSchedule(time_scale=1000)``; a table as ``schedule``."""
    if isinstance(schedule, DiscreteSchedule) or not attrs.has(type(schedule)):
        return UNWRITTEN
    options = []
    for attribute in attrs.fields(type(schedule)):
        value = getattr(schedule, attribute.name)
        if attribute.init and value != attribute.default:
            options.append(f"{attribute.name}={value:g}" if isinstance(value, float) else f"{attribute.name}={value!r}")
    return f"{type(schedule).__name__}({', '.join(options)})"
