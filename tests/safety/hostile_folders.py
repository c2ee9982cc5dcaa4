"""Hostile folders of runs and studies, hostile entries of the store, and the command that reads each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile import beside, case, evil, put, saved


def run_folder(change: Callable[[Path], None], *command: str) -> Callable[[Path], list[str]]:
    """A run folder with something changed, and a command on it."""

    def make(folder: Path) -> list[str]:
        evil(folder)
        run = folder / "run"
        (run / "denoisers").mkdir(parents=True)
        (run / "figures").mkdir()
        (run / "run.json").write_text(json.dumps({"status": "interrupted", "plugins": []}))
        (run / "config.toml").write_text('task = "tree"\nguider = "none"\n')
        change(run)
        return [*command, "run"]

    return make


def text(name: str, content: str) -> Callable[[Path], None]:
    """A file of a run folder."""

    def write(run: Path) -> None:
        (run / name).write_text(content)

    return write


def link(name: str, target: str) -> Callable[[Path], None]:
    """A link in a run folder, to something outside."""

    def write(run: Path) -> None:
        path = run / name
        if path.is_dir():
            path.rmdir()
        path.symlink_to(target)

    return write


RESUME, SAMPLE, CITE = ("run", "--resume"), ("sample",), ("cite",)
put("run folder: plugins, resumed", "does not name", run_folder(text("config.toml", 'plugins = ["evil.py"]'), *RESUME))
put("run folder: plugins, cited", "does not name", run_folder(text("config.toml", 'plugins = ["evil.py"]'), *CITE))
put(
    "run folder: python()", "does not name",
    run_folder(text("config.toml", "guider = \"classifier('evil.py:build')\""), *RESUME),
)  # fmt: skip
put("run folder: record nested deep", "nested", run_folder(text("run.json", "[" * 100_000), *RESUME))
put("run folder: record of 10 MB", "larger than", run_folder(text("run.json", '"' + "x" * 10**7 + '"'), *SAMPLE))
put("run folder: record is a list", "no JSON object", run_folder(text("run.json", "[]"), *SAMPLE))
put("run folder: log is a link", "is a link", run_folder(link("events.jsonl", "../../outside/log"), *RESUME))
put("run folder: networks are a link", "is a link", run_folder(link("denoisers", "../../outside"), *RESUME))


@case("run folder: network is a pickle", "which would run code")
def _(folder: Path) -> list[str]:
    arguments = run_folder(lambda run: None, *SAMPLE)(folder)
    (folder / "run" / "denoisers" / "main.safetensors").write_bytes(saved(folder))
    return arguments


@case("run folder: sheet names code", "does not name")
def _(folder: Path) -> list[str]:
    arguments = run_folder(lambda run: None, *SAMPLE)(folder)
    beside(json.dumps({"denoiser": "python('evil.py:build')"}))(folder)
    for suffix in ("safetensors", "json"):
        (folder / f"w.{suffix}").rename(folder / "run" / "denoisers" / f"main.{suffix}")
    return arguments


def study(content: str) -> Callable[[Path], list[str]]:
    """The folder of a study with this configuration."""

    def make(folder: Path) -> list[str]:
        evil(folder)
        (folder / "study").mkdir()
        (folder / "study" / "study.toml").write_text(content)
        return ["study", "--resume", "study"]

    return make


@case("study: trials are a link", "is a link")
def _(folder: Path) -> list[str]:
    arguments = study('study = "curves"')(folder)
    (folder / "study" / "trials").symlink_to("../../outside")
    return arguments


@case("comparison: cells are a link", "is a link")
def _(folder: Path) -> list[str]:
    (folder / "compared").mkdir()
    (folder / "compared" / "compare.toml").write_text('guiders = ["none"]')
    (folder / "compared" / "cells").symlink_to("../../outside")
    return ["compare", "--resume", "compared"]


put("study: plugins", "does not name", study('study = "curves"\nplugins = ["evil.py"]'))
put("study: nested deep", "nested", study("study = " + "[" * 100_000))
put("study: plugins is a number", "plugins", study('study = "curves"\nplugins = 1'))
put("study: no study", "damaged", study("x = 1"))
put("study: an expression bomb", "levels", study(f'study = "{"a(" * 1500}"'))


# The store


def entry(content: str, *command: str) -> Callable[[Path], list[str]]:
    """A store with one entry of this record."""

    def make(folder: Path) -> list[str]:
        place = folder.parent / "store" / ("0" * 64)
        place.mkdir(parents=True)
        (place / "entry.json").write_text(content)
        return ["store", *command]

    return make


RECORD: dict[str, Any] = {"recipe": {"recipe": {"name": "train"}}, "facts": {}, "files": {}}
ENTRIES = {
    "nested deep": '{"recipe": ' + "[" * 100_000,
    "a list": "[1, 2]",
    "of texts": '{"recipe": "x", "facts": "y", "files": "z"}',
    "without a recipe": '{"recipe": {}, "facts": {}, "files": {}}',
    "of 10 MB": json.dumps({**RECORD, "facts": {"x": "x" * 10**7}}),
    "file elsewhere": json.dumps({**RECORD, "files": {"../../../etc/passwd": "0"}}),
    "file with a hash of another kind": json.dumps({**RECORD, "files": {"a": 1}}),
    "made at infinity": json.dumps(RECORD).replace('"facts": {}', '"facts": {"made": 1e400}'),
    "seconds in words": json.dumps({**RECORD, "facts": {"seconds": "<script>", "made": "\x1b[2J"}}),
    "huge number": '{"facts": ' + "9" * 10_000 + "}",
}
STORES = {f"store: {name}": entry(text, "verify") for name, text in ENTRIES.items()}
STORES |= {f"store list: {name}": entry(text, "list") for name, text in ENTRIES.items()}
"""What a store says of a bad entry; it goes on with the others."""
