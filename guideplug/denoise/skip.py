"""Skipped layers, as a perturbed view (`guideplug.denoise.perturb`): a layer returns its inputs.

Source: Stability AI's reference code of Stable Diffusion 3.5 (skip-layer guidance, no paper), which skips whole blocks
of two streams, image and text. In our own words and code.
"""

from typing import Any, final

from attrs import frozen
from torch import Tensor

from guideplug.denoise.perturb import Call, Layers, Touch
from guideplug.errors import DenoiserError

__all__ = ["skip_layers"]

STREAMS = ("encoder_hidden_states", "hidden_states")
"""The arguments whose new values blocks of two streams return, in the order of diffusers."""


@final
@frozen
class _Skip(Touch):
    number: int

    def after(self, call: Call, output: Any) -> Any:
        if isinstance(output, Tensor):
            if call.first is not None and call.first.shape == output.shape:
                return call.first
        elif isinstance(output, tuple) and len(output) == len(STREAMS):
            named = call.named()
            streams = [named.get(name) for name in STREAMS]
            if all(map(_alike, streams, output)):
                return tuple(None if new is None else stream for stream, new in zip(streams, output, strict=True))
        raise DenoiserError(
            f"a {type(call.layer).__name__} cannot be skipped: it gives neither one tensor of the shape of its first "
            f"argument nor the new {' and '.join(STREAMS)}; offer another layer, or a view of your own"
        )


def _alike(stream: Any, output: Any) -> bool:
    """Whether an output is a stream's new value; a last block may return none for the text."""
    return output is None or (
        isinstance(stream, Tensor) and isinstance(output, Tensor) and stream.shape == output.shape
    )


def skip_layers(*names: str) -> Layers:
    """Skippable layers: submodules whose output has the shape of their first argument.

    Blocks of two streams, as of SD3 and FLUX in diffusers, are skippable too: they are called with ``hidden_states``
    and ``encoder_hidden_states``, and return both, the second first.
    """
    return Layers(names, _Skip)
