"""The sources of a run as BibTeX: an entry per source, and which parts of the run it is the source of.

Entries are written as biblatex and BibTeX both read them. Text is escaped; ``url`` and ``eprint`` are verbatim in both.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from guideplug.config import Source, Strategy, command_line, walk
from guideplug.files.opening import is_there
from guideplug.registry.registry import Registry
from guideplug.run.measure import metrics_of
from guideplug.run.resolve import RunConfig

__all__ = ["bibtex"]

CITED_KINDS = ("task", "denoiser", "guider", "selector", "sampler")
"""Kinds of strategy that should have a reference; a missing one is reported."""
ESCAPED = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%_#$"},
        "{": r"\textbraceleft{}",
        "}": r"\textbraceright{}",
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)
"""Braces are counted by BibTeX even where they are escaped, so they become commands."""
ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/([\w.\-/]+?)(?:v\d+)?(?:\.pdf)?/?$", re.IGNORECASE)
SMALL_WORDS = {"a", "an", "the", "on"}


def bibtex(config: RunConfig, registry: Registry, version: str) -> str:
    """The references of a run: guideplug, and every source of its strategies, those inside others included.

    Args:
        config: the resolved run; the files it loads need not be there.
        registry: for the metrics that plugins add.
        version: the version of guideplug that the run was made with.
    """
    cited: dict[str, tuple[Source, dict[str, None]]] = {}
    without: dict[str, None] = {}
    for strategy in _used(config, registry):
        use = f"{strategy.kind} {strategy.name}"
        if strategy.source is not None:
            where = f" ({strategy.source.equation})" if strategy.source.equation else ""
            _, uses = cited.setdefault(_address(strategy.source.url), (strategy.source, {}))
            uses[use + where] = None
        elif strategy.kind in CITED_KINDS:
            without[use] = None
    about = {"title": "{guideplug}", "author": "{The guideplug authors}", "version": _escaped(version)}
    entries = [_entry("misc", "guideplug", {**about, "note": "the run itself"})]
    taken: set[str] = {"guideplug"}
    for source, uses in cited.values():
        entries.append(_entry("misc", _key(source, taken), _fields(source, list(uses))))
    comments = [*(f"% no reference: {use}" for use in without), *_origins(config)]
    remarks = "\n".join(comments).replace("@", " at ")  # which begins an entry wherever it stands
    return "\n\n".join([*entries, *([remarks] if remarks else [])])


def _used(config: RunConfig, registry: Registry) -> Iterator[Strategy]:
    """The strategies of a run: those that may have a reference first, each with what is inside it."""
    main = config.main
    chosen = [config.task, getattr(main, "denoiser", None), config.guider, getattr(main, "selector", None)]
    yield from walk([*chosen, config.sampler, config.recipes], Strategy)
    yield from metrics_of(config.task, registry)


def _origins(config: RunConfig) -> Iterator[str]:
    """Where other references are: the folders of runs that networks were loaded from."""
    for role, recipe in config.recipes.items():
        if recipe.loaded_from:
            folder = Path(recipe.loaded_from).parent.parent
            whence = command_line("cite", folder) if is_there(folder / "run.json") else recipe.loaded_from
            yield f"% what {role} was trained with is not in this run: {' '.join(whence.split())}"


def _fields(source: Source, uses: Sequence[str]) -> dict[str, str]:
    fields = {
        "author": _authors(source.authors),
        "title": f"{{{_escaped(source.title)}}}",
        "year": str(source.year),
        "url": re.sub(r"[\s{}]", "", source.url),
    }
    preprint = ARXIV.search(source.url)
    if preprint is not None:
        fields |= {"eprint": preprint[1], "archivePrefix": "arXiv"}
    return fields | {"note": _escaped("; ".join(uses))}


def _entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}"


def _authors(text: str) -> str:
    """The authors joined by "and"; text that is no list of names is kept whole."""
    if text[:1].islower():
        return f"{{{_escaped(text)}}}"
    names = [name.strip() for part in re.split(r",|;|\band\b", text) for name in re.split(r"\b(?=et al\b)", part)]
    return " and ".join("others" if name.startswith("et al") else _escaped(name) for name in names if name)


def _key(source: Source, taken: set[str]) -> str:
    """Last name of the first author, year, first word of the title: ``karras2024guiding``; a number where taken."""
    titled = [word for word in re.findall(r"[a-z0-9]+", _plain(source.title)) if word not in SMALL_WORDS]
    first = re.split(r",|;|\band\b|\bet al\b", source.authors)[0].split()
    name = "" if source.authors[:1].islower() or not first else re.sub(r"[^a-z]", "", _plain(first[-1]))
    key = plain_key = f"{name or 'anonymous'}{source.year}{titled[0] if titled else ''}"
    number = 1
    while key in taken:
        number += 1
        key = f"{plain_key}-{number}"
    taken.add(key)
    return key


def _plain(text: str) -> str:
    """Lower-case ASCII, accents left out."""
    return unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()


def _address(url: str) -> str:
    """A key by which equal addresses match: the arXiv number, else the address in normal form."""
    preprint = ARXIV.search(url)
    return f"arxiv {preprint[1].lower()}" if preprint is not None else re.sub(r"^https?://(www\.)?|/$", "", url)


def _escaped(text: str) -> str:
    return " ".join(text.split()).translate(ESCAPED)
