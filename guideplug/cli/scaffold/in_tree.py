"""Writing a plugin into a checkout of guideplug, in the form that CONTRIBUTING.md asks for.

    plugins/NAME/pyproject.toml   README.md   src/guideplug_NAME/__init__.py   py.typed   tests/test_NAME.py

and its places elsewhere: the root's extra ``all``, the changelog, and the pages of documentation of its kind.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from guideplug.cli.scaffold.scaffold import Kind, fill, plugin_texts, with_article, write_texts
from guideplug.errors import UsageError
from guideplug.files.opening import is_there, read_bytes

__all__ = ["find_checkout", "write_in_tree"]

PAGES: Mapping[Kind, tuple[str, ...]] = {
    "guider": ("guiders",),
    "selector": ("selectors",),
    "metric": ("metrics",),
    "task": ("tasks", "metrics"),
}
"""The pages in ``docs`` that describe plugins of a kind; the reference has all of them."""

MOST_BYTES = 8 * 1024**2
"""Bytes of a file of the checkout."""
_FIRST_PARTY = re.compile(r"^from guideplug[\w.]* import (?:\([^)]*\)|.*)\n", re.MULTILINE)
_OTHERS = re.compile(r"^(?:from|import) (?:attrs|torch|pytest)\b.*\n", re.MULTILINE)
_ALL = re.compile(r"^all = \[\n((?:    .*\n)*)\]", re.MULTILINE)
_ADDED = re.compile(r"^### Added\n\n(?:(?:- |  ).*\n)+", re.MULTILINE)


def find_checkout() -> Path:
    """The checkout of guideplug that the working folder is in.

    Raises:
        UsageError: it is in none.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        project = folder / "pyproject.toml"
        if (folder / "plugins").is_dir() and is_there(folder / "CONTRIBUTING.md") and is_there(project):
            try:
                if tomllib.loads(_read(project))["project"]["name"] == "guideplug":
                    return folder
            except (UsageError, ValueError, KeyError):
                continue
    raise UsageError(f"--in-tree: {Path.cwd()} is in no checkout of guideplug: go into one, or leave out --in-tree")


def write_in_tree(name: str, kind: Kind, checkout: Path, like: str | None = None) -> tuple[list[Path], list[Path]]:
    """Write a plugin's distribution into a checkout, and its entries into the files that list plugins.

    Args:
        name: what users will call the strategy.
        kind: what it is.
        checkout: of guideplug.
        like: one of `LIKE` of the kind.

    Returns:
        The new files, the module first; and the files that have a new entry.

    Raises:
        UsageError: the name cannot be used, the plugin is there already, or a file has no place for its entry.
    """
    folder, stem = checkout / "plugins" / name, name.replace("-", "_")
    texts = plugin_texts(name, kind, like)
    source, test = texts[f"src/guideplug_{stem}.py"], texts[f"tests/test_{stem}.py"]
    new = {
        f"src/guideplug_{stem}/__init__.py": _ordered(source),
        f"tests/test_{stem}.py": _ordered(test),
        f"src/guideplug_{stem}/py.typed": "",
        "pyproject.toml": fill("in_tree/pyproject.toml", name, kind),
        "README.md": fill("in_tree/readme.md", name, kind),
    }
    changed = _entries(name, kind, checkout, like)
    written = write_texts(new, folder)
    for path, text in changed.items():
        aside = path.with_name(f".{path.name}-{os.getpid()}")
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    return written, list(changed)


def _entries(name: str, kind: Kind, checkout: Path, like: str | None) -> dict[Path, str]:
    """The text of each file that lists plugins, with an entry for this one."""
    project, changelog = checkout / "pyproject.toml", checkout / "CHANGELOG.md"
    pages = {page: checkout / "docs" / f"{page}.md" for page in PAGES.get(kind, ())}
    variant = kind if like is None else f"{kind}_{like}"

    def extra(names: re.Match[str]) -> str:
        lines = sorted([*names[1].splitlines(keepends=True), f'    "guideplug-{name}>=0.1",\n'])
        return "".join(["all = [\n", *lines, "]"])

    def line(entries: re.Match[str]) -> str:
        return f"{entries[0]}- `{name}`, {with_article(kind)}: say in one line what is new.\n"

    return {
        project: _replaced(project, _ALL, extra),
        changelog: _replaced(changelog, _ADDED, line),
        **{path: f"{_read(path)}\n{fill(f'in_tree/{page}_{variant}.md', name, kind)}" for page, path in pages.items()},
    }


def _replaced(path: Path, pattern: re.Pattern[str], entry: Callable[[re.Match[str]], str]) -> str:
    text, count = pattern.subn(entry, _read(path), count=1)
    if not count:
        raise UsageError(f"--in-tree: {path} has no place for an entry, /{pattern.pattern}/: restore it")
    return text


def _read(path: Path) -> str:
    try:
        return read_bytes(path, MOST_BYTES).decode()
    except (OSError, ValueError) as error:
        raise UsageError(f"--in-tree: {path} cannot be read ({error}): restore it") from None


def _ordered(source: str) -> str:
    """Code as the checkout's ruff has it: guideplug is first-party there, and a default may be ``option(...)``."""
    source = source.replace("  # noqa: RUF009", "")
    end = max(match.end() for imports in (_FIRST_PARTY, _OTHERS) for match in imports.finditer(source))
    others = _FIRST_PARTY.sub("", source[:end]).rstrip()
    return f"{others}\n\n{''.join(_FIRST_PARTY.findall(source))}{source[end:]}"
