"""The prediction of a foreign network, and further outputs, in what it returns."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor

from guideplug.denoise import Output, PointOutput, ValueOutput
from guideplug.denoise.output import DENOISED
from guideplug.errors import DenoiserError

__all__ = ["Place", "output_at", "places_of", "prediction_of"]

Place: TypeAlias = int | str
"""The place of an output in a return value: an index of a tuple, a key of a mapping, or an attribute of an object."""


def places_of(outputs: Mapping[str, tuple[Place, Output]]) -> dict[str, tuple[Place, Output]]:
    """The further outputs of `guideplug.wrap`, checked.

    Raises:
        TypeError: an output is not a place and a kind, by name.
        ValueError: an output is called "denoised".
    """
    for name, pair in dict(outputs).items():
        place, kind = pair if isinstance(pair, tuple) and len(pair) == 2 else (None, None)
        if not (isinstance(name, str) and type(place) in (int, str) and isinstance(kind, PointOutput | ValueOutput)):
            raise TypeError(
                f'outputs has {name!r}: {pair!r}: give a place and a kind, as in "logvar": ("logvar", ValueOutput())'
            )
        if name == DENOISED:
            raise ValueError(f"outputs has {DENOISED!r}, the name of the network's own prediction: give another")
    return dict(outputs)


def prediction_of(returned: object, network: str) -> Tensor:
    """The prediction in the return value of a network.

    Raises:
        DenoiserError: it is no tensor.
    """
    first = returned[0] if isinstance(returned, tuple | list) and returned else getattr(returned, "sample", returned)
    if isinstance(first, Mapping):
        first = first.get("sample")
    if not isinstance(first, Tensor):
        raise DenoiserError(
            f"{network} returned a {type(returned).__name__}: a network returns a tensor, an object or mapping whose "
            "sample is one, or a tuple that begins with one; give a function that picks it"
        )
    return first


def output_at(returned: Any, place: Place, name: str, network: str) -> Tensor:
    """A further output in the return value of a network.

    Raises:
        DenoiserError: there is none at its place, or it is no tensor.
    """
    by_key = isinstance(place, int) or isinstance(returned, Mapping)
    try:
        value = returned[place] if by_key else getattr(returned, str(place))
    except (LookupError, AttributeError, TypeError):
        value = None
    if not isinstance(value, Tensor):
        raise DenoiserError(
            f"{network} returned a {type(returned).__name__} with no tensor at {place!r} for the output {name!r}: give "
            "wrap(..., outputs=...) the key, attribute or index of that output"
        )
    return value
