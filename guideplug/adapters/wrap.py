"""Networks trained elsewhere as denoisers.

    D(x; sigma, c) = skip x + out F(alpha x, t, c)

alpha and t come from the network's schedule (`guideplug.adapters.schedule`), skip and out from its kind of
prediction (`guideplug.adapters.prediction`).

Cost: one call of the network per call of the denoiser.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

from guideplug.adapters.null import MakeNull, Null, null_of
from guideplug.adapters.outputs import output_at, places_of, prediction_of
from guideplug.adapters.prediction import Prediction, coefficients, schedule_of
from guideplug.adapters.schedule import NoiseSchedule
from guideplug.denoise import (
    Condition,
    Leaf,
    Output,
    Perturbation,
    Space,
    ValueOutput,
    as_arguments,
    expand,
    parts_of,
    per_row,
)
from guideplug.denoise.output import DENOISED
from guideplug.denoise.perturb import Offer
from guideplug.errors import ConditionError, DenoiserError

__all__ = ["Adapted", "wrap"]

Network: TypeAlias = Callable[..., Any]
Decode: TypeAlias = Callable[[Tensor], Tensor]

ROUNDING = 1e-5
"""The relative tolerance of levels at a schedule's ends, for ends rounded to float32."""


def wrap(
    network: Network,
    shape: Sequence[int],
    *,
    predicts: Prediction,
    schedule: NoiseSchedule | None = None,
    null: Null = None,
    sigma_data: float = 0.5,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    decode: Decode | None = None,
    views: Mapping[str, Offer] | None = None,
    resizable: bool = False,
    labels: int | None = None,
    outputs: Mapping[str, tuple[int | str, Output]] | None = None,
) -> "Adapted":
    """A denoiser of any network: ``wrap(unet, (4, 64, 64), predicts="epsilon", schedule=DiscreteSchedule(table))``.

    The network is called as ``network(x_t, time)``, ``network(x_t, time, condition)`` where the condition is a tensor,
    and ``network(x_t, time, **condition)`` where it is a mapping: x_t (B, *shape), time (B,). It returns a tensor like
    x_t, an object or mapping whose ``sample`` is one, or a tuple that begins with one.

    Args:
        network: a module, which becomes a submodule, or any function. A module is given x_t in the type of its first
            floating-point parameter; times are float32 at least, conditions as they are.
        shape: the shape of one sample, without the batch axis.
        predicts: ``"denoised"``, ``"epsilon"``, ``"v"``, ``"score"``, ``"flow"``, or ``"edm"``: the raw network inside
            EDM's preconditioning.
        schedule: the noise schedule that the network was trained with. The default for denoised and score is x
            itself (`VESchedule`), for flow the straight path (`FlowSchedule`); epsilon and v need one, edm has its own.
        null: the null condition: a label, a tensor of one row, a mapping of these, or a function of (batch, device)
            for one that changes. Tensors are copied into buffers. None for a network without a null condition.
        sigma_data: the standard deviation of the data; edm's formula uses it.
        sigma_min, sigma_max: the lowest and highest level to sample at, in data units; the schedule's unless given.
        decode: a function from latents to displayed samples; by default the identity.
        views: perturbations of the network by kind, from `guideplug.skip_layers` and the like, or functions
            ``view(network, **options)`` that return a context in which the network is perturbed.
        resizable: whether the network accepts samples of other sizes, like a convolutional one; channels are fixed.
        labels: the number of labels, for label conditions: sampling without a task draws labels uniformly.
        outputs: further outputs by name, each with its place in what the network returns, a key of a mapping, an
            attribute of an object or an index of a tuple, and its kind: ``{"logvar": ("logvar", ValueOutput()),
            "head": (1, PointOutput())}``. A point is a prediction of the same kind as the network's own, and
            becomes denoised samples as that does; a value is passed on as it is.

    Raises:
        TypeError: network, shape, schedule or null has another type, or views or outputs are of another form.
        ValueError: the prediction is unknown, contradicts the schedule or lacks one; a level is out of its range.
    """
    if not callable(network):
        raise TypeError(f"network is a {type(network).__name__}: give a module or a function of (x_t, time)")
    schedule = schedule_of(predicts, schedule, sigma_data=sigma_data, sigma_min=sigma_min, sigma_max=sigma_max)
    low, high = schedule.sigma_range
    for name, level in (("sigma_min", sigma_min), ("sigma_max", sigma_max)):
        if level is not None and not low * (1 - ROUNDING) <= level <= high * (1 + ROUNDING):
            raise ValueError(f"{name} is {level:g}: the schedule, {schedule}, reaches from {low:.4g} to {high:.4g}")
    space = Space(shape, sigma_data, low if sigma_min is None else sigma_min, high if sigma_max is None else sigma_max)
    for kind, view in (views or {}).items():
        if not isinstance(kind, str) or not callable(view):
            raise TypeError(f"views has {kind!r}: {view!r}: give functions by name, as in skip_layers('blocks.0')")
    further = places_of(outputs or {})
    return Adapted(
        network, space, predicts, schedule, null_of(null), decode, dict(views or {}), resizable, labels, further
    )


