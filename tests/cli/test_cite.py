"""`guideplug cite`: the references of a run, read back by a parser that knows nothing of how they were written."""

import re
import shutil
import string
from pathlib import Path
from typing import Any

import attrs
import pytest

from guideplug.config import Source
from guideplug.registry.registry import Registry
from guideplug.run.citation import bibtex
from guideplug.run.resolve import Request, RunConfig, resolve

NESTED = '''
from collections.abc import Mapping
from typing import final

from attrs import frozen

from guideplug import Denoiser, Guider, Recipe, Source, Task, hook, option

KARRAS = ("T. Karras, M. Aittala", 2024, "Guiding a Model with a Bad Version of Itself")


@final
@frozen
class Inner(Guider):
    """Guides by the weak network."""

    name = "inner"
    source = Source(*KARRAS, "https://arxiv.org/abs/2406.02507", "eq. 6")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return {"weak": task.recipe("weak", main)}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + (base - models["weak"])


@final
@frozen
class Plain(Guider):
    """Nobody's idea."""

    name = "plain"

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base


@final
@frozen
class Outer(Guider):
    """Guides by several."""

    name = "outer"
    source = Source("Ö. Çelik et al.", 2023, "The 100 % of {Guidance} & $x_0$: #1, a~b^c\\\\d", "https://x.org/a_b%20c/")
    parts: tuple[Guider, ...] = option(help="the guiders")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return {role: recipe for part in self.parts for role, recipe in part.needs(task, main).items()}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        for part in self.parts:
            base = part.guide(base, models)
        return base


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Inner, Plain, Outer]
'''


