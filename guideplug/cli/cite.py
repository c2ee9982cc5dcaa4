"""``guideplug cite``: the references of a run folder, read from its configuration."""

from pathlib import Path

from guideplug.cli.echo import echo_lines
from guideplug.cli.guard import guard
from guideplug.run.citation import bibtex
from guideplug.run.folder import RunFolder
from guideplug.run.prepare import resolved
from guideplug.run.resolve import Request, read_file

__all__ = ["cite_command"]


def cite_command(path: str, *, trust: bool) -> None:
    """``guideplug cite``."""
    guard({"trust": trust})
    folder = RunFolder.existing(Path(path))
    # Nothing is run here, so neither the run's device nor the files of its networks need be there.
    run = resolved(Request(values={"device": "cpu"}, file=read_file(folder.config, folder.path), check_files=False))
    versions = folder.record().get("versions")
    version = versions.get("guideplug") if isinstance(versions, dict) else None
    echo_lines(bibtex(run.config, run.registry, str(version or "unknown")))
