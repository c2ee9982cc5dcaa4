"""Cells, columns, tables and figures of pages, from data that nobody vouches for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guideplug.files.opening import list_folder, read_bytes
from guideplug.files.reading import MOST_TOML
from guideplug.report.html import image
from guideplug.report.reading import PNG, as_number
from guideplug.report.single import BETTER
from guideplug.run.summary import ARROWS
from guideplug.run.verdict import number

__all__ = ["Cell", "column", "figures_of", "tables_of", "text_cell", "text_of", "value_cell"]

MOST_OF_FIGURES = 3_500_000

Cell = dict[str, Any]


def column(name: str, *, numeric: bool = False, better: str = "", formula: str = "") -> dict[str, Any]:
    """The heading of a column, with the direction and the formula of a metric."""
    return {
        "name": name,
        "numeric": numeric,
        "arrow": ARROWS.get(better, ""),
        "better": BETTER.get(better, ""),
        "formula": formula,
    }


def text_cell(text: str, key: Any = None, href: str | None = None) -> Cell:
    """A cell, with the number that it is sorted by, and where it leads."""
    return {"text": text, "key": as_number(key), "href": href}


def value_cell(value: float | None) -> Cell:
    """The cell of a metric's value."""
    return text_cell(number(value), value)


def tables_of(value: Any) -> list[Mapping[str, Any]]:
    """The objects in a list of a JSON file; none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_of(path: Path) -> str:
    """The text of a small file; empty where it cannot be read."""
    try:
        return read_bytes(path, MOST_TOML, path.parent).decode(errors="replace")
    except (OSError, ValueError):
        return ""


def figures_of(
    files: Sequence[tuple[Path, str, str | None]], names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Figures of folders, up to `MOST_OF_FIGURES` bytes: the first of each, or the named ones."""
    figures: list[dict[str, Any]] = []
    left = MOST_OF_FIGURES
    for place, (folder, title, link) in enumerate(files):
        try:
            # Names come from data: only the file name within the folder is used.
            within = folder.parent if names is None else folder
            paths = list_folder(folder, "*.png", within) if names is None else [folder / Path(names[place]).name]
            data = read_bytes(paths[0], left, within) if paths else b""
        except (OSError, ValueError):
            data = b""
        if data.startswith(PNG):
            left -= len(data)
            figures.append({"title": title, "data": image(data), "href": link})
    return figures
