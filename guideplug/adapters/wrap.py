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

from guideplug.adapters.input_type import input_type
from guideplug.adapters.null import MakeNull, Null, null_of
from guideplug.adapters.outputs import output_at, places_of, prediction_of
from guideplug.adapters.prediction import Prediction, coefficients, denoises_noise, schedule_of
from guideplug.adapters.schedule import FlowSchedule, NoiseSchedule
from guideplug.denoise import (
    Condition,
    Leaf,
    Output,
    Perturbation,
    Space,
    ValueOutput,
    as_arguments,
    expand,
    in_type,
    parts_of,
    per_row,
)
from guideplug.denoise.domain import DEFAULT_SAMPLER, FLOW_SAMPLER
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
    resizable: bool | int = False,
    labels: int | None = None,
    outputs: Mapping[str, tuple[int | str, Output]] | None = None,
    masks: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> "Adapted":
    """A denoiser of any network: ``wrap(unet, (4, 64, 64), predicts="epsilon", schedule=DiscreteSchedule(table))``.

    The network is called as ``network(x_t, time)``, ``network(x_t, time, condition)`` where the condition is a tensor
    or a list, and ``network(x_t, time, **condition)`` where it is a mapping: x_t (B, *shape), time (B,). It returns a
    tensor like x_t, an object or mapping whose ``sample`` is one, or a tuple that begins with one.

    Args:
        network: a module, which becomes a submodule, or any function. A module is given x_t and the floating-point
            parts of conditions in its own type; times are float32 at least.
        shape: the shape of one sample, without the batch axis.
        predicts: ``"denoised"``, ``"epsilon"``, ``"v"``, ``"score"``, ``"flow"``, or ``"edm"``: the raw network inside
            EDM's preconditioning.
        schedule: the noise schedule that the network was trained with. The default for denoised and score is x
            itself (`VESchedule`), for flow the straight path (`FlowSchedule`); epsilon and v need one, edm has its own.
        null: the null condition: a label, a tensor of one row, a mapping or list of these, nested or with None inside,
            or a function of (batch, device) for one that changes. Tensors are copied into buffers. None, the default,
            for a network without a null condition.
        sigma_data: the standard deviation of the data; edm's formula uses it.
        sigma_min, sigma_max: the lowest and highest level to sample at, in data units; the schedule's unless given. The
            samplers of flows begin at noise alone, t = 1, if sigma_max is given neither here nor to `FlowSchedule`.
        decode: a function from latents to displayed samples; by default the identity.
        views: perturbations of the network by kind, from `guideplug.skip_layers` and the like, or functions
            ``view(network, **options)`` that return a context in which the network is perturbed.
        resizable: whether the network accepts samples of other sizes, like a convolutional one, or a number that all
            sides must be multiples of, as 8 for three halvings; channels are fixed.
        labels: the number of labels, for label conditions: sampling without a task draws labels uniformly.
        outputs: further outputs by name, each with its place in what the network returns, a key of a mapping, an
            attribute of an object or an index of a tuple, and its kind: ``{"logvar": ("logvar", ValueOutput()),
            "head": (1, PointOutput())}``. A point is a prediction of the same kind as the network's own, and
            becomes denoised samples as that does; a value is passed on as it is.
        masks: the masks that the network takes in conditions, by the names of the sequences whose valid positions they
            mark: ``{"encoder_hidden_states": "encoder_attention_mask"}``. Sequences of unequal length are then padded
            to one batch; without a mask they take a call each.
        dtype: the type in which the network takes x_t and the floating-point parts of conditions. The default is a
            module's own: its ``dtype``, or the type of most of its weights. A function is given them as they are.

    Raises:
        TypeError: network, shape, schedule or null has another type, or views, outputs or masks are of another form.
        ValueError: the prediction is unknown, contradicts the schedule or lacks one; a level is out of its range.
    """
    if not callable(network):
        raise TypeError(f"network is a {type(network).__name__}: give a module or a function of (x_t, time)")
    schedule = schedule_of(predicts, schedule, sigma_data=sigma_data, sigma_min=sigma_min, sigma_max=sigma_max)
    low, high = schedule.sigma_range
    for name, level in (("sigma_min", sigma_min), ("sigma_max", sigma_max)):
        if level is not None and not low * (1 - ROUNDING) <= level <= high * (1 + ROUNDING):
            raise ValueError(f"{name} is {level:g}: the schedule, {schedule}, reaches from {low:.4g} to {high:.4g}")
    space = Space(
        shape,
        sigma_data,
        low if sigma_min is None else sigma_min,
        high if sigma_max is None else sigma_max,
        noise_alone=sigma_max is None and denoises_noise(predicts, schedule),
    )
    for kind, view in (views or {}).items():
        if not isinstance(kind, str) or not callable(view):
            raise TypeError(f"views has {kind!r}: {view!r}: give functions by name, as in skip_layers('blocks.0')")
    if not all(isinstance(name, str) and isinstance(mask, str) for name, mask in dict(masks or {}).items()):
        raise TypeError(f"masks is {masks!r}: give names by names, as in {{'text': 'text_mask'}}")
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype is {dtype!r}: give a floating-point type, such as torch.bfloat16")
    further = places_of(outputs or {})
    return Adapted(
        network,
        space,
        predicts,
        schedule,
        null_of(null),
        decode,
        dict(views or {}),
        resizable,
        labels,
        further,
        dict(masks or {}),
        dtype,
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
        resizable: bool | int,
        labels: int | None,
        outputs: Mapping[str, tuple[int | str, Output]],
        masks: Mapping[str, str],
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__(space)
        self.masks, self.dtype = masks, dtype
        self.any_type = dtype is not None or isinstance(network, nn.Module)
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
        if self.dtype is not None:
            dtype = self.dtype
        elif isinstance(network, nn.Module):
            dtype = input_type(network, dtype)
        x_t = x_t.to(dtype)
        if self.any_type:
            condition = in_type(condition, dtype)
            if time.is_floating_point():
                time = time.to(torch.promote_types(dtype, torch.float32))
        positional, named = as_arguments(condition)
        try:
            return x_t, network(x_t, time, *positional, **named)
        except torch.OutOfMemoryError:
            raise
        except (TypeError, IndexError, RuntimeError, ValueError) as error:
            message = " ".join(f"{type(error).__name__}: {error}".split())
            raise DenoiserError(
                f"while calling {_name(network)}({_arguments(x_t, time, condition)}): {message}"
                f"{_advice(condition, message)}"
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
        multiple = int(self._resizable)
        if shape == own or not multiple or len(shape) != len(own) or shape[:1] != own[:1]:
            return shape == own
        return all(side % multiple == 0 for side in shape[1:])

    def sampler(self) -> str:
        return FLOW_SAMPLER if isinstance(self.schedule, FlowSchedule) else DEFAULT_SAMPLER

    @property
    def is_latent(self) -> bool:
        return self.decoder is not None or self._decode is not None

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


def _advice(condition: Condition, message: str) -> str:
    """What to do if a network that wants one-hot vectors was given labels."""
    labels = isinstance(condition, Tensor) and condition.ndim == 1 and not condition.is_floating_point()
    if not labels or not any(word in message for word in ("dtype", "mat1", "mat2", "Long")):
        return ""
    return (
        ": it was given labels; if it wants one-hot vectors, wrap a module that makes them, "
        "one_hot(labels, N).float() of torch.nn.functional"
    )
