"""The sheet of a network: what its weights are of, in a JSON file beside them.

denoiser       the architecture as an expression; null where no installed plugin has it
class_name     the class in the source, such as Precond; null for files that name none
shape          of one sample; sigma_data, sigma_min, sigma_max: in data units; null where unknown
num_labels     the number of classes; null without
encoder        of latents: the autoencoder's name, scale and bias; null for samples that are shown as they are
parameters     numbers in all tensors
source         name, SHA-256, layout and key of the file that it was imported from
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast, final

import numpy as np
from attrs import asdict, field, frozen
from attrs.validators import deep_iterable, ge, gt, instance_of, optional

from guideplug.errors import CheckpointError
from guideplug.files.atomic import check_unchanged, whole_file
from guideplug.files.opening import is_there
from guideplug.files.reading import read_json_file

__all__ = ["Sheet", "beside", "latents", "read_sheet", "values_in", "write_sheet"]

VERSION: Final = 1
LEVEL: Final[Any] = optional(cast(Any, [instance_of((int, float)), gt(0)]))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@final
@frozen
class Sheet:
    """What a network is; see the top of this file."""

    denoiser: str | None = field(validator=optional(instance_of(str)))
    class_name: str | None = field(validator=optional(instance_of(str)))
    shape: tuple[int, ...] | None = field(
        converter=_tuple, validator=optional(cast(Any, deep_iterable([instance_of(int), ge(1)])))
    )
    sigma_data: float | None = field(validator=LEVEL)
    sigma_min: float | None = field(validator=LEVEL)
    sigma_max: float | None = field(validator=LEVEL)
    num_labels: int | None = field(validator=optional(cast(Any, [instance_of(int), ge(1)])))
    encoder: Mapping[str, Any] | None = field(validator=optional(instance_of(Mapping)))
    parameters: int = field(validator=instance_of(int))
    source: Mapping[str, Any] = field(validator=instance_of(Mapping))


def beside(path: Path) -> Path:
    """The place of the sheet of a file of weights."""
    return path.with_suffix(".json")


def latents(class_name: str, attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The encoder of latents: its autoencoder, and the scale and bias of each channel; None for one of plain images."""
    scale, bias = attributes.get("scale"), attributes.get("bias")
    if scale is None or bias is None:
        return None
    return {
        "class_name": class_name,
        "vae": attributes.get("vae_name"),
        "scale": _numbers(scale),
        "bias": _numbers(bias),
    }


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in np.ravel(values)]


def write_sheet(path: Path, sheet: Sheet) -> None:
    """Write a sheet atomically.

    Raises:
        WriteError: the system refuses.
    """
    with whole_file(path) as file:
        file.write((json.dumps({"sheet": VERSION, **asdict(sheet)}, indent=1) + "\n").encode())


def read_sheet(path: Path) -> Sheet | None:
    """The sheet in a file; None if there is no file, or if it is another JSON file, such as of a run's network.

    Raises:
        CheckpointError: the file is damaged, of a later version, or contradicts itself.
        DamagedFile: its checksum differs.
    """
    values = values_in(path)
    if "sheet" not in values:
        return None
    if values["sheet"] != VERSION:
        raise CheckpointError(
            f"sheet {path} is of version {values['sheet']!r}, and this guideplug reads {VERSION}: update it"
        )
    fields = {name: value for name, value in values.items() if name != "sheet"}
    try:
        return Sheet(**fields)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"sheet {path} is no sheet of a network ({_line(error)}): import the checkpoint again"
        ) from None


def values_in(path: Path) -> Mapping[str, Any]:
    """The values in the file beside weights; empty without one. A file that has not changed is read once.

    Raises:
        CheckpointError: the file cannot be read.
        DamagedFile: its checksum differs.
    """
    try:
        if not is_there(path):
            return {}
        state = path.stat()
        return _values(path, state.st_mtime_ns, state.st_size, state.st_ino)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"sheet {path} cannot be read ({error}): import the checkpoint again, or correct the sheet"
        ) from None


@functools.lru_cache(maxsize=32)
def _values(path: Path, *stamp: int) -> Mapping[str, Any]:
    check_unchanged(path)
    values = read_json_file(path, path.parent)
    return values if isinstance(values, dict) else {}


def _line(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    return text.splitlines()[0]
