"""Writing a plugin's distribution from the templates beside this file.

    NAME/pyproject.toml   README.md   .gitignore   src/guideplug_NAME.py   tests/test_NAME.py

A template is text in which ``$name`` is what users call the strategy, ``$module`` its module and ``$class_name`` its
class. Python templates end in ``.py.txt``, so that nobody takes them for code of ours.
"""

import contextlib
import keyword
import os
import re
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal, TypeAlias, cast, get_args

from guideplug.config.tree import is_name, strategy_name
from guideplug.errors import UsageError

__all__ = ["KINDS", "Kind", "check_name", "strategies", "write_plugin"]

Kind: TypeAlias = Literal["guider", "selector", "sampler", "task", "denoiser", "recipe"]
KINDS = cast(tuple[Kind, ...], get_args(Kind))
"""What a plugin can be started as; a plugin may offer more."""

_COMMON = ("guideplug>=0.1", "attrs>=23.2")
DEPENDENCIES: Mapping[Kind, tuple[str, ...]] = {
    "guider": _COMMON,
    "selector": (*_COMMON, "torch>=2.6"),
    "sampler": (*_COMMON, "torch>=2.6"),
    "task": (*_COMMON, "matplotlib>=3.8", "torch>=2.6"),
    "denoiser": (*_COMMON, "torch>=2.6"),
    "recipe": (*_COMMON, "torch>=2.6"),
}
"""What the code of each kind imports."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PREFIX = "guideplug-"


def check_name(name: str) -> str:
    """The canonical spelling of a plugin's name: `my_guide` is `my-guide`.

    Raises:
        UsageError: no strategy or module can be called that.
    """
    canonical = strategy_name(name)
    if not _NAME.fullmatch(canonical) or not is_name(canonical):
        raise UsageError(
            f"NAME {name!r} cannot name a plugin: give a lower-case letter first, then letters and digits, words "
            "joined by '-', as in my-guide"
        )
    if keyword.iskeyword(canonical):
        raise UsageError(f"NAME {name!r} is a keyword of Python: give another name, as in my-{name}")
    if canonical.startswith(_PREFIX):
        rest = canonical.removeprefix(_PREFIX)
        raise UsageError(f"NAME {name!r} begins with {_PREFIX!r}, which is put before it: give {rest!r}")
    return canonical


def strategies(name: str, kind: Kind) -> list[tuple[str, str]]:
    """The (kind, name) of every strategy that the plugin will offer: a task brings a network of its own."""
    return [(kind, name), ("denoiser", f"{name}-mlp")] if kind == "task" else [(kind, name)]


def write_plugin(name: str, kind: Kind, folder: Path) -> list[Path]:
    """Write a plugin's distribution into a new or empty folder, all of it or nothing.

    Args:
        name: what users will call the strategy.
        kind: what it is.
        folder: made if it is not there, with the folders above it.

    Returns:
        The files, those to read first at the beginning.

    Raises:
        UsageError: the name cannot be used, the folder is not empty, or it cannot be written.
    """
    texts = _texts(check_name(name), kind)
    if folder.is_file():
        raise UsageError(f"{folder} is a file: give another place with --out FOLDER")
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder} is there already and not empty: give another place with --out FOLDER")
        _write(texts, folder)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror}): give another place with --out FOLDER"
        ) from None
    return [folder / path for path in texts]


def _write(texts: Mapping[str, str], folder: Path) -> None:
    """Write aside, then rename: the folder as a whole, or into an empty one what belongs there."""
    empty = folder.is_dir()
    if not empty:
        folder.parent.mkdir(parents=True, exist_ok=True)
    aside = (folder if empty else folder.parent) / f".guideplug-new-{os.getpid()}"
    aside.mkdir()
    try:
        for path, text in texts.items():
            (aside / path).parent.mkdir(exist_ok=True)
            (aside / path).write_text(text, encoding="utf-8")
        if not empty:
            aside.rename(folder)
            return
        for entry in sorted(aside.iterdir()):
            entry.rename(folder / entry.name)
        aside.rmdir()
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(aside)
        raise


def _texts(name: str, kind: Kind) -> dict[str, str]:
    """The text of each file, by its path in the folder."""
    stem = name.replace("-", "_")
    source, test = _template(f"{kind}.py"), _template(f"test_{kind}.py")
    class_name = "".join(word.capitalize() for word in name.split("-"))
    if class_name.isupper() or re.search(rf"\b{class_name}\b", source + test):  # the code has a use for Task or Path
        class_name += kind.capitalize()
    values = {
        "name": name,
        "kind": kind,
        "module": f"guideplug_{stem}",
        "class_name": class_name,
        "network_class": f"{class_name}Net",
        "dependencies": ", ".join(f'"{requirement}"' for requirement in DEPENDENCIES[kind]),
    }
    templates = {
        f"src/guideplug_{stem}.py": source,
        f"tests/test_{stem}.py": test,
        "pyproject.toml": _template("pyproject.toml"),
        "README.md": _template(f"{kind}.md"),
        ".gitignore": _template("gitignore"),
    }
    return {path: Template(text).substitute(values) for path, text in templates.items()}


def _template(name: str) -> str:
    return (files("guideplug.cli.scaffold") / "templates" / f"{name}.txt").read_text(encoding="utf-8")
