"""Gradient guidance: a denoiser shifted along the gradient of a log-density.

    U(x; sigma, c) = D(x; sigma, c) + sigma^2 grad_x f

f is the logarithm of a density up to a constant, such as log p(c | x; sigma). A denoiser determines its score,
D = x + sigma^2 grad log p(x; sigma) (Tweedie's formula), so by Bayes' rule U is the denoiser of p(x; sigma) exp(f). A
guider along a gradient is then ``base + scale * (GradientGuided(base, f) - base)``.

f is a function of x; with ``through``, of the predicted clean sample x0 = D(x; sigma, c); or with ``value``, of a named
value of a network at (x, sigma), such as its logits. The gradient then goes through the networks of D, or of the value.
These are evaluated with a graph, still once per evaluation, and every other network without one. Elsewhere the caller's
``torch.no_grad`` holds.

Source of the rule for diffusion models: P. Dhariwal and A. Nichol 2021, "Diffusion models beat GANs on image
synthesis", arXiv:2105.05233, section 4.
Cost: the calls of D; f and its gradient, and with ``through`` a backward pass through each call of D, with ``value``
through the call that the value comes from. No cost if the coefficient is 0.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast, final

import torch
from torch import Tensor

from guideplug.denoise.algebra import Atom, Denoiser
from guideplug.denoise.condition import Condition, expand
from guideplug.denoise.node import Fixed, Slot
from guideplug.denoise.rows import per_row
from guideplug.denoise.value import Value, check_is_denoiser
from guideplug.denoise.weight_input import Level
from guideplug.errors import DenoiserError

__all__ = ["GradientGuided", "LogDensity"]

LogDensity: TypeAlias = Callable[[Tensor, Tensor, Condition], Tensor]


@final
class GradientGuided(Atom):
    """A denoiser plus sigma^2 times the gradient in x of a log-density.

    Instances with equal functions and equal denoisers are equal.

    Args:
        of: any denoiser.
        log_density: ``(x (B, *), sigma (B,), condition) -> (B,)``, independent per row, up to a constant: a
            function, or a module, whose parameters are then among the denoiser's. x is the noisy sample in data units,
            clean plus sigma times noise; with ``through`` the predicted clean one, with ``value`` the value. The
            condition is that of ``of``; None without a condition and for the null condition.
        through: whether it is a function of the predicted clean sample.
        value: the value of a network that it is a function of, as ``network.output("logits")``.
        name: its name in formulas and messages.

    Raises:
        ValueError: through and a value are both given, or the value is none.
    """

    takes_gradient = True

    def __init__(
        self,
        of: Denoiser,
        log_density: LogDensity,
        *,
        through: bool = False,
        value: Denoiser | Value | None = None,
        name: str = "log p",
    ) -> None:
        super().__init__()
        check_is_denoiser(of)
        if value is not None and (through or not isinstance(value, Value)):
            raise ValueError(
                f"value is a {type(value).__name__}{' beside through=True' if through else ''}: give either "
                'value=network.output("logits"), or through=True for a function of the predicted sample'
            )
        self.space = of.space
        self.of, self.log_density, self.value = of, log_density, value
        self.points = (of,) if value is None else (of, value)
        self.through, self.name = through, name
        self._slot: Slot | Fixed = Slot.GIVEN

    @property
    def traced(self) -> Sequence[Denoiser | Value]:
        return self.points[-1:] if self.through or self.value is not None else ()

    def combined(self, outputs: Sequence[Tensor], x: Tensor, sigma: Level, condition: Condition) -> Tensor:
        """``outputs[0]`` shifted along the gradient, without a graph unless the caller records one.

        Raises:
            DenoiserError: the function's values have another shape than (B,), or no gradient in x; or the prediction
                has no gradient.
        """
        if self.traced and not outputs[-1].requires_grad:
            raise DenoiserError(
                f"{self} cannot go through the {'prediction' if self.through else 'value'}, whose network answers "
                "without a graph: take no_grad, detach or NumPy out of it, or ask the function of the noisy sample"
            )
        recorded = torch.is_grad_enabled()
        levels = _levels(sigma, x)
        with torch.enable_grad():
            variable = outputs[-1] if self.traced else x
            values = self.log_density(variable, levels, self._condition(condition, x))
            self._check(values, variable)
            slope: Tensor | None = None
            if values.requires_grad:
                kept = recorded or bool(self.traced)
                (slope,) = torch.autograd.grad(
                    values.sum(), x, create_graph=recorded, retain_graph=kept, allow_unused=True
                )
        if slope is None:
            raise DenoiserError(
                f"the log-density {self.name} has no gradient: compute it of what it is given, by torch, without "
                "no_grad, detach or NumPy"
            )
        moved: Tensor = outputs[0] + per_row(levels**2, x) * slope
        return moved

    def _condition(self, given: Condition, x: Tensor) -> Condition:
        if isinstance(self._slot, Fixed):
            return expand(self._slot.on(x.device), len(x))
        return given if self._slot is Slot.GIVEN else None

    def _check(self, values: object, variable: Tensor) -> None:
        if isinstance(values, Tensor) and values.shape == (len(variable),) and values.is_floating_point():
            return
        answer = f"a {type(values).__name__}"
        if isinstance(values, Tensor):
            answer = f"{str(values.dtype).removeprefix('torch.')} of shape {tuple(values.shape)}"
        raise DenoiserError(
            f"the log-density {self.name} returned {answer} for {len(variable)} samples: return a tensor of "
            f"{len(variable)} numbers, one per sample"
        )

    def decode(self, x: Tensor) -> Tensor:
        return self.of.decode(x)

    def in_formula(self, *inner: str) -> str:
        of, *value = inner
        return f"[{of} + sigma^2 grad {self.name}({value[0] if value else self._variable})]"

    def replaced(self, inputs: Sequence[Denoiser | Value]) -> "GradientGuided":
        of, value = cast(Denoiser, inputs[0]), None if self.value is None else inputs[1]
        other = GradientGuided(of, self.log_density, through=self.through, value=value, name=self.name)
        other._slot = self._slot
        return other

    def asked_under(self, condition: Slot | Fixed) -> "GradientGuided":
        other = cast(GradientGuided, super().asked_under(condition))
        if self._slot is Slot.GIVEN:
            other._slot = condition
        return other

    def _renewed(self, known: dict[Denoiser, Denoiser]) -> "GradientGuided":
        if self not in known:
            inner = self.of._renewed(known)
            known[self] = self if inner is self.of else self.replaced([inner, *self.points[1:]])
        return cast(GradientGuided, known[self])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GradientGuided) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((GradientGuided, *self._key()))

    def _key(self) -> tuple[object, ...]:
        return self.of, self.log_density, self.through, self.value, self.name, self._slot

    def __str__(self) -> str:
        return f"sigma^2 grad {self.name}({self._variable})"

    @property
    def _variable(self) -> str:
        """What the log-density is a function of, in formulas."""
        return "x0" if self.through else "x" if self.value is None else str(self.value)


def _levels(sigma: Level, x: Tensor) -> Tensor:
    """The level of each row, (B,), in the type and on the device of x."""
    if isinstance(sigma, Tensor):
        return sigma.to(x.device, x.dtype).expand(len(x))
    return torch.full((len(x),), sigma, device=x.device, dtype=x.dtype)
