"""What plugins and store print: what is installed, and what has been trained."""

import json
import re
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Union, cast, get_args, get_origin

import attrs
import click

from guideplug.cli.plugin_status import STATUSES, status
from guideplug.config import Strategy, format_value, write
from guideplug.errors import StoreError, UnknownName, UsageError, nearest, visible
from guideplug.registry.registry import Plugin, Registry
from guideplug.store import Entry, Store

__all__ = ["list_plugins", "list_store", "prune_store", "show_plugin", "verify_store"]

STATUS_WIDTH = max(map(len, STATUSES))


def list_plugins(files: tuple[str, ...], as_json: bool) -> None:
    """``guideplug plugins list``."""
    registry = Registry.installed(files)
    conflicts = [
        [f"{offer.kind} {offer.name}", *(o.plugin for o in offers)]
        for offers in registry.conflicts()
        for offer in offers[:1]
    ]
    if as_json:
        found = [_plugin_data(plugin) for plugin in registry.plugins]
        click.echo(json.dumps({"plugins": found, "conflicts": conflicts}, indent=1))
        return
    width = max(len(plugin.name) for plugin in registry.plugins)
    for plugin in registry.plugins:
        head = f"{plugin.name:<{width}}  {status(plugin):<{STATUS_WIDTH}}  {plugin}"
        if plugin.broken:
            click.echo(f"{head}: BROKEN: {plugin.broken}")
            continue
        if plugin.disabled:
            click.echo(f"{head}: disabled by GUIDEPLUG_DISABLE")
            continue
        offers: dict[str, list[str]] = {}
        for offer in plugin.offers:
            offers.setdefault(offer.kind, []).append(offer.name)
        offered = "; ".join(f"{kind} {', '.join(names)}" for kind, names in offers.items()) or "nothing"
        click.echo(f"{head}: {offered}")
    for what, *names in conflicts:
        click.echo(f"conflict: {what} is offered by {' and '.join(names)}; uninstall one of them")


def _plugin_data(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": status(plugin),
        "origin": plugin.origin,
        "broken": plugin.broken or None,
        "disabled": plugin.disabled,
        "offers": [{"kind": offer.kind, "name": offer.name} for offer in plugin.offers],
    }


def show_plugin(name: str, files: tuple[str, ...], as_json: bool) -> None:
    """``guideplug plugins show``: of a plugin, or of whatever is called so."""
    registry = Registry.installed(files)
    wanted = name.replace("_", "-")
    plugins = [plugin for plugin in registry.plugins if plugin.name == wanted]
    offers = [offer for plugin in registry.plugins for offer in plugin.offers if offer.name == wanted]
    offers = offers or [offer for plugin in plugins for offer in plugin.offers]
    if not plugins and not offers:
        known = {plugin.name for plugin in registry.plugins} | {o.name for p in registry.plugins for o in p.offers}
        raise UnknownName(
            f"no plugin or strategy is called {name!r}{nearest(wanted, known)}; see guideplug plugins list"
        )
    if as_json:
        found = {
            "plugins": [_plugin_data(plugin) for plugin in plugins],
            "strategies": [_strategy_data(offer.what, offer.kind, offer.name) for offer in offers],
        }
        click.echo(json.dumps(found, indent=1))
        return
    for plugin in plugins:
        if plugin.broken:
            click.echo(f"{plugin.name} ({plugin}) is broken: {plugin.broken}")
        if plugin.disabled:
            click.echo(f"{plugin.name} ({plugin}) is disabled by GUIDEPLUG_DISABLE")
    for offer in offers:
        data = _strategy_data(offer.what, offer.kind, offer.name)
        plugin = registry.plugin(offer.plugin)
        click.echo(f"{offer.kind} {offer.name}, from {plugin} (status: {status(plugin)})")
        if "preset" in data:
            inner = registry.names(offer.kind)
            named = [name for name in inner if name in data["preset"] and name != offer.name]
            see = "".join(f"; guideplug plugins show {name}" for name in named)
            click.echo(f"  a preset for {data['preset']}, whose options it takes{see}")
            continue
        click.echo(f"  {data['summary']}")
        if data["source"]:
            click.echo(f"  source: {data['source']}")
        for option in data["options"]:
            default = "required" if option["required"] else f"default {option['default']}"
            unit = f", {option['unit']}" if option["unit"] else ""
            click.echo(f"  {option['name']} ({option['type']}{unit}; {default}): {option['help']}")


