"""A comparison's configuration as TOML: read with every value checked, and written so that it resolves to itself."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import tomli_w

from guideplug.errors import ConfigError, nearest
from guideplug.experiments.comparison.grid import CURVE, Grid, Published
from guideplug.run.resolve import KEYS, observers_table, read_toml, to_table

__all__ = ["GridFile", "read_grid", "to_toml"]

NOT_KEYS = ("guider", "selector", "seed", "models")


def _whole(value: Any) -> bool:
    return type(value) is int


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_whole, value))


def _yes_or_no(value: Any) -> bool:
    return isinstance(value, bool)


def _rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


OWN_KEYS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "guiders": (_texts, 'texts in square brackets, as in ["none", "cfg"]'),
    "selectors": (_texts, 'texts in square brackets, as in ["none", "jest"]'),
    "seeds": (_numbers, "whole numbers in square brackets, as in [0, 1, 2]"),
    "snapshots": (_whole, "a whole number"),
    "curves": (_yes_or_no, "true or false"),
    "charge_reference": (_yes_or_no, "true or false"),
    "sets": (_texts, 'texts in square brackets, as in ["models.weak.seed=0"]'),
    "published": (_rows, "tables, [[published]]"),
}
"""The keys of a comparison beside those of a run; the valid values of each, and their description."""


@attrs.frozen
class GridFile:
    """A comparison's TOML that has been read.

    Args:
        values: all its values.
        own: the grid's own values, each checked.
    """

    values: Mapping[str, Any] = attrs.field(factory=dict)
    own: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def run(self) -> dict[str, Any]:
        """The values common to its runs."""
        return {key: value for key, value in self.values.items() if key not in OWN_KEYS}


def read_grid(path: Path, within: Path | None = None) -> GridFile:
    """The values of a comparison's TOML, with their types checked.

    Raises:
        ConfigError: it is missing, not TOML, has an unknown key, or a value of the wrong type.
    """
    raw = read_toml(path, (*KEYS, *OWN_KEYS, "moments"), within)
    if "moments" in raw:
        raise ConfigError(
            f"configuration {path} has the key 'moments', which is gone: {CURVE} of the snapshots are measured for the "
            "curves; leave it out in a file of your own, and give snapshots, such as snapshots = 100; a folder that "
            "has it cannot be resumed: give its configuration without the key to a new comparison"
        )
    for key in ("guider", "selector", "seed"):
        if key in raw:
            raise ConfigError(f"configuration {path} has the key {key!r}: a comparison has a list, {key}s = [...]")
    own = {key: raw[key] for key in OWN_KEYS if key in raw}
    for key, value in own.items():
        fits, kind = OWN_KEYS[key]
        if not fits(value):
            raise ConfigError(f"configuration {path}: {key} is {value!r}: give {kind}")
    own["published"] = tuple(_published(row, f"configuration {path}: published") for row in own.get("published", []))
    return GridFile(raw, own)


def _published(row: Mapping[str, Any], where: str) -> Published:
    """A row of ``[[published]]``, with every value checked."""
    fields = [field.name for field in attrs.fields(Published)]
    for key in row:
        if key not in fields:
            raise ConfigError(f"{where} has an unknown key {key!r}{nearest(key, fields)}")
    for key in fields:
        if key not in row:
            raise ConfigError(f"{where}: a row has no {key}: it needs {', '.join(fields)}")
        value = row[key]
        if key not in ("mean", "std"):
            if not isinstance(value, str):
                raise ConfigError(f"{where}: {key} is {value!r}: give a text")
        elif type(value) not in (int, float) or not math.isfinite(value):
            raise ConfigError(f"{where}: {key} is {value!r}: give a finite number")
    if row["std"] < 0:
        raise ConfigError(f"{where}: std is {row['std']!r}: a standard deviation is at least 0")
    return Published(**row)


def to_toml(grid: Grid) -> str:
    """The comparison as TOML that resolves to itself."""
    request, table = grid.request, to_table(grid.first)
    table = {key: value for key, value in table.items() if key not in NOT_KEYS}
    own: dict[str, Any] = {
        "guiders": list(request.guiders),
        "selectors": list(request.selectors),
        "seeds": list(request.seeds),
        **({} if request.snapshots is None else {"snapshots": request.snapshots}),
        "curves": request.curves,
        "charge_reference": request.charge_reference,
        "sets": [f"{key}={text}" for key, text in request.run.sets if key.startswith("models.")],
    }
    if request.run.models:
        table["models"] = dict(request.run.models)
    if request.published:
        table["published"] = [attrs.asdict(row) for row in request.published]
    return tomli_w.dumps({**own, **observers_table(grid.first), **table})
