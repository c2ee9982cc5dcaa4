"""``guideplug store``: the list of trained networks, their verification, and their removal."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from guideplug.errors import StoreError, UsageError, visible
from guideplug.store import Entry, Store

__all__ = ["list_store", "prune_store", "verify_store"]


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
        click.echo(visible(f"{data['identity'][:12]}  {_described(data)}"))
    for folder in store.partial():
        click.echo(f"{folder.name[:12]}  unfinished training")


def _described(data: Mapping[str, Any]) -> str:
    """An entry in words, without what its record does not have."""
    forms = {
        "recipe": "{}", "task": " of {}", "denoiser": " with {}", "seed": ", seed {}", "iterations": ", {} iterations",
        "seconds": ", {:.1f} s",
    }  # fmt: skip
    words = "".join(form.format(data[key]) for key, form in forms.items() if data[key] is not None)
    return ", ".join([words, f"{data['bytes'] / 1024:.0f} KiB", *([data["made"]] if data["made"] else [])])


def _entry_data(entry: Entry | tuple[Path, str]) -> dict[str, Any]:
    if not isinstance(entry, Entry):
        return {"identity": entry[0].name, "damage": entry[1]}
    recipe = entry.recipe.get("recipe")
    if not isinstance(recipe, dict):
        return {"identity": entry.identity, "damage": "its record names no recipe"}
    finished_at = entry.facts.get("made")
    return {
        "identity": entry.identity,
        "recipe": recipe.get("name"),
        "task": _data(recipe),
        "denoiser": _base(recipe),
        "seed": recipe.get("seed"),
        "iterations": entry.facts.get("iterations"),
        "seconds": entry.facts.get("seconds"),
        "bytes": entry.size,
        "plugins": list(entry.plugins),
        "made": None if finished_at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(finished_at)),
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
        finished_at = entry.facts.get("made", 0) if isinstance(entry, Entry) else 0
        if everything or any(identity.startswith(start) for start in identities):
            doomed[identity] = "chosen"
        elif damaged and (not whole or (isinstance(entry, Entry) and entry.damage())):
            doomed[identity] = "damaged"
        elif older is not None and time.time() - finished_at > older * 86400:
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
    for identity in () if dry_run else store.half_removed():  # by a killed process
        if not store.in_use(identity):
            store.tidy(identity)
    if not doomed and not left:
        click.echo("nothing to remove")