def _strategy_data(what: type[Strategy] | str, kind: str, name: str) -> dict[str, Any]:
    if isinstance(what, str):
        return {"kind": kind, "name": name, "preset": what}
    cls = cast(Any, what)
    attrs.resolve_types(cls)
    options = []
    for attribute in attrs.fields(cls):
        required = attribute.default is attrs.NOTHING
        default = attribute.default.factory() if hasattr(attribute.default, "factory") else attribute.default
        options.append(
            {
                "name": attribute.name,
                "type": _type_name(attribute.type),
                "unit": attribute.metadata.get("unit", ""),
                "required": required,
                "default": None if required else format_value(write(default)),
                "help": attribute.metadata.get("help", ""),
            }
        )
    return {
        "kind": kind,
        "name": name,
        "summary": what.summary(),
        "source": None if what.source is None else str(what.source),
        "options": options,
    }


def _type_name(kind: Any) -> str:
    """A type as a person would say it: ``one of A, B``, ``several float, or none``, ``Recipe or Task``."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if get_origin(kind) in (Union, types.UnionType):
        some = " or ".join(_type_name(part) for part in parts if part is not NoneType)
        return f"{some}, or none" if NoneType in parts else some
    if get_origin(kind) is tuple:
        names = list(dict.fromkeys(_type_name(part) for part in parts if part is not Ellipsis))
        return f"{'several' if Ellipsis in parts else len(parts)} {' or '.join(names)}"
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping):
        return f"{_type_name(parts[1])} by name"
    return kind.__name__ if isinstance(kind, type) and not parts else re.sub(r"[\w.]+\.", "", str(kind))


def list_store(as_json: bool) -> None:
    """``guideplug store list``."""
    store = Store.default()
    entries = list(store.entries())
    if as_json:
        click.echo(json.dumps([_entry_data(entry) for entry in entries], indent=1))
        return
    if not entries and not store.partial():
        click.echo(f"the store {store.root} is empty: guideplug run fills it")
        return
    click.echo(f"store {store.root}")
    for entry in entries:
        data = _entry_data(entry)
        if "damage" in data:
            click.echo(f"{data['identity'][:12]}  damaged: {data['damage']}")
            continue
        seconds = f"{data['seconds']:.1f} s" if data["seconds"] is not None else "-"
        iterations = f"{data['iterations']} iterations" if data["iterations"] is not None else "-"
        said = (
            f"{data['identity'][:12]}  {data['recipe']} of {data['task'] or '-'} with {data['denoiser'] or '-'}, seed "
            f"{data['seed']}, {iterations}, {seconds}, {data['bytes'] / 1024:.0f} KiB, {data['made']}"
        )
        click.echo(visible(said))
    for folder in store.partial():
        click.echo(f"{folder.name[:12]}  unfinished training")


def _entry_data(entry: Entry | tuple[Path, str]) -> dict[str, Any]:
    if not isinstance(entry, Entry):
        return {"identity": entry[0].name, "damage": entry[1]}
    recipe = entry.recipe.get("recipe")
    if not isinstance(recipe, dict):
        return {"identity": entry.identity, "damage": "its record names no recipe"}
    made = entry.facts.get("made")
    return {
        "identity": entry.identity,
        "recipe": recipe.get("name"),
        "task": _data(recipe),
        "denoiser": _base(recipe),
        "seed": recipe.get("seed"),
        "iterations": entry.facts.get("iterations"),
        "seconds": entry.facts.get("seconds"),
        "bytes": entry.size,
        "made": None if made is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(made)),
    }


def _data(recipe: Mapping[str, Any]) -> str | None:
    """What a recipe's network was made with: its task, a recipe's data, or that of the recipe it goes on from."""
    on = recipe.get("on")
    if on is not None and recipe.get("name") != "augmented":
        return f"{_kind_of_data(on)} of {_data(on)}" if "content" in on else _named(on)  # tasks have no content
    return _named(recipe.get("task")) if "of" not in recipe or "task" in recipe else _data(recipe["of"])


def _kind_of_data(recipe: Mapping[str, Any]) -> str:
    return "samples" if recipe.get("name") == "synthetic" else f"{recipe.get('name')} data"


def _base(recipe: Mapping[str, Any]) -> str | None:
    """The architecture: that of the recipe it goes on from, where it names none, or the recipe itself."""
    if "denoiser" in recipe:
        return _named(recipe["denoiser"])
    if isinstance(recipe.get("of"), Mapping):
        return _base(recipe["of"])
    return _named({key: value for key, value in recipe.items() if key not in ("task", "seed")})


def _named(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    options = ", ".join(f"{key}={_option(item)}" for key, item in value.items() if key not in ("name", "content"))
    return f"{value.get('name')}({options})"


def _option(value: Any) -> str:
    """An option as users write it."""
    return str(value).lower() if isinstance(value, bool) or value is None else _named(value) or str(value)


def verify_store(as_json: bool) -> None:
    """``guideplug store verify``."""
    store = Store.default()
    damaged: dict[str, str] = {}
    count = 0
    for entry in store.entries():
        count += 1
        identity, damage = (entry.identity, entry.damage()) if isinstance(entry, Entry) else (entry[0].name, entry[1])
        if damage:
            damaged[identity] = damage
    if as_json:
        click.echo(json.dumps({"entries": count, "damaged": damaged}, indent=1))
    else:
        for identity, damage in damaged.items():
            click.echo(f"{identity[:12]}  damaged: {damage}")
        click.echo(f"{count - len(damaged)} of {count} entries are whole")
        if damaged:
            click.echo("remove the others with: guideplug store prune --damaged")
    if damaged:
        sys.exit(1)


def prune_store(
    identities: tuple[str, ...], *, damaged: bool, partial: bool, older: float | None, everything: bool, dry_run: bool
) -> None:
    """``guideplug store prune``."""
    if not (identities or damaged or partial or older is not None or everything):
        raise UsageError(
            "prune what? name entries by how their identity begins, or give --damaged, --partial, --older or --all"
        )
    if not all(identities):
        raise UsageError(
            "an identity to prune is empty: name entries by the beginning of their identity, or give --all"
        )
    store = Store.default()
    doomed: dict[str, str] = {}
    known = []
    for entry in store.entries():
        whole = isinstance(entry, Entry)
        identity = entry.identity if isinstance(entry, Entry) else entry[0].name
        known.append(identity)
        made = entry.facts.get("made", 0) if isinstance(entry, Entry) else 0
        if everything or any(identity.startswith(start) for start in identities):
            doomed[identity] = "chosen"
        elif damaged and (not whole or (isinstance(entry, Entry) and entry.damage())):
            doomed[identity] = "damaged"
        elif older is not None and time.time() - made > older * 86400:
            doomed[identity] = "old"
    for start in identities:
        if not any(identity.startswith(start) for identity in known):
            raise StoreError(f"no entry begins with {start!r}: see guideplug store list")
    left = [folder.name.removesuffix(".partial") for folder in store.partial()] if partial or everything else []
    for identity in dict.fromkeys([*doomed, *left]):
        why = doomed.get(identity, "unfinished")
        if store.in_use(identity):
            click.echo(f"kept {identity[:12]} ({why}): a run is working on it")
            continue
        click.echo(f"{'would remove' if dry_run else 'removed'} {identity[:12]} ({why})")
        if not dry_run:
            store.remove(identity)
    for identity in () if dry_run else store.half_removed():  # by somebody who was killed
        if not store.in_use(identity):
            store.tidy(identity)
    if not doomed and not left:
        click.echo("nothing to remove")
