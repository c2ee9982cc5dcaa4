"""``guideplug import``: a checkpoint as safetensors with a sheet, and what was found in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict

from guideplug.cli.echo import echo, echo_lines
from guideplug.cli.guard import guard
from guideplug.errors import UsageError
from guideplug.files.checkpoints.sheet import Sheet, beside
from guideplug.files.opening import is_there
from guideplug.recipes.imported import Imported, import_checkpoint
from guideplug.registry.registry import Registry
from guideplug.task import Network

__all__ = ["import_command"]


def import_command(file: str, out: str | None, options: Mapping[str, Any]) -> None:
    """``guideplug import``."""
    guard(options)
    path = Path(file)
    place = path.with_suffix(".safetensors") if out is None else Path(out)
    if place.suffix != ".safetensors":
        raise UsageError(f"OUT is {place}: its name must end in .safetensors")
    for there in (place, beside(place)):
        if is_there(there):
            raise UsageError(f"{there} is there already: give another OUT, or remove it")
    registry = Registry.installed(options["plugins"])
    imported = import_checkpoint(path, place, options["key"], registry.classes(Network))
    if options["as_json"]:
        echo_lines(json.dumps({"file": str(imported.path), **asdict(imported.sheet)}, indent=1))
        return
    for line in lines(path, imported):
        echo(line)


def lines(path: Path, imported: Imported) -> list[str]:
    """What was imported, in lines."""
    sheet, source = imported.sheet, imported.sheet.source
    key = f", network {source['key']}" if source["key"] else ""
    of = f", {sheet.class_name}" if sheet.class_name else ""
    others = f"; not imported: {', '.join(imported.keys)}" if imported.keys else ""
    return [
        f"{path.name}: {source['layout']}{key}{of}{others}",
        f"  {sheet.denoiser or unknown(sheet)}",
        *samples_lines(sheet),
        f"  {sheet.parameters:,} numbers",
        f"written: {imported.path}",
        f"         {beside(imported.path)}",
    ]


def unknown(sheet: Sheet) -> str:
    """The line of a network whose architecture is not known."""
    if sheet.class_name:
        return f"no installed plugin builds {sheet.class_name}: its weights are imported, its sheet has no architecture"
    return "its architecture is not in the file: give it as --denoiser where the weights are used"


def samples_lines(sheet: Sheet) -> list[str]:
    """The lines of what the network denoises."""
    if sheet.shape is None:
        return []
    classes = f", {sheet.num_labels} classes" if sheet.num_labels else ", no classes"
    latents = f"; latents of {sheet.encoder['vae']}" if sheet.encoder else ""
    return [
        f"  samples {sheet.shape}{classes}; sigma_data {sheet.sigma_data:g}, levels {sheet.sigma_min:g} to "
        f"{sheet.sigma_max:g}{latents}"
    ]
