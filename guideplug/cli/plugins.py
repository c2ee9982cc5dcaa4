"""``guideplug plugins list`` and ``plugins show``: installed plugins and their strategies."""

from collections.abc import Iterable
from typing import Any

from guideplug.cli.echo import echo
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json
from guideplug.cli.plugin_status import STATUSES, status
from guideplug.cli.strategy_data import strategy_data
from guideplug.config import command_line
from guideplug.errors import UnknownName, nearest
from guideplug.observe import Observer
from guideplug.recipe import Recipe
from guideplug.registry.registry import Offer, Plugin, Registry

__all__ = ["list_plugins", "show_plugin"]

STATUS_WIDTH = max(map(len, STATUSES))


def list_plugins(files: tuple[str, ...], as_json: bool) -> None:
    """``guideplug plugins list``."""
    guard({"plugins": files})
    registry = Registry.installed(files)
    conflicts = [
        [f"{offer.kind} {offer.name}", *(o.plugin for o in offers)]
        for offers in registry.conflicts()
        for offer in offers[:1]
    ]
    if as_json:
        plugins = [_plugin_data(plugin) for plugin in registry.plugins]
        print_json({"plugins": plugins, "conflicts": conflicts})
        return
    width = max(len(plugin.name) for plugin in registry.plugins)
    for plugin in registry.plugins:
        head = f"{plugin.name:<{width}}  {status(plugin):<{STATUS_WIDTH}}  {plugin}"
        if plugin.broken:
            echo(f"{head}: BROKEN: {plugin.broken}")
            continue
        if plugin.disabled:
            echo(f"{head}: disabled by GUIDEPLUG_DISABLE")
            continue
        offers: dict[str, list[str]] = {}
        for offer in plugin.offers:
            offers.setdefault(offer.kind, []).append(offer.name)
        offered = "; ".join(f"{kind} {', '.join(names)}" for kind, names in offers.items()) or "nothing"
        echo("; ".join([f"{head}: {offered}", *_missing(plugin.offers)]))
    for strategy, *names in conflicts:
        echo(f"conflict: {strategy} is offered by {' and '.join(names)}; uninstall one of them")


def _missing(offers: Iterable[Offer]) -> list[str]:
    """Lines on the libraries that observers and recipes need and that are not installed."""
    classes = [offer.what for offer in offers if isinstance(offer.what, type)]
    observers = [line for cls in classes if issubclass(cls, Observer) for line in cls.missing()]
    recipes = [line for cls in classes if issubclass(cls, Recipe) for line in cls.missing_libraries()]
    return list(dict.fromkeys([*observers, *recipes]))


def _plugin_data(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": status(plugin),
        "origin": plugin.origin,
        "project": plugin.project or None,
        "broken": plugin.broken or None,
        "disabled": plugin.disabled,
        "missing": _missing(plugin.offers),
        "offers": [{"kind": offer.kind, "name": offer.name} for offer in plugin.offers],
    }


def show_plugin(name: str, files: tuple[str, ...], as_json: bool) -> None:
    """``guideplug plugins show``: a plugin, or the strategies of that name."""
    guard({"plugins": files})
    registry = Registry.installed(files)
    canonical = name.replace("_", "-")
    plugins = [plugin for plugin in registry.plugins if plugin.name == canonical]
    offers = [offer for plugin in registry.plugins for offer in plugin.offers if offer.name == canonical]
    offers = offers or [offer for plugin in plugins for offer in plugin.offers]
    if not plugins and not offers:
        known = {plugin.name for plugin in registry.plugins} | {o.name for p in registry.plugins for o in p.offers}
        listing = command_line("plugins", "list", plugins=files)
        raise UnknownName(f"no plugin or strategy is called {name!r}{nearest(canonical, known)}; see {listing}")
    if as_json:
        described = {
            "plugins": [_plugin_data(plugin) for plugin in plugins],
            "strategies": [strategy_data(offer.what, offer.kind, offer.name) for offer in offers],
        }
        print_json(described)
        return
    for plugin in plugins:
        if plugin.broken:
            echo(f"{plugin.name} ({plugin}) is broken: {plugin.broken}")
        if plugin.disabled:
            echo(f"{plugin.name} ({plugin}) is disabled by GUIDEPLUG_DISABLE")
    for offer in offers:
        data = strategy_data(offer.what, offer.kind, offer.name)
        plugin = registry.plugin(offer.plugin)
        echo(f"{offer.kind} {offer.name}, from {plugin} (status: {status(plugin)})")
        if "preset" in data:
            inner = registry.names(offer.kind)
            named = [name for name in inner if name in data["preset"] and name != offer.name]
            see = "".join(f"; {command_line('plugins', 'show', name, plugins=files)}" for name in named)
            echo(f"  a preset for {data['preset']}, whose options it takes{see}")
            continue
        echo(f"  {data['summary']}")
        for line in _missing([offer]):
            echo(f"  {line}")
        if data["source"]:
            echo(f"  source: {data['source']}")
        for option in data["options"]:
            default = "required" if option["required"] else f"default {option['default']}"
            unit = f", {option['unit']}" if option["unit"] else ""
            echo(f"  {option['name']} ({option['type']}{unit}; {default}): {option['help']}")
        for metric in data.get("metrics", ()):
            echo(f"  metric {metric['name']} ({metric['aspect']}; better: {metric['better']}): {metric['formula']}")
