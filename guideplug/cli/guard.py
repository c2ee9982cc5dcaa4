"""Code in commands: what the line names may run, what a file names is asked for; what a run recorded is compared."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from guideplug.config import short
from guideplug.errors import RunError, UsageError
from guideplug.files.trust import guarded
from guideplug.guide import nested_guiders
from guideplug.registry.registry import Registry
from guideplug.run.code import code_of_plugin
from guideplug.run.resolve import RunConfig

__all__ = ["guard", "no_links", "same_code", "same_guiders"]


def guard(options: Mapping[str, Any], *texts: str | None) -> None:
    """Until the command ends, run only code that its line names or that the user trusts (`guideplug.files.trust`)."""
    typed = [text for text in texts if text is not None]
    for key, value in options.items():
        if key != "plugins":
            typed += _typed(value)
    files = options.get("plugins", ())
    click.get_current_context().with_resource(guarded(typed, files, trusting=options.get("trust", False)))


def _typed(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _typed(item)


def no_links(folder: Path) -> None:
    """Refuse to go on in a folder with links in it, which lead to where a run must not write.

    Raises:
        UsageError: the first link.
    """
    for file in folder.rglob("*"):
        if file.is_symlink():
            raise UsageError(f"--resume {folder}: {file} is a link, and nothing is written elsewhere: put a copy there")


def same_code(record: Mapping[str, Any], registry: Registry, named: Iterable[str], advice: str) -> None:
    """Refuse to go on with a run whose local plugins have changed since, as far as anything depends on them.

    Args:
        record: ``run.json``.
        registry: with the local plugins as they are now.
        named: plugin files that the command line names, as they are now.
        advice: what to do, after a semicolon.

    Raises:
        RunError: which file, and both hashes.
    """
    local = {plugin.name: plugin for plugin in registry.plugins if plugin.digest}
    fresh = {Path(file).stem for file in named}
    for row in _rows(record, "plugins"):
        plugin, before = local.get(str(row.get("name"))), row.get("decides")
        if plugin is None or plugin.name in fresh or row.get("sha256") == plugin.digest:
            continue
        now = code_of_plugin(plugin)
        if before != now:
            raise RunError(
                f"plugin {plugin.name} has changed since the run was made, in what networks or samples depend on (its "
                f"code was {before or 'not noted'}, and is {now} now); {advice}"
            )


def same_guiders(record: Mapping[str, Any], config: RunConfig, advice: str) -> None:
    """Refuse to go on with a run whose guiders name code or files that have changed since.

    Args:
        record: ``run.json``.
        config: what is to be run now.
        advice: what to do, after a semicolon.

    Raises:
        RunError: which guider.
    """
    recorded = {guider.get("guider"): guider.get("content") for guider in _rows(record, "guiders")}
    for guider in nested_guiders(config.guider):
        before = recorded.get(short(guider))
        if before is not None and before != guider.content():
            raise RunError(
                f"the code or the files of guider {short(guider)} have changed since the run was made; {advice}"
            )


def _rows(record: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = record.get(key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
