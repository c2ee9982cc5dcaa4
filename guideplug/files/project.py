"""The local plugins of a project, named once in its ``guideplug.toml``:

    plugins = ["my_plugin.py"]        relative to the file

The file is searched in the current folder and those above it, up to one with a ``.git``, or the home folder. Every
command that takes ``--plugin`` reads it. The plugins are code that a file names: consent to them is asked for as ever.
"""

import contextlib
from pathlib import Path

from guideplug.errors import ConfigError, nearest
from guideplug.files.opening import is_there

__all__ = ["NAME", "ProjectPlugin", "project_plugins"]

NAME = "guideplug.toml"
KEYS = ("plugins",)


class ProjectPlugin(str):
    """The absolute path of a plugin that a project names, and no command line.

    Args:
        path: the path.
        project: that of the file that names it.
    """

    project: Path

    def __new__(cls, path: str, project: Path) -> "ProjectPlugin":
        plugin = super().__new__(cls, path)
        plugin.project = project
        return plugin


def project_plugins() -> tuple[ProjectPlugin, ...]:
    """The plugins of the project around the current folder; none where there is no project.

    Raises:
        ConfigError: its file cannot be read, has an unknown key or another value, or names a file that is not there.
    """
    path = _file()
    if path is None:
        return ()
    from guideplug.files.reading import parse_toml  # it imports numpy, and a shell that completes waits

    try:
        table = parse_toml(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be used: {error}") from None
    for key in table:
        if key not in KEYS:
            raise ConfigError(f"{path} has an unknown key {key!r}{nearest(key, KEYS)}; known: {', '.join(KEYS)}")
    files = table.get("plugins", [])
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ConfigError(f"{path}: plugins is {files!r}: give paths in square brackets, as in ['my_plugin.py']")
    plugins = tuple(ProjectPlugin(str(path.parent / file), path) for file in dict.fromkeys(files))
    for plugin in plugins:
        if not _is_file(plugin):
            raise ConfigError(f"{path} names the plugin {plugin}, which is not there: put it there, or take it out")
    return plugins


def _file() -> Path | None:
    home = None
    with contextlib.suppress(RuntimeError):  # a user without one
        home = Path.home()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if is_there(folder / NAME):
            return folder / NAME
        if folder == home or is_there(folder / ".git"):
            return None
    return None


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False
