"""Weakened self-attention, as perturbed views (`guideplug.denoise.perturb`).

    identity_attention   softmax(q k') -> I: the unmixed values            perturbed attention, arXiv:2403.17377
    blurred_queries      q -> G q, G a Gaussian over the grid of tokens    smoothed energy, arXiv:2408.00760

Joint attention mixes the tokens of an image and of a text in one sequence. There only the image's tokens are perturbed,
among themselves: a token of the image attends to itself and to the text, and the text attends to all.

Sources: D. Ahn et al. 2024 (perturbed attention), S. Hong 2024 (smoothed energy: blurring the queries blurs the
attention weights); joint attention as diffusers' pipeline of SD3 has it. In our own words and code.
"""

import abc
import functools
import math
from typing import Any, Literal, TypeAlias, final

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from guideplug.denoise.grid import blurred, sides
from guideplug.denoise.perturb import Arguments, Call, Layers, Touch
from guideplug.errors import DenoiserError

__all__ = ["blurred_queries", "identity_attention"]

Place: TypeAlias = Literal["first", "last"]
"""Where the tokens of the text stand in the sequence of joint attention."""


class _Attention(Touch, abc.ABC):
    """A change of self-attention inside a layer: of its queries, of what attends to what, or of its output."""

    core: bool
    text: Place | None

    def queries(self, queries: Tensor, image: slice, sample: tuple[int, ...]) -> Tensor:
        """The changed queries (..., T, C)."""
        return queries

    def apart(self, length: int, image: slice, device: torch.device) -> Tensor | None:
        """Which tokens do not attend to which, (T, T); None if all do to all."""
        return None

    def output(self, queries: Tensor, values: Tensor, image: slice) -> Tensor | None:
        """The output (..., T, C) where it needs no attention."""
        return None

    @abc.abstractmethod
    def multihead(self, call: Call) -> Arguments:
        """The changed arguments of torch's own module."""

    def before(self, call: Call) -> Arguments:
        if isinstance(call.layer, nn.MultiheadAttention):
            return self.multihead(call)
        if self.core:
            queries, *rest = call.args
            return (self.queries(queries, slice(0, queries.shape[-2]), call.sample), *rest), call.kwargs
        return call.args, call.kwargs

    def after(self, call: Call, output: Any) -> Any:
        if not self.core:
            return output
        queries, _, values, *_ = call.args
        changed = self.output(queries, values, slice(0, queries.shape[-2]))
        return output if changed is None else changed

    def inside(self, call: Call) -> "_Meeting | None":
        return None if self.core or isinstance(call.layer, nn.MultiheadAttention) else _Meeting(self, call)


class _Meeting(TorchFunctionMode):
    """A context in which torch's self-attention is changed; attention between two sequences is not."""

    def __init__(self, touch: _Attention, call: Call) -> None:
        super().__init__()
        self._touch, self._call = touch, call
        self._met = False

    def begin(self) -> None:
        """Begin to change attention."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def end(self) -> None:
        """End it."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def check(self) -> None:
        """Refuse a layer that computed no attention.

        Raises:
            DenoiserError: torch's function was not called.
        """
        if not self._met:
            raise DenoiserError(
                f"a {type(self._call.layer).__name__}, whose attention is to be perturbed, calls neither torch's "
                "scaled_dot_product_attention nor is it a MultiheadAttention: name its attention modules, or offer a "
                "view of your own"
            )

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        named = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False)) | kwargs
        queries, keys, values = named["query"], named["key"], named["value"]
        self._met = True
        length = queries.shape[-2]
        if length != keys.shape[-2]:
            return func(*args, **kwargs)
        image = self._image(length)
        output = self._touch.output(queries, values, image)
        if output is not None:
            return output
        named["query"] = self._touch.queries(queries, image, self._call.sample)
        apart = self._touch.apart(length, image, queries.device)
        if apart is not None:
            named["attn_mask"] = _masked(named.get("attn_mask"), apart, queries.dtype)
        return func(**named)

    def _image(self, length: int) -> slice:
        """The tokens of the image; all of them where there is no text in the sequence."""
        text, first = self._call.named().get("encoder_hidden_states"), self._call.first
        if text is None or first is None or first.ndim != 3 or first.shape[1] + text.shape[1] != length:
            return slice(0, length)
        if self._touch.text is None:
            raise DenoiserError(
                f"a {type(self._call.layer).__name__} mixes {first.shape[1]} tokens of an image with {text.shape[1]} "
                "of a text: say where the text's stand in the sequence, as in identity_attention(..., text='last') for "
                "SD3 or 'first' for FLUX"
            )
        return slice(text.shape[1], length) if self._touch.text == "first" else slice(0, first.shape[1])


