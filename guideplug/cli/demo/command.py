"""``guideplug demo``: the trial, its story, its picture, and the next command."""

import json
import os
from pathlib import Path

import attrs
import click
import torch

from guideplug.cli.demo import demonstrate, draw_picture, story
from guideplug.cli.replaceable import check_replaceable
from guideplug.config import command_line
from guideplug.errors import UsageError
from guideplug.files.atomic import drawn_whole
from guideplug.registry.registry import Registry

__all__ = ["demo_command"]

PICTURE = "guideplug-demo.png"
NEXT = {"guider": "autoguidance", "selector": "early-jest"}
"""The strategies of the first command to try, where they are installed."""


def demo_command(out: str, as_json: bool) -> None:
    """``guideplug demo``."""
    picture = _writable(Path(out)) / PICTURE
    torch.set_num_threads(1)  # the same bits on every number of processors, and hardly slower
    demo, samples = demonstrate()
    with drawn_whole(picture) as aside:
        draw_picture(demo, samples, aside)
    command = _next_command()
    if as_json:
        click.echo(json.dumps({**attrs.asdict(demo), "picture": str(picture), "next": command}, indent=1))
        return
    for line in story(demo):
        click.echo(line)
    click.echo(f"picture: {picture}")
    click.echo(f"next: {command}")


def _writable(folder: Path) -> Path:
    """The folder, made if need be; refused before any work where nothing can be written there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file: give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
