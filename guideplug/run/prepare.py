"""From a request to a run that can begin: plugins loaded, configuration resolved and tried, each of them once.

Whoever starts a run comes this way: `run`, `sample`, `explain`, and the call from Python. `compare` and `study` resolve
and try many runs of one registry. What only reads a configuration, such as `cite`, stops at `resolved`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from guideplug.errors import UsageError
from guideplug.registry.registry import Registry
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
    """The run that a request means, resolved and tried on untrained networks; nothing is trained, nothing written.

    Args:
        request: what the user asked for.
        check: what else has to hold of the resolved run, or changes in it, before any network is built.

    Raises:
        GuideplugError: what is wrong with the configuration, a plugin, or how the parts work together.
    """
    run = check(resolved(request))
    return Prepared(run, preflight(run.config, run.registry))


def resolved(request: Request) -> Resolved:
    """The configuration that a request means, and its plugins, those of its file and those that it names itself.

    Raises:
        GuideplugError: what is wrong with the configuration or with a plugin.
    """
    written = [] if request.file is None else request.file.values.get("plugins", [])
    given = request.values.get("plugins", ())
    plugins = plugin_files(written, given)
    if given:
        request = attrs.evolve(request, values={**request.values, "plugins": plugins})
    registry = Registry.installed(plugins)
    return Resolved(registry, resolve(request, registry))


def plugin_files(written: object, given: Iterable[str] = ()) -> list[str]:
    """The paths of local plugins, each once: those that a configuration names, and those that are given beside it.

    Args:
        written: the value of the configuration's key; one that is no list of texts is refused where it is resolved.
        given: further paths.

    Raises:
        UsageError: what is given is no path.
    """
    texts = [path for path in written if isinstance(path, str)] if isinstance(written, list) else []
    try:
        return list(dict.fromkeys(str(Path(path).resolve()) for path in (*texts, *given)))
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file has, or links in a circle
        raise UsageError(f"plugins: {error}: give the path of a .py file") from None
