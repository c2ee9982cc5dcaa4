"""``guideplug demo``: the trial, its story, its picture, and the next command."""

import os
import sys
from functools import partial
from pathlib import Path

import attrs
import torch

from guideplug.cli.demo import demonstrate, draw_picture, story
from guideplug.cli.echo import echo
from guideplug.cli.json_output import print_json
from guideplug.cli.replaceable import check_replaceable
from guideplug.config import command_line
from guideplug.errors import UsageError
from guideplug.files.durable import make_folder
from guideplug.files.opening import is_there
from guideplug.registry.registry import Registry
from guideplug.run.failure import INCOMPLETE, Failures
from guideplug.run.picture import draw

__all__ = ["demo_command"]

PICTURE = "guideplug-demo.png"
NEXT = {"guider": "autoguidance", "selector": "early-jest"}
"""The strategies of the first command to try, where they are installed."""


def demo_command(out: str, as_json: bool) -> None:
    """``guideplug demo``."""
    picture = _writable(Path(out)) / PICTURE
    torch.set_num_threads(1)  # the same bits on every number of processors, and hardly slower
    demo, samples = demonstrate()
    failures = Failures()
    drawn = draw(picture, "figure", picture.name, partial(draw_picture, demo, samples), failures)
    command = _next_command()
    if as_json:
        shown = {"picture": str(picture) if drawn else None, "next": command}
        print_json({**attrs.asdict(demo), **shown})
    else:
        for line in story(demo):
            echo(line)
        if drawn:
            echo(f"picture: {picture}")
        echo(f"next: {command}")
    if failures.listed:
        echo(f"error: {'; '.join(map(str, failures.listed))}", err=True)
        sys.exit(INCOMPLETE)


def _writable(folder: Path) -> Path:
    """The folder, made if need be; refused before any work where nothing can be written there."""
    if is_there(folder) and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file: give a folder")
    try:
        make_folder(folder)
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be made ({error.strerror}): give another folder") from None
    if not os.access(folder, os.W_OK) or (folder / PICTURE).is_dir():
        raise UsageError(f"--out {folder}: {PICTURE} cannot be written there; give another folder")
    check_replaceable(folder / PICTURE, "--out", ".png")
    return folder


def _next_command() -> str:
    registry = Registry.installed()
    if all(name in registry.names(kind) for kind, name in NEXT.items()):
        return command_line("run", *(word for kind, name in NEXT.items() for word in (f"--{kind}", name)))
    return command_line("plugins", "list")
