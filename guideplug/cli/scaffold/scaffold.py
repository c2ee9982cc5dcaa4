"""Writing a plugin's distribution from the templates beside this file.

    NAME/pyproject.toml   README.md   .gitignore   src/guideplug_NAME.py   tests/test_NAME.py

A template is text in which ``$name`` is what users call the strategy, ``$module`` its module and ``$class_name`` its
class. Python templates end in ``.py.txt``, so that they are not taken for our own code.
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

from guideplug.config import command_line
from guideplug.config.tree import is_name, strategy_name
from guideplug.errors import UsageError
from guideplug.files.opening import is_there, list_folder

__all__ = [
    "KINDS",
    "LIKE",
    "Kind",
    "check_like",
    "check_name",
    "command",
    "fill",
    "plugin_texts",
    "strategies",
    "write_plugin",
    "write_texts",
]

Kind: TypeAlias = Literal["guider", "selector", "sampler", "task", "denoiser", "recipe", "metric"]
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
    "metric": (*_COMMON, "torch>=2.6"),
}
"""What the code of each kind imports."""
LIKE: Mapping[Kind, tuple[str, ...]] = {"task": ("points", "digits")}
"""Other tasks that one of a kind can be started like: the shape of their data."""

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


def check_like(kind: Kind, like: str | None) -> None:
    """Refuse a kind of which nothing is like another.

    Raises:
        UsageError: what is like that.
    """
    if like is not None and like not in LIKE.get(kind, ()):
        known = "; ".join(f"--kind {other} like {' or '.join(names)}" for other, names in LIKE.items())
        raise UsageError(f"--like {like}: a {kind} is started from one template alone; there is {known}")


def strategies(name: str, kind: Kind) -> list[tuple[str, str]]:
    """The (kind, name) of every strategy that the plugin will offer: a task brings a network of its own."""
    return [(kind, name), ("denoiser", f"{name}-mlp")] if kind == "task" else [(kind, name)]


def write_plugin(name: str, kind: Kind, folder: Path, like: str | None = None) -> list[Path]:
    """Write a plugin's distribution into a new or empty folder, all of it or nothing.

    Args:
        name: what users will call the strategy.
        kind: what it is.
        folder: made if it is not there, with the folders above it.
        like: one of `LIKE` of the kind, for the template of that; None for the kind's own.

    Returns:
        The files, those to read first at the beginning.

    Raises:
        UsageError: the name cannot be used, nothing of the kind is like that, or the folder is not empty or cannot be
            written.
    """
    return write_texts(plugin_texts(name, kind, like), folder)


def write_texts(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write files into a new or empty folder, all of them or none.

    Args:
        texts: by path in the folder.
        folder: made if it is not there, with the folders above it.

    Raises:
        UsageError: the folder is not empty, or it cannot be written.
    """
    if is_there(folder) and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give another place with --out FOLDER")
    try:
        if list_folder(folder):
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
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).write_text(text, encoding="utf-8")
        if not empty:
            aside.rename(folder)
            return
        for entry in list_folder(aside):
            entry.rename(folder / entry.name)
        aside.rmdir()
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(aside)
        raise


def plugin_texts(name: str, kind: Kind, like: str | None = None) -> dict[str, str]:
    """The text of each file of a plugin's distribution, by its path in the folder; the module first.

    Raises:
        UsageError: the name cannot be used, or nothing of the kind is like that.
    """
    name = check_name(name)
    check_like(kind, like)
    stem, variant = name.replace("-", "_"), kind if like is None else f"{kind}_{like}"
    templates = {
        f"src/guideplug_{stem}.py": f"{variant}.py",
        f"tests/test_{stem}.py": f"test_{variant}.py",
        "pyproject.toml": "pyproject.toml",
        "README.md": f"{variant}.md",
        ".gitignore": "gitignore",
    }
    code = "".join(_template(template) for path, template in templates.items() if path.endswith(".py"))
    class_name = "".join(word.capitalize() for word in name.split("-"))
    if class_name.isupper() or re.search(rf"\b{class_name}\b", code):  # the code has a use for Task or Path
        class_name += kind.capitalize()
    return {path: fill(template, name, kind, class_name) for path, template in templates.items()}


def fill(template: str, name: str, kind: Kind, class_name: str = "") -> str:
    """The text of a template for a plugin."""
    values = {
        "name": name,
        "kind": kind,
        "module": f"guideplug_{name.replace('-', '_')}",
        "class_name": class_name,
        "network_class": f"{class_name}Net",
        "dependencies": ", ".join(f'"{requirement}"' for requirement in DEPENDENCIES[kind]),
        "command": command(name, kind),
    }
    return Template(_template(template)).substitute(values)


def command(name: str, kind: Kind, file: str | None = None) -> str:
    """The run that a new plugin is tried with: as it is installed, or as the file that it is in."""
    chosen = {"task": ["--task", name, "--guider", "autoguidance"], "metric": [], "recipe": []}
    words = chosen.get(kind, [f"--{kind}", name])
    models = {"main": name} if kind == "recipe" else {}
    return command_line("run", *words, models=models, plugins=[] if file is None else [file])


def _template(name: str) -> str:
    return (files("guideplug.cli.scaffold") / "templates" / f"{name}.txt").read_text(encoding="utf-8")
