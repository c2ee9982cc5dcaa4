"""From a request to a run that can begin: load plugins, resolve the configuration, try it, each once.

Used by `run`, `sample`, `explain`, and the call from Python. `compare` and `study` resolve and try many runs with one
registry. Commands that only read a configuration, such as `cite`, use `resolved`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from guideplug.errors import UsageError
from guideplug.files.code import Code
from guideplug.files.project import ProjectPlugin
from guideplug.registry.registry import Registry
from guideplug.run.carried import check_there
from guideplug.run.preflight import Preflight, preflight
from guideplug.run.resolve import Request, RunConfig, resolve

__all__ = ["Prepared", "Resolved", "plugin_files", "prepare", "resolved"]


@attrs.frozen
class Resolved:
    """A run's configuration, and the plugins that it was resolved with."""

    registry: Registry
    config: RunConfig


@attrs.frozen
class Prepared:
    """A run that can begin.

    Args:
        run: its configuration and plugins.
        preflight: its guided denoiser on untrained networks.
    """

    run: Resolved
    preflight: Preflight


def _unchanged(run: Resolved) -> Resolved:
    return run


def prepare(request: Request, check: Callable[[Resolved], Resolved] = _unchanged) -> Prepared:
    """The run of a request, resolved and tried on untrained networks; nothing is trained or written.

    Args:
        request: the user's request.
        check: a further check of the resolved run, or a change to it, before any network is built.

    Raises:
        GuideplugError: what is wrong with the configuration, a plugin, or how the parts work together.
    """
    run = check(resolved(request))
    return Prepared(run, preflight(run.config, run.registry))


def resolved(request: Request) -> Resolved:
    """The configuration of a request, with the plugins of its file and its own.

    Raises:
        GuideplugError: what is wrong with the configuration or with a plugin.
    """
    written = [] if request.file is None else request.file.values.get("plugins", [])
    requested = request.values.get("plugins", ())
    plugins = plugin_files(written, requested)
    if requested:
        request = attrs.evolve(request, values={**request.values, "plugins": list(map(str, plugins))})
    if request.file is not None and request.check_files:
        set_here = {key.partition(".")[0] for key, _ in request.sets}
        values = {**request.file.values, **request.values, "models": {**request.file.models, **request.models}}
        check_there(request.file.path, {key: value for key, value in values.items() if key not in set_here})
    registry = Registry.installed(plugins)
    return Resolved(registry, resolve(request, registry))


def plugin_files(written: object, given: Iterable[str] = ()) -> list[str]:
    """The distinct paths of local plugins: those of a configuration, and further ones in place of those of their names.

    A plugin of the project gives way to one of its name.

    Args:
        written: the value of the configuration's key; one that is no list of texts is refused where it is resolved.
        given: further paths.

    Raises:
        UsageError: a text is no path.
    """
    texts = dict.fromkeys(path for path in written if isinstance(path, str)) if isinstance(written, list) else {}
    try:
        names = {Path(text).name for text in texts}
        chosen = [path for path in given if not (isinstance(path, ProjectPlugin) and Path(path).name in names)]
        further = {_place(path): path for path in chosen}
        kept = [path for path in map(_place, texts) if not _replaced(path, further)]
        for path in further:
            if not any(_equal(path, one) for one in kept):
                kept.append(path)
        projects = {path: text.project for path, text in further.items() if isinstance(text, ProjectPlugin)}
        return [
            ProjectPlugin(str(path), projects[path]) if path in projects else str(path) for path in dict.fromkeys(kept)
        ]
    except (OSError, ValueError, RuntimeError) as error:  # an impossible file name, or circular links
        raise UsageError(f"plugins: {error}: give the path of a .py file") from None


def _place(text: str) -> Path:
    """The path of a file from the root, under its own name: a link keeps it, whatever it leads to."""
    path = Path(text)
    return path.parent.resolve() / path.name


def _replaced(path: Path, further: Iterable[Path]) -> bool:
    """Whether a file of a configuration gives way to another version, named beside it."""
    return any(one.name == path.name and not _equal(one, path) for one in further)


def _equal(path: Path, other: Path) -> bool:
    """Whether two files are one plugin: of one name, with the same bytes, and the same beside them."""
    if path.name != other.name:
        return False
    try:
        return path == other or Code.of_file(path).digest == Code.of_file(other).digest
    except (OSError, ValueError):  # said where it is loaded
        return False