def _masked(mask: Tensor | None, apart: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask of attention that also keeps tokens apart."""
    if mask is None:
        return ~apart
    if mask.dtype == torch.bool:
        return mask & ~apart
    return mask + torch.zeros(apart.shape, dtype=dtype, device=mask.device).masked_fill(apart, -math.inf)


# The identity


@final
@frozen
class _Identity(_Attention):
    number: int
    core: bool = False
    text: Place | None = None
    tokens: str = "image"

    def __attrs_post_init__(self) -> None:
        if self.tokens not in ("image", "all"):
            raise ValueError(f"tokens is {self.tokens!r}: give 'image', or 'all' for the text's too")

    def apart(self, length: int, image: slice, device: torch.device) -> Tensor | None:
        within = torch.zeros(length, dtype=torch.bool, device=device)
        within[image] = True
        return (within[:, None] & within).fill_diagonal_(False)

    def output(self, queries: Tensor, values: Tensor, image: slice) -> Tensor | None:
        if self.tokens == "image" and (image.start, image.stop) != (0, queries.shape[-2]):
            return None
        if queries.ndim > 3 and queries.shape[-3] != values.shape[-3]:  # grouped queries share values
            values = values.repeat_interleave(queries.shape[-3] // values.shape[-3], -3)
        return values

    def multihead(self, call: Call) -> Arguments:
        named = _named(call)
        queries = named["query"]
        length = queries.shape[1 if call.layer.batch_first and queries.ndim == 3 else 0]
        apart = torch.ones(length, length, dtype=torch.bool, device=queries.device).fill_diagonal_(False)
        return (), named | {"attn_mask": apart, "key_padding_mask": None, "is_causal": False}


def identity_attention(*names: str, core: bool = False, text: Place | None = None) -> Layers:
    """Self-attention with the identity as attention weights: perturbed attention.

    Args:
        names: submodules: torch's `nn.MultiheadAttention`, or any that call `scaled_dot_product_attention`, such as
            diffusers' ``attn1``. Attention between two sequences of different lengths is unchanged.
        core: whether the submodules compute attention alone: queries, keys and values (..., T, C) to mixed values.
        text: where the text's tokens stand in joint attention, "last" as in SD3 or "first" as in FLUX; how many there
            are is what the submodule is given as ``encoder_hidden_states``.

    The view's option ``tokens`` is "image", by default, or "all": then each of the text's attends to itself alone too.
    """
    return Layers(names, functools.partial(_Identity, core=core, text=text))


# Blurred queries


@final
@frozen
class _Blur(_Attention):
    number: int
    core: bool = False
    text: Place | None = None
    blur: float = math.inf

    def __attrs_post_init__(self) -> None:
        if not self.blur > 0:
            raise ValueError(f"blur is {self.blur:g}: it must be above 0, or inf for the mean of all queries")

    def queries(self, queries: Tensor, image: slice, sample: tuple[int, ...]) -> Tensor:
        smooth = self._blurred(queries[..., image, :], sample)
        return torch.cat([queries[..., : image.start, :], smooth, queries[..., image.stop :, :]], dim=-2)

    def _blurred(self, tokens: Tensor, sample: tuple[int, ...]) -> Tensor:
        return blurred(tokens, self.blur, None if self.blur == math.inf else sides(tokens.shape[-2], sample))

    def multihead(self, call: Call) -> Arguments:
        # Blur and projection commute, because the weights of a blur sum to one.
        named = _named(call)
        queries = named["query"]
        first = not call.layer.batch_first and queries.ndim == 3
        smooth = self._blurred(queries.transpose(0, 1) if first else queries, call.sample)
        return (), named | {"query": smooth.transpose(0, 1) if first else smooth}


def blurred_queries(*names: str, core: bool = False, text: Place | None = None) -> Layers:
    """Self-attention with queries blurred over the grid of the image's tokens; option ``blur``. Arguments as above.

    The grid has the proportions of the network's input (B, C, H, W); of videos (B, C, F, H, W) each frame has its own.
    """
    return Layers(names, functools.partial(_Blur, core=core, text=text))


_MULTIHEAD = (
    "query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal",
)  # fmt: skip


def _named(call: Call) -> dict[str, Any]:
    """The arguments of torch's own module by name."""
    return dict(zip(_MULTIHEAD, call.args, strict=False)) | call.kwargs
