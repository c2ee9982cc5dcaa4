"""Named outputs of a network besides the denoised samples, declared by the network and checked when returned.

A network declares them as ``outputs`` (`guideplug.Leaf`): a point is denoised samples as well, for instance those of a
head in the middle of the network, and can be combined like any denoiser; a value is anything else per sample, such as a
log-variance or logits, and can only be read. ``network.output(name)`` refers to one in an expression.

Cost: none beyond the network's call. All outputs of a network in one evaluation come from one call.
"""

from collections.abc import Collection, Mapping
from typing import TypeAlias, final

from attrs import frozen
from torch import Tensor

from guideplug.errors import DenoiserError, nearest

__all__ = ["DENOISED", "Output", "PointOutput", "ValueOutput", "checked_outputs", "declared"]

DENOISED = "denoised"
"""The name of the output that every network has."""


@final
@frozen
class PointOutput:
    """Denoised samples besides the network's own, (B, *) like x."""


@final
@frozen
class ValueOutput:
    """A value per sample.

    Args:
        shape: the shape of one sample's value: ``()`` for a number, ``(10,)`` for logits of ten classes.
    """

    shape: tuple[int, ...] = ()


Output: TypeAlias = PointOutput | ValueOutput


def declared(outputs: Mapping[str, Output], name: str, network: str) -> Output:
    """The declaration of a named output.

    Args:
        outputs: the network's declarations.
        name: the output.
        network: the network in messages.

    Raises:
        DenoiserError: there is no such output; the message lists near names.
    """
    if name not in outputs:
        known = f"it has {', '.join(outputs)}" if outputs else "it has none besides the denoised samples"
        raise DenoiserError(f"{network} has no output {name!r}{nearest(name, outputs)}: {known}")
    return outputs[name]


def checked_outputs(
    returned: Mapping[str, Tensor], names: Collection[str], outputs: Mapping[str, Output], x: Tensor, network: str
) -> dict[str, Tensor]:
    """The requested outputs out of those returned by a network.

    Raises:
        DenoiserError: an output is missing, no tensor, or of another shape than declared.
    """
    for name in names:
        output = returned.get(name)
        declaration = outputs.get(name)
        rest = declaration.shape if isinstance(declaration, ValueOutput) else x.shape[1:]
        shape = (len(x), *rest)
        if not isinstance(output, Tensor) or output.shape != shape:
            form = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
            form = form if name in returned else "nothing"
            raise DenoiserError(
                f"{network} returned {form} for its output {name!r} and x of shape {tuple(x.shape)}: return a tensor "
                f"of shape {shape}"
            )
    return {name: returned[name] for name in names}
