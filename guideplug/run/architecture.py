"""The architecture of a file of weights, among those of installed plugins."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from guideplug.config import Reader
from guideplug.errors import CheckpointError, PluginError, UnknownName
from guideplug.files.checkpoints.sheet import beside, values_in
from guideplug.recipes import Load
from guideplug.recipes.imported import described
from guideplug.run.carried import settled
from guideplug.task import Network, Task

__all__ = ["architecture_of_file", "architectures", "fitting_architecture"]


def architecture_of_file(path: str, reader: Reader, key: str | None = None) -> Network | None:
    """The architecture by the file's sheet, by the run that wrote it, or by the snapshot that it is; None without.

    Args:
        path: the file.
        reader: of expressions, with the installed plugins.
        key: which of the file's networks; None for the only one.

    Raises:
        CheckpointError: the file names a class that no installed plugin builds, or is damaged.
        UnknownName: the sheet names an architecture that no installed plugin has.
    """
    place = Path(path)
    try:
        sheet = described(place, key, architectures(reader))
        text = values_in(beside(place)).get("denoiser") if sheet is None else sheet.denoiser
    except OSError:  # an invalid file name
        return None
    if isinstance(text, str):
        try:
            network: Network = reader.expression(settled(place.parent, text), Network, str(beside(place)))
        except UnknownName as error:
            raise UnknownName(f"{beside(place)}: {error}") from None
        return network
    if sheet is not None and sheet.class_name is not None:
        raise CheckpointError(
            f"checkpoint {path} is of {sheet.class_name}, which no installed plugin builds: write it as a network of "
            "its own (docs/checkpoints.md), and give load(FILE, denoiser='python(\"./mine.py:build\")')"
        )
    return None


def fitting_architecture(path: str, key: str | None, candidates: Sequence[Network], task: Task) -> Network:
    """The first of several architectures that has the weights of a file; the first of all if none has.

    Args:
        path: the file.
        key: which of its networks; None for the only one.
        candidates: one architecture or more.
        task: what they are built for.
    """
    for network in candidates if len(candidates) > 1 else ():
        with contextlib.suppress(CheckpointError, ValueError):
            Load(path=path, task=task, denoiser=network, key=key).check()
            return network
    return candidates[0]


def architectures(reader: Reader) -> Iterator[type[Network]]:
    """The architectures of installed plugins."""
    for name in reader.catalog.names(Network.kind):
        with contextlib.suppress(PluginError):
            cls = reader.catalog.find(Network.kind, name)
            if isinstance(cls, type) and issubclass(cls, Network):
                yield cls
