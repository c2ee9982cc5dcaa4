"""``guideplug store``: the list of trained networks and prepared data, and the verification of networks."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideplug.cli.echo import echo
from guideplug.cli.json_output import print_json
from guideplug.config import command_line
from guideplug.store import SHOWN, DataCache, Entry, Store

__all__ = ["list_store", "verify_store"]


def list_store(as_json: bool) -> None:
    """``guideplug store list``."""
    store = Store.default()
    entries, prepared = list(store.entries()), _prepared()
    if as_json:
        print_json([*map(_entry_data, entries), *prepared])
        return
    if not entries and not prepared and not store.partial():
        echo(f"the store {store.root} is empty: {command_line('run')} fills it")
        return
    echo(f"store {store.root}")
    for entry in entries:
        data = _entry_data(entry)
        if "damage" in data:
            echo(f"{data['identity'][:SHOWN]}  damaged: {data['damage']}")
            continue
        echo(f"{data['identity'][:SHOWN]}  {_described(data)}")
    for folder in store.partial():
        echo(f"{folder.name[:SHOWN]}  unfinished training")
    for data in prepared:
        echo(f"{data['identity'][:SHOWN]}  {_described(data)}")


def _prepared() -> list[dict[str, Any]]:
    """A row per prepared data set, of the form of networks."""
    cache = DataCache.default()
    absent = dict.fromkeys(["task", "denoiser", "seed", "iterations", "seconds"])
    rows: list[dict[str, Any]] = []
    for key in cache.prepared():
        size, made = cache.size(key), _date(cache.made(key))
        rows.append({"identity": key, "recipe": "prepared data", **absent, "bytes": size, "plugins": [], "made": made})
    return rows


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


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
        "made": None if finished_at is None else _date(finished_at),
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
        print_json({"entries": count, "damaged": damaged})
    else:
        for identity, damage in damaged.items():
            echo(f"{identity[:SHOWN]}  damaged: {damage}")
        echo(f"{count - len(damaged)} of {count} entries are whole")
        if damaged:
            echo(f"remove the others with: {command_line('store', 'prune', *(name[:SHOWN] for name in damaged))}")
    if damaged:
        sys.exit(1)