@final
class Adapted(Leaf):
    """A network of another parametrisation as a denoiser. Made by `wrap`."""

    weights_under = "network."
    """The prefix of the network's own weights; a checkpoint may have them without it."""

    def __init__(
        self,
        network: Network,
        space: Space,
        predicts: Prediction,
        schedule: NoiseSchedule,
        null: MakeNull | None,
        decode: Decode | None,
        views: Mapping[str, Offer],
        resizable: bool,
        labels: int | None,
        outputs: Mapping[str, tuple[int | str, Output]],
    ) -> None:
        super().__init__(space)
        self.outputs = {name: output for name, (_, output) in outputs.items()}
        self._output_places = {name: place for name, (place, _) in outputs.items()}
        self.network, self.predicts, self.schedule = network, predicts, schedule
        self._null, self._decode, self._views, self._resizable = null, decode, views, resizable
        self.num_labels = labels

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The denoised samples (B, *), computed in float32 at least.

        Raises:
            DenoiserError: x has another shape than the space, or the network cannot be called so, returned no tensor,
                or one of another shape.
        """
        return self.named_outputs(x, sigma, condition, [DENOISED])[DENOISED]

    def named_outputs(
        self, x: Tensor, sigma: Tensor, condition: Condition, names: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """The outputs ``names`` out of what one call of the network returns; see `denoise`.

        Raises:
            DenoiserError: as of `denoise`, or the network's return value has no such output.
        """
        shape = self.space.shape
        if not self.fits(tuple(x.shape[1:])):
            expected = f"({', '.join(map(str, ('B', *shape)))})"
            raise DenoiserError(
                f"x has shape {tuple(x.shape)}, expected {expected} by wrap(..., shape={shape}): shape is that of one "
                "sample, without the batch axis"
            )
        sigma = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
        alpha, skip, out = coefficients(self.predicts, self.schedule, sigma)
        x_t, returned = self.call(per_row(alpha, x) * x, self.schedule.time(sigma), condition, x.dtype)
        place, network = self._output_places, _name(self.network)
        outputs: dict[str, Tensor] = {}
        for name in names:
            if isinstance(self.outputs.get(name), ValueOutput):
                outputs[name] = output_at(returned, place[name], name, network)
                continue
            own = name == DENOISED
            point = prediction_of(returned, network) if own else output_at(returned, place[name], name, network)
            self._check_shape(point, x_t)
            outputs[name] = (per_row(skip, x) * x + per_row(out, x) * point).to(x.dtype)
        return outputs

    def predict(self, x_t: Tensor, time: Tensor, condition: Condition, dtype: torch.dtype) -> Tensor:
        """The network's prediction (B, *) from its input x_t (B, *), in ``dtype``, and its time (B,).

        Raises:
            DenoiserError: the network cannot be called so, returned no tensor, or one of another shape.
        """
        x_t, returned = self.call(x_t, time, condition, dtype)
        prediction = prediction_of(returned, _name(self.network))
        self._check_shape(prediction, x_t)
        return prediction

    def call(self, x_t: Tensor, time: Tensor, condition: Condition, dtype: torch.dtype) -> tuple[Tensor, object]:
        """The input x_t in the network's type, and what the network returns.

        Raises:
            DenoiserError: the network cannot be called so.
        """
        network = self.network
        if isinstance(network, nn.Module):
            dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), dtype)
            if time.is_floating_point():
                time = time.to(torch.promote_types(dtype, torch.float32))
        x_t = x_t.to(dtype)
        positional, named = as_arguments(condition)
        try:
            return x_t, network(x_t, time, *positional, **named)
        except torch.OutOfMemoryError:
            raise
        except (TypeError, IndexError, RuntimeError, ValueError) as error:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            raise DenoiserError(
                f"while calling {_name(network)}({_arguments(x_t, time, condition)}): {message}"
            ) from error

    def _check_shape(self, prediction: Tensor, x_t: Tensor) -> None:
        if prediction.shape != x_t.shape:
            raise DenoiserError(
                f"{_name(self.network)} returned shape {tuple(prediction.shape)} for x_t of shape {tuple(x_t.shape)}: "
                "give a network of this shape, or a function that picks the prediction out of what it returns"
            )

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        if self._null is None:
            raise ConditionError(
                f"{_name(self.network)} was wrapped without a null condition: give wrap(..., null=...), or guide it "
                "with a network of its own"
            )
        return expand(self._null(batch, device), batch)

    @property
    def has_null(self) -> bool:
        return self._null is not None

    def perturbations(self) -> Mapping[str, Perturbation]:
        return {kind: functools.partial(view, self.network) for kind, view in self._views.items()}

    def fits(self, shape: tuple[int, ...]) -> bool:
        own = self.space.shape
        return shape == own or (self._resizable and len(shape) == len(own) and shape[:1] == own[:1])

    @property
    def is_latent(self) -> bool:
        return super().is_latent or self._decode is not None

    def own_levels(self, count: int, sigma_min: float, sigma_max: float) -> list[float]:
        try:
            return self.schedule.levels(count, sigma_min, sigma_max)
        except ValueError as error:
            raise DenoiserError(f"{_name(self.network)}: {error}") from None

    def decode(self, x: Tensor) -> Tensor:
        return super().decode(x) if self._decode is None else self._decode(x)

    def extra_repr(self) -> str:
        """The prediction and the schedule."""
        return f"predicts={self.predicts!r}, schedule={self.schedule}"


def _name(network: Network) -> str:
    return type(network).__name__ if isinstance(network, nn.Module) else getattr(network, "__name__", "the network")


def _arguments(x_t: Tensor, time: Tensor, condition: Condition) -> str:
    """The arguments of a network as text: ``x_t (4, 2) float32, time (4,) float32, condition (4,) int64``."""
    parts = {f"{name}=" if name else "condition ": part for name, part in parts_of(condition).items()}
    arguments = {"x_t ": x_t, "time ": time, **parts}
    return ", ".join(f"{name}{tuple(part.shape)} {str(part.dtype)[6:]}" for name, part in arguments.items())
