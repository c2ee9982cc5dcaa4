"""``guideplug plugins check``: the laws that a plugin's strategies keep or break, the reason, and the fix."""

import sys
import time
from collections.abc import Sequence
from typing import Any

import attrs

from guideplug.cli.echo import echo
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json
from guideplug.cli.plugins_check_code import code_data, print_code
from guideplug.config import command_line
from guideplug.errors import PluginError, UnknownName, nearest
from guideplug.files.project import ProjectPlugin
from guideplug.registry.registry import Plugin, Registry
from guideplug.testing.imports import imported
from guideplug.testing.kit import Checked, Kit

__all__ = ["check_plugins"]


@attrs.frozen
class _Target:
    """A plugin to check, or one strategy of it."""

    plugin: Plugin
    only: str | None = None


def check_plugins(name: str | None, files: tuple[str, ...], as_json: bool) -> None:
    """``guideplug plugins check``: of one plugin, of one file, or of all; exit code 1 when a law does not hold."""
    guard({"plugins": files})
    registry = Registry.installed(files)
    named = [file for file in files if not isinstance(file, ProjectPlugin)]
    targets = _targets(registry, name, len(named))
    costs = imported({target.plugin.name: target.plugin.origin for target in targets if not target.plugin.broken})
    kit, every, failed = Kit(registry, files), list[dict[str, Any]](), 0
    detailed = name is not None or bool(named)
    for target in targets:
        plugin, begin, results = target.plugin, time.perf_counter(), list[Checked]()
        if not as_json:
            echo(f"{plugin.name} ({plugin})")
            for text in plugin.old:
                echo(f"  written for plugin API 1: {text}")
        for checked in kit.check(plugin, costs.get(plugin.name), target.only):
            results.append(checked)
            failed += sum(not finding.holds for finding in checked.findings)
            if not as_json:
                _print(checked, detailed)
        seconds = time.perf_counter() - begin
        row = {"name": plugin.name, "api_1": plugin.old, "seconds": round(seconds, 3)}
        row["checked"] = [_data(item) for item in results]
        every.append(row if plugin.broken else {**row, "code": code_data(plugin)})
        if not as_json:
            if detailed and target.only is None and not plugin.broken:
                print_code(plugin)
            echo(f"  {seconds:.1f} s")
    if as_json:
        print_json({"holds": failed == 0, "plugins": every})
    else:
        echo(_summary(every, failed))
    if failed:
        sys.exit(1)


def _targets(registry: Registry, name: str | None, files: int) -> list[_Target]:
    """The plugins or strategies of a name; without one the local files, or all installed plugins.

    Raises:
        UnknownName: nothing is called that.
        PluginError: it is disabled, or there is nothing to check.
    """
    plugins = registry.plugins[1:]  # the core is the first
    if name is None:
        targets = [_Target(plugin) for plugin in (plugins[-files:] if files else plugins) if not plugin.disabled]
        if not targets:
            raise PluginError("no plugin is here to check: install one, or name a file with --plugin FILE.py")
        return targets
    called = name.replace("_", "-").lower()
    targets = [
        _Target(plugin)
        for plugin in plugins
        if called in (plugin.name.replace("_", "-"), plugin.distribution.replace("_", "-").lower())
    ]
    targets = targets or [
        _Target(plugin, called) for plugin in plugins if any(offer.name == called for offer in plugin.offers)
    ]
    if not targets:
        known = {plugin.name for plugin in plugins} | {offer.name for plugin in plugins for offer in plugin.offers}
        raise UnknownName(
            f"no installed plugin, and nothing of one, is called {name!r}{nearest(called, known)}; see "
            f"{command_line('plugins', 'list')}, or name a file with --plugin FILE.py"
        )
    for target in targets:
        if target.plugin.disabled:
            raise PluginError(
                f"plugin {target.plugin.name!r} is disabled by GUIDEPLUG_DISABLE: take it out to check it"
            )
    return targets


def _marks() -> tuple[str, str]:
    """The marks of a kept and of a broken law; words where the terminal cannot encode signs."""
    try:
        "✓✗".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "ok  ", "FAIL"
    return "✓", "✗"


def _print(checked: Checked, detailed: bool) -> None:
    good, bad = _marks()
    wrong = [finding for finding in checked.findings if not finding.holds]
    tried = f", as {checked.tried}" if checked.tried and checked.tried != checked.what.partition(" ")[2] else ""
    if not detailed and not wrong:
        count = len(checked.findings)
        echo(f"  {good} {checked.what}: {_laws(count)}")
        return
    echo(f"  {checked.what}{tried}" if detailed else f"  {bad} {checked.what}{tried}")
    for finding in checked.findings if detailed else wrong:
        if finding.holds:
            echo(f"    {good} {finding.law}")
        else:
            echo(f"    {bad} {finding.law}{f': {finding.reason}' if finding.reason else ''}; {finding.fix}")


def _laws(count: int) -> str:
    return f"{count} law{'' if count == 1 else 's'}"


def _data(checked: Checked) -> dict[str, Any]:
    return {
        "what": checked.what,
        "tried": checked.tried,
        "seconds": round(checked.seconds, 3),
        "laws": [
            {"law": finding.law, "holds": finding.holds}
            | ({} if finding.holds else {"reason": finding.reason, "fix": finding.fix})
            for finding in checked.findings
        ],
    }


def _summary(every: Sequence[dict[str, Any]], failed: int) -> str:
    laws = sum(len(item["laws"]) for plugin in every for item in plugin["checked"])
    whose = f"{len(every)} plugin{'' if len(every) == 1 else 's'}"
    if failed:
        return f"{failed} of {_laws(laws)} of {whose} do{'es' if failed == 1 else ''} not hold"
    return f"all {_laws(laws)} of {whose} hold" if laws != 1 else f"the one law of {whose} holds"
