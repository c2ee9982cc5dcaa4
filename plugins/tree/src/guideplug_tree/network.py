"""The 2D tree's denoiser: a magnitude-preserving MLP read as an unnormalised density, whose gradient is the score.

Karras et al., "Guiding a Diffusion Model with a Bad Version of Itself" (2024, arXiv:2406.02507, appendix C; sign and
inputs as in their released code). With x* = x / sqrt(sigma^2 + sigma_data^2) and F the output of an MLP of h features,

    log p(x; sigma) = gain * mean(F(x*, y*, log(sigma)/4, 1)^2) / sigma - |x*|^2 / 2
    D(x; sigma)     = x + sigma^2 grad_x log p

The gain starts at 0, where D is the denoiser of a Gaussian of standard deviation sigma_data. Layers preserve magnitude
(Karras et al. 2024, arXiv:2312.02696): each row of n weights is divided by sqrt(n) (1e-4 + its root mean square), as in
the released code, which is unit norm within 1e-4, and SiLU is divided by .596.

grad_x is written out, so that sampling needs no autograd and training only one backward pass. With pre-activations a_l,
s_l = SiLU(a_l), a_{l+1} = W_{l+1} s_l and F = a_4,

    e_4 = F,   e_l = (W_{l+1}' e_{l+1}) SiLU'(a_l),   g = W_0' e_0 = grad |F|^2 / 2

and for the gradient v that training sends to g: <v, g> = <F, dF> with dF the change of F along v. So its derivative in
the weights is one more forward pass (the tangents da_l along v, with e_l their adjoints) and one more backward pass
(the adjoints u_l of a_l):

    u_4 = dF,  u_l = (W_{l+1}' u_{l+1}) SiLU'(a_l) + (W_{l+1}' e_{l+1}) SiLU''(a_l) da_l
    d<v, g> / dW_{l+1} = u_{l+1} s_l' + e_{l+1} (SiLU'(a_l) da_l)'

Cost: one network call is 2 products a layer, a training step 5.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["TreeMLP"]

_NUM_HIDDEN_LAYERS = 4
_SILU_GAIN = 0.596  # standard deviation of SiLU of a standard normal
_EPSILON = 1e-4  # added to the root mean square of a row
_BLOCK_ROWS = 2048


class TreeMLP(torch.nn.Module):
    """Denoiser of points x (B, 2) at noise levels sigma (B,), in data units; optionally conditional on a label.

    hidden is h (64 for the main model, 32 for a guide). With num_labels > 0 the call takes a one-hot label embedding
    (B, num_labels), scaled to unit magnitude here; zeros, or none at all, stand for the missing label.
    Raises ValueError for sizes that make no network.
    """

    def __init__(
        self,
        hidden: int = 64,
        num_labels: int = 0,
        sigma_data: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if hidden < 1 or num_labels < 0 or not sigma_data > 0:
            raise ValueError(
                f"expected hidden >= 1, num_labels >= 0 and sigma_data > 0, got {hidden}, {num_labels} and {sigma_data}"
            )
        self.hidden = hidden
        self.num_labels = num_labels
        self.sigma_data = sigma_data
        self.input_weight = torch.nn.Parameter(torch.randn(hidden, 4 + num_labels, generator=generator))
        self.hidden_weights = torch.nn.Parameter(
            torch.randn(_NUM_HIDDEN_LAYERS, hidden, hidden, generator=generator)
        )  # (4, out, in)
        self.gain = torch.nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Tensor, sigma: Tensor, label_embedding: Tensor | None = None, masks: Tensor | None = None
    ) -> Tensor:
        """Return the denoised points D(x; sigma), (B, 2).

        ``masks`` (4, B, h) multiply what the hidden layers pass on, F's input last, as dropout does: the score is then
        the gradient of the masked network's density.
        """
        shrink = (sigma.square() + self.sigma_data**2).rsqrt()[:, None]
        scaled = x * shrink
        inputs = self._inputs(scaled, sigma, label_embedding)
        input_weight = _normalized_rows(self.input_weight)
        hidden_weights = _normalized_rows(self.hidden_weights) / _SILU_GAIN
        device = x.device.type
        casts = torch.amp.is_autocast_available(device)
        if casts and torch.is_autocast_enabled(device):  # the backward pass is ours, and would not know of it
            low = torch.get_autocast_dtype(device)
            inputs, input_weight, hidden_weights = inputs.to(low), input_weight.to(low), hidden_weights.to(low)
        with torch.autocast(device, enabled=False) if casts else contextlib.nullcontext():
            if masks is not None:
                gradient = _energy_gradient(inputs, input_weight, hidden_weights, masks.to(inputs.dtype))
            elif torch.is_grad_enabled():
                gradient = _EnergyGradient.apply(inputs, input_weight, hidden_weights)
            else:
                gradient = _energy_gradient(inputs, input_weight, hidden_weights)
            energy_gradient: Tensor = gradient.to(x.dtype)
        pull = energy_gradient * (self.gain * (2 / self.hidden) / sigma[:, None])
        return torch.addcmul(x, pull - scaled, shrink * sigma.square()[:, None])

    @contextlib.contextmanager
    def dropping(self, share: float, draws: Any) -> Iterator[None]:
        """Inside, a call drops a share of the hidden layers' outputs, each row by its own ``draws``."""
        if not 0 < share < 1:
            raise ValueError(f"share is {share:g}: give a share between 0 and 1")

        def masked(module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
            kept = (draws.uniform((_NUM_HIDDEN_LAYERS, self.hidden), 1) >= share).to(args[0].dtype) / (1 - share)
            return args, {**kwargs, "masks": kept.transpose(0, 1)}

        hook = self.register_forward_pre_hook(masked, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    @torch.no_grad()
    def normalize_weights_(self) -> None:
        """Rescale every stored row to a root mean square of 1 after each optimiser step, within 1e-4."""
        for weight in (self.input_weight, self.hidden_weights):
            weight.copy_(_normalized_rows(weight)).mul_(math.sqrt(weight.shape[-1]))

    def _inputs(self, scaled: Tensor, sigma: Tensor, label_embedding: Tensor | None) -> Tensor:
        """Return what the first layer sees, (B, 4 + num_labels)."""
        inputs = scaled.new_zeros(len(scaled), 4 + self.num_labels)
        inputs[:, 2] = sigma.log() / 4
        inputs[:, 3] = 1
        inputs[:, :2] = scaled
        if label_embedding is not None:
            if label_embedding.shape != (len(scaled), self.num_labels):
                raise ValueError(
                    f"expected a label embedding ({len(scaled)}, {self.num_labels}), got {tuple(label_embedding.shape)}"
                )
            inputs[:, 4:] = label_embedding * math.sqrt(self.num_labels)
        return inputs


def _normalized_rows(weight: Tensor) -> Tensor:
    """Divide each row (last dimension, n) by sqrt(n) (1e-4 + its root mean square)."""
    norm = torch.linalg.vector_norm(weight, dim=-1, keepdim=True)
    normalized: Tensor = weight / (norm + _EPSILON * math.sqrt(weight.shape[-1]))
    return normalized


def _energy_gradient(
    inputs: Tensor, input_weight: Tensor, hidden_weights: Tensor, masks: Tensor | None = None
) -> Tensor:
    """Return g (B, 2), the gradient of |F|^2 / 2 in two inputs; inputs (B, I), weights (h, I) and (4, h, h).

    With masks m_l (4, B, h): s_l = m_l SiLU(a_l), and e_l = (W_{l+1}' e_{l+1}) m_l SiLU'(a_l).
    """
    blocks = []
    for start in range(0, max(len(inputs), 1), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        a = [inputs[rows] @ input_weight.T]
        for layer, weight in enumerate(hidden_weights):
            s = torch.nn.functional.silu(a[-1])
            a.append((s if masks is None else s * masks[layer, rows]) @ weight.T)
        e = a.pop()
        for layer in reversed(range(len(hidden_weights))):
            e = e @ hidden_weights[layer]
            e = torch.ops.aten.silu_backward(e if masks is None else e * masks[layer, rows], a.pop())
        blocks.append(e @ input_weight[:, :2])
    return torch.cat(blocks)


class _EnergyGradient(torch.autograd.Function):
    """`_energy_gradient` with its own derivative; letters are those of the module docstring."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, input_weight: Tensor, hidden_weights: Tensor) -> Tensor:
        a = inputs @ input_weight.T
        s, slope, gate = [], [], []  # SiLU(a_l), SiLU'(a_l), sigmoid(a_l)
        one = a.new_ones(())
        for weight in hidden_weights:
            gate.append(torch.sigmoid(a))
            s.append(a.mul_(gate[-1]))
            slope.append(torch.lerp(s[-1], one, gate[-1]))
            a = s[-1] @ weight.T
        e, back = [a], []  # e_4 ... e_0, and W_{l+1}' e_{l+1} for l = 3 ... 0
        for weight, layer_slope in zip(hidden_weights.flip(0), slope[::-1], strict=True):
            back.append(e[-1] @ weight)
            e.append(back[-1] * layer_slope)
        ctx.save_for_backward(inputs, input_weight, hidden_weights)
        ctx.layers = (s, slope, gate, e[::-1], back[::-1])
        return e[-1] @ input_weight[:, :2]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        inputs, input_weight, hidden_weights = ctx.saved_tensors
        s, slope, gate, e, back = ctx.layers
        da = [v @ input_weight[:, :2].T]
        ds = []
        for weight, layer_slope in zip(hidden_weights, slope, strict=True):
            ds.append(da[-1] * layer_slope)
            da.append(ds[-1] @ weight.T)
        u = da.pop()
        grads = torch.empty_like(hidden_weights)
        for layer in reversed(range(len(hidden_weights))):
            torch.mm(u.T, s[layer], out=grads[layer])
            grads[layer].addmm_(e[layer + 1].T, ds[layer])
            u = (u @ hidden_weights[layer]).mul_(slope[layer])
            curvature = torch.sub(slope[layer], s[layer], alpha=0.5).mul_(da[layer])
            curvature.addcmul_(curvature, gate[layer], value=-1)
            u.addcmul_(curvature, back[layer], value=2)
        input_grad = u.T @ inputs
        input_grad[:, :2].addmm_(e[0].T, v)
        return u @ input_weight if ctx.needs_input_grad[0] else None, input_grad, grads