def parsed(text: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Entries by key: type and fields. Braces are counted as BibTeX does, escaped ones too."""
    assert "%" not in re.sub(r"\\%|(?m:^%.*$)|url = \{.*", "", text)
    text = re.sub(r"(?m)^%.*$", "", text)
    entries: dict[str, tuple[str, dict[str, str]]] = {}
    while (begin := text.find("@")) >= 0:
        end = closing(text, text.index("{", begin))
        head = re.fullmatch(r"@(\w+)\{([^,\s{}]+),(.*)", text[begin:end], re.DOTALL)
        assert head is not None, text[begin:end]
        fields, rest = {}, head[3]
        while (found := re.match(r"\s*(\w+)\s*=\s*(?=\{)", rest)) is not None:
            stop = closing(rest, found.end())
            fields[found[1]] = rest[found.end() + 1 : stop]
            rest = rest[stop + 1 :].removeprefix(",")
        assert not rest.strip(), rest
        assert head[2] not in entries
        entries[head[2]] = (head[1], fields)
        text = text[end + 1 :]
    assert not text.strip()
    return entries


def closing(text: str, opening: int) -> int:
    depth = 0
    for at in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise AssertionError(f"a brace is not closed: {text[opening : opening + 80]}")


@pytest.fixture
def run(cli: Any) -> Path:
    """A finished run whose guider holds others, from a local plugin."""
    Path("nested.py").write_text(NESTED)
    cli.toy(
        "--plugin", "nested.py", "--guider", "outer([inner, plain, inner])", "--selector", "early(jest, until=3it)",
        "--batch", "80", "--sampler", "heun(num_steps=2)", "--out", "run",
    )  # fmt: skip
    return Path("run")


def test_everything_that_the_run_used_is_cited_once(cli: Any, run: Path) -> None:
    done = cli("cite", run)
    assert done.stderr == ""
    entries = parsed(done.stdout)
    kinds = {key: kind for key, (kind, _) in entries.items()}
    assert kinds.pop("guideplug") == "misc"
    assert set(kinds.values()) == {"misc"}
    assert {"celik2023100", "karras2024guiding", "karras2022elucidating", "evans2024data"} <= kinds.keys()
    urls = [fields["url"] for _, fields in entries.values() if "url" in fields]
    assert len(set(urls)) == len(urls)
    assert entries["karras2024guiding"][1] == {
        "author": "T. Karras and M. Aittala",
        "title": "{Guiding a Model with a Bad Version of Itself}",
        "year": "2024",
        "url": "https://arxiv.org/abs/2406.02507",
        "eprint": "2406.02507",
        "archivePrefix": "arXiv",
        "note": "guider inner (eq. 6)",
    }
    assert "sampler heun" in entries["karras2022elucidating"][1]["note"]
    assert "noise log-normal" in entries["karras2022elucidating"][1]["note"]
    assert "selector jest" in entries["evans2024data"][1]["note"]


def test_special_characters_are_escaped(cli: Any, run: Path) -> None:
    _, fields = parsed(cli("cite", run).stdout)["celik2023100"]
    assert fields["author"] == "Ö. Çelik and others"
    assert fields["title"] == (
        r"{The 100 \% of \textbraceleft{}Guidance\textbraceright{} \& \$x\_0\$: \#1, "
        r"a\textasciitilde{}b\textasciicircum{}c\textbackslash{}d}"
    )
    assert fields["url"] == "https://x.org/a_b%20c/"
    assert "eprint" not in fields


def test_what_names_no_source_is_a_comment(cli: Any, run: Path) -> None:
    lines = [line for line in cli("cite", run).stdout.splitlines() if line.startswith("% ")]
    assert lines == [f"% no reference: {what}" for what in ("task toy", "denoiser toy-net", "guider plain")]


def test_only_configuration_and_record_are_read(cli: Any, run: Path) -> None:
    first = cli("cite", run).stdout
    for path in [*(run / "denoisers").iterdir(), run / "metrics.json", run / "samples.npz"]:
        path.unlink()
    shutil.rmtree(cli.store)
    before = cli.files()
    assert cli("cite", run).stdout == first
    assert cli.files() == before


def test_a_run_of_another_machine(cli: Any, run: Path) -> None:
    config = run / "config.toml"
    (run / "checksums.sha256").unlink()
    config.write_text(config.read_text().replace('device = "cpu"', 'device = "cuda:7"'))
    assert parsed(cli("cite", run).stdout)


def test_loaded_networks_name_the_run_they_come_from(cli: Any, run: Path) -> None:
    cli("sample", run, "--sampler", "toy-steps", "--out", "second")
    folder = run.resolve()
    for path in (folder / "denoisers").iterdir():
        path.unlink()
    lines = cli("cite", "second").stdout.splitlines()
    assert f"% what main was trained with is not in this run: guideplug cite {folder}" in lines
    assert f"% what weak was trained with is not in this run: guideplug cite {folder}" in lines
    assert "% no reference: sampler toy-steps" in lines
    assert not [line for line in lines if "selector" in line]


def test_other_folders_and_damaged_ones_are_refused_in_a_line(cli: Any, run: Path) -> None:
    assert "missing does not exist" in cli.error("cite", "missing")
    Path("other").mkdir()
    assert "not the folder of a run" in cli.error("cite", "other")
    shutil.copytree(run, "damaged")
    Path("damaged/config.toml").write_text("guider = ")
    assert "config.toml is damaged: it is not what was written" in cli.error("cite", "damaged", code=1)
    Path("damaged/checksums.sha256").unlink()
    assert "is not TOML" in cli.error("cite", "damaged")
    Path("damaged/config.toml").write_text('plugins = 3\nguider = "inner"')
    assert "plugins" in cli.error("cite", "damaged") or "inner" in cli.error("cite", "damaged")
    Path("damaged/run.json").write_text("[")
    assert "is damaged" in cli.error("cite", "damaged", code=1)
    Path("nested.py").unlink()
    cli("cite", run)  # it has a copy
    (run / "code" / "nested" / "nested.py").unlink()
    assert "nested.py: no such file" in cli.error("cite", run)


# The writer by itself


def configuration() -> tuple[RunConfig, Registry]:
    """A run of the toy task, guided."""
    registry = Registry.installed([str(Path(__file__).with_name("toy.py"))])
    return resolve(Request(values={"task": "toy", "guider": "autoguidance"}), registry), registry


@pytest.mark.parametrize(
    ("authors", "title", "url", "key", "author", "eprint"),
    [
        ("A. Núñez, B. van Dyk", "On Guidance", "https://arxiv.org/pdf/2401.00001v3.pdf", "nunez2020guidance",
         "A. Núñez and B. van Dyk", "2401.00001"),
        ("A. One and B. Two", "A Study", "http://arxiv.org/abs/math/0309136", "one2020study", "A. One and B. Two",
         "math/0309136"),
        ("the authors of x_y", "Online Data", "https://x.org", "anonymous2020online", r"{the authors of x\_y}", None),
        ("A. One", "!?", "https://x.org", "one2020", "A. One", None),
        ("", "Untitled {", "https://x.org", "anonymous2020untitled", "", None),
    ],
)  # fmt: skip
def test_authors_keys_and_addresses(
    authors: str, title: str, url: str, key: str, author: str, eprint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, registry = configuration()
    monkeypatch.setattr(type(config.guider), "source", Source(authors, 2020, title, url))
    entries = parsed(bibtex(config, registry, "1.0"))
    assert entries[key][1]["author"] == author
    assert entries[key][1].get("eprint") == eprint
    assert entries["guideplug"][1]["version"] == "1.0"


def test_keys_that_would_be_equal_are_numbered_and_equal_addresses_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    config, registry = configuration()
    one = Source("A. One", 2020, "Study", "https://arxiv.org/abs/2001.00001", "eq. 1")
    monkeypatch.setattr(type(config.guider), "source", one)
    monkeypatch.setattr(type(config.sampler), "source", attrs.evolve(one, url="https://arxiv.org/abs/2001.00002"))
    again = attrs.evolve(one, url="http://www.arxiv.org/pdf/2001.00001v2", equation="eq. 2")
    monkeypatch.setattr(type(config.task), "source", again)
    entries = parsed(bibtex(config, registry, "1.0"))
    assert {key for key in entries if key.startswith("one")} == {"one2020study", "one2020study-2"}
    shared = next(fields for _, fields in entries.values() if fields.get("eprint") == "2001.00001")
    assert shared["note"] == "task toy (eq. 2); guider autoguidance (eq. 1)"
    assert set("".join(entries)) <= set(string.ascii_lowercase + string.digits + "-")
