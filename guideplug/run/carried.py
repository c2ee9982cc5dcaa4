"""A folder that travels: copies of the local code that its configuration names, and paths relative to it.

    code/NAME/    a local plugin, or the module of a function, with the files that it imports from beside it

A configuration in a folder names these copies, and other files in the folder, by paths that begin with ``./``; those
are relative to the configuration. Other files keep their absolute paths.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideplug.config.texts import texts_changed, texts_in
from guideplug.errors import ConfigError
from guideplug.files.atomic import refused, whole_file
from guideplug.files.code import Code, read_source
from guideplug.files.durable import make_folder
from guideplug.files.function_name import FUNCTION, without_folder
from guideplug.files.opened import code_of_file
from guideplug.files.opening import is_there, read_bytes
from guideplug.files.reading import file_digest, read_json_file
from guideplug.files.trust import module_file
from guideplug.recipes import PythonRef

__all__ = ["CODE", "anywhere", "carried", "check_there", "files_of", "settled"]

CODE = "code"
"""The subfolder of copies."""


def carried(folder: Path, value: Any, at: Path | None = None) -> Any:
    """A value of a configuration for a file in a folder; the local code that it names is copied into the folder.

    Args:
        folder: of a run, a comparison or a study.
        value: a table or text with absolute paths.
        at: the folder of the file; by default that folder.
    """
    folder = folder.absolute()

    def relative(path: Path) -> str:
        text = os.path.relpath(path, at or folder)
        return text if text.startswith("..") else f"./{text}"

    def change(text: str) -> str | None:
        if FUNCTION.fullmatch(text):
            if (code := _code_of(text)) is None:
                return None
            return f"{relative(_copied(code, folder) / _module(code))}:{text.rpartition(':')[2]}"
        path = _file(text)
        return relative(path) if path is not None and path.is_relative_to(folder) else None

    def plugin(file: str) -> str:
        code = code_of_file(Path(file).absolute(), "plugins")
        return relative(_copied(code, folder) / code.source.path.name)

    if not isinstance(value, Mapping):
        return texts_changed(value, change)
    return {
        key: [plugin(file) for file in item] if key == "plugins" else texts_changed(item, change)
        for key, item in value.items()
    }


def settled(folder: Path, value: Any) -> Any:
    """A value of a file in a folder, with paths that begin with ``./`` or ``../``, and those of plugins, made absolute.

    Where the folder has no such file, the path is relative to the current folder, and stays as it is.

    Raises:
        ConfigError: both folders have one, and they differ.
    """
    folder = folder.absolute()

    def there(text: str) -> Path | None:
        path, here = Path(os.path.normpath(folder / text)), Path.cwd() / text
        if Path(text).is_absolute() or not path.exists():
            return None
        if here.is_file() and path.is_file() and file_digest(here) != file_digest(path):
            raise ConfigError(f"{text} is both {path} and {here.absolute()}, which differ: write the path whole")
        return path

    def change(text: str) -> str | None:
        if not text.startswith(("./", "../")):
            return None
        place, colon, name = text.rpartition(":")
        if not FUNCTION.fullmatch(text):
            return None if (path := there(text)) is None else str(path)
        if place.endswith(".py"):
            return None if (path := there(place)) is None else f"{path}{colon}{name}"
        within, _, module = place.rpartition("/")
        return None if (path := there(within)) is None else f"{path}/{module}{colon}{name}"

    if not isinstance(value, Mapping):
        return texts_changed(value, change)
    table = texts_changed(value, change)
    if isinstance(table.get("plugins"), list):
        names = {file for file in value["plugins"] if isinstance(file, str)}
        places = {file: there(file) for file in names}
        table["plugins"] = [str(places[file] or file) if isinstance(file, str) else file for file in value["plugins"]]
    return table


def anywhere(value: Any) -> Any:
    """A value with functions named by their modules alone, wherever these are, to compare runs of moved folders."""
    return texts_changed(value, lambda text: without_folder(text) if FUNCTION.fullmatch(text) else None)


def files_of(value: Any) -> dict[str, str]:
    """The files outside of code that a value names by absolute paths, and their SHA-256."""
    paths = {path for text in texts_in(value) if (path := _file(text)) is not None and path.suffix != ".py"}
    return {str(path): file_digest(path) for path in sorted(paths)}


def check_there(config: Path, values: Any) -> None:
    """Refuse a configuration of a run's folder whose other files are not on this machine, naming all of them.

    Args:
        config: the file; files are those that ``run.json`` beside it records.
        values: what is used of it.

    Raises:
        ConfigError: files are missing.
    """
    try:
        files = read_json_file(config.with_name("run.json")).get("files", {})
    except (OSError, ValueError, AttributeError):  # no folder of a run
        return
    used = set(texts_in(values))
    missing = [f"{path} (SHA-256 {digest})" for path, digest in files.items() if path in used and _file(path) is None]
    if missing:
        raise ConfigError(
            f"configuration {config} names files that are not here: {', '.join(missing)}: put copies there, or name "
            "others on the command line"
        )


def _file(text: str) -> Path | None:
    """The file of an absolute path."""
    with contextlib.suppress(OSError, ValueError):
        if text.startswith("/") and (path := Path(text)).is_file():
            return path
    return None


def _code_of(text: str) -> Code | None:
    """The local code of a function's name; None for other texts, and where it is installed."""
    place, _, function = text.rpartition(":")
    if place.endswith(".py") or "/" in place:
        return PythonRef(text).code() if _file(place) or _file(f"{place.replace('.', '/')}.py") else None
    file = module_file(place)
    if file is None:
        return None
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        if function.encode() in read_source(file).content:
            return PythonRef(text).code()
    return None


def _module(code: Code) -> str:
    """What a function's name says of the module of some code, within the folder of its copy."""
    return code.source.path.name if code.main == "<file>" else code.main


def _copied(code: Code, folder: Path) -> Path:
    """The folder of the copy of some code, which is made unless it is there."""
    root = folder / CODE
    if code.source.path.is_relative_to(root):
        return root / code.source.path.relative_to(root).parts[0]
    files = {code.label(name): source.content for name, source in code.sources.items()}
    stem = code.source.path.parent.name if code.source.path.stem == "__init__" else code.source.path.stem
    name = re.sub(r"[^\w-]", "-", stem)
    for number in itertools.count(1):
        place = root / (name if number == 1 else f"{name}-{number}")
        if all(_same(place / label, content) for label, content in files.items()):
            break
    for label, content in files.items():
        path = place / label
        if not path.is_file():
            try:
                make_folder(path.parent)
            except OSError as error:
                raise refused(path, error) from None
            with whole_file(path) as file:
                file.write(content)
    return place


def _same(path: Path, content: bytes) -> bool:
    """Whether a file has some content, or is not there yet."""
    try:
        return not is_there(path) or read_bytes(path, len(content)) == content
    except ValueError:
        return False
