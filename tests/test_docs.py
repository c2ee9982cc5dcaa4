"""The documentation: its code runs, its printed help is current, nothing is left out, its links resolve.

``python tests/test_docs.py`` rewrites the printed help in docs/command-line.md, and the guider explained there.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
import warm
from click.testing import CliRunner

from guideplug.cli.main import main
from guideplug.errors import GuideplugError
from guideplug.registry import hookspecs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
PAGES += sorted(ROOT.glob("plugins/*/README.md"))
FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HELP = re.compile(r"(^```text\n\$ guideplug([^\n]*) --help\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)
INSTALL_AND_RUN = "pip install . ./plugins/* && guideplug run --guider autoguidance --selector early-jest"
INSTALL_AND_TEST = "pip install '.[test]' ./plugins/* && pytest -n 2 --dist loadfile"


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> Iterator[tuple[str, str, int]]:
    """The Python blocks of a page: attributes, code, and the line that the code begins on."""
    text = path.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        if found[1] == "python":
            yield found[2], found[3], text.count("\n", 0, found.start()) + 2


def title(attributes: str) -> str | None:
    """The name that a block is to be saved under."""
    found = re.search(r'title="([^"]+)"', attributes)
    return None if found is None else found[1]


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return warm.run(code, folder, {**os.environ, "GUIDEPLUG_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"})


def pages_with_python() -> list[Any]:
    """Pages with blocks of Python; one runs whole experiments."""
    slow = {"docs/from-python.md": pytest.mark.slow}
    pages = [(name_of(path), path) for path in PAGES if any(True for _ in blocks(path))]
    return [pytest.param(path, marks=slow.get(name, ()), id=name) for name, path in pages]


@pytest.mark.slow
@pytest.mark.parametrize("path", pages_with_python())
def test_python_blocks_run(path: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    program = ["import torch", "torch.set_num_threads(1)", "space = {'__name__': 'docs'}"]
    for attributes, code, line in blocks(path):
        saved = title(attributes)
        if saved is not None:
            (tmp_path / saved).write_text(code, encoding="utf-8")
        else:
            where = f"{name_of(path)} at line {line}"
            program.append(f"exec(compile({code!r}, {where!r}, 'exec'), space)")
    done = run("\n".join(program), tmp_path)
    assert done.returncode == 0, done.stderr
    record_property("documentation", {"executed": sum(1 for _ in blocks(path))})


NO_PLUGINS = "test_coarse.py", "mine.py", "data.py", "augment.py"
"""Files of the pages that are none; the commands of their pages run them."""


def saved_blocks() -> list[Any]:
    return [
        pytest.param(code, str(title(attributes)), id=f"{name_of(path)}:{title(attributes)}")
        for path in PAGES
        for attributes, code, _ in blocks(path)
        if title(attributes) not in (None, *NO_PLUGINS) and path.name != "ten-minutes.md"
    ]


@pytest.mark.parametrize(("code", "name"), saved_blocks())
def test_a_plugin_of_one_file_is_accepted(code: str, name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(code, encoding="utf-8")
    done = CliRunner().invoke(main, ["plugins", "list", "--plugin", str(file)])
    assert done.exit_code == 0, done.output
    assert "BROKEN" not in done.output


def test_the_readmes_plugin_can_be_explained(tmp_path: Path) -> None:
    (code,) = [code for attributes, code, _ in blocks(ROOT / "README.md") if title(attributes) == "coarse.py"]
    (tmp_path / "coarse.py").write_text(code, encoding="utf-8")
    done = CliRunner().invoke(main, ["explain", "coarse(low=0.1)", "--plugin", str(tmp_path / "coarse.py")])
    assert done.exit_code == 0, done.output
    assert "D(x) = " in done.output


@pytest.mark.slow
def test_the_plugins_tests_in_the_docs_pass(tmp_path: Path) -> None:
    page_of_plugins = DOCS / "writing-a-plugin.md"
    found = {title(attributes): code for attributes, code, _ in blocks(page_of_plugins) if title(attributes)}
    for name, code in found.items():
        (tmp_path / str(name)).write_text(code, encoding="utf-8")
    done = run("import test_coarse; test_coarse.test_laws(); test_coarse.test_formula()", tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_readme_is_short_and_has_the_two_commands() -> None:
    lines = page("README.md").splitlines()
    assert len(lines) < 150
    assert INSTALL_AND_RUN in lines
    assert INSTALL_AND_TEST in lines


def test_the_readmes_loops_are_short_and_need_no_task_store_or_command_line() -> None:
    found = [code for _, code, _ in blocks(ROOT / "README.md")]
    loops = [code for code in found if re.search(r"^from guideplug_(autoguidance|jest) import", code, re.MULTILINE)]
    assert len(loops) == 2
    for code in loops:
        assert len([line for line in code.splitlines() if line.strip()]) <= 8
        assert not re.search(r"guideplug\.(run|store|cli|task)|Task|Store", code)


def commands(command: click.Command = main, path: str = "") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level."""
    found = re.search(rf"^{re.escape(heading)}(?: \{{#[\w-]+\}})?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {heading!r}"
    return found[1]


@pytest.mark.parametrize(("path", "command"), [pytest.param(p, c, id=f"guideplug{p}") for p, c in commands() if p])
def test_every_option_is_documented(path: str, command: click.Command) -> None:
    text = page("docs/command-line.md")
    top = path.split()[0]
    prose = HELP.sub("", section(text, f"## guideplug {top}") + section(text, "## Options that several commands share"))
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for option in [name for name in parameter.opts if name.startswith("--")]:
                assert re.search(rf"`{re.escape(option)}[ `]", prose), f"guideplug{path} {option}: not in the text"


def printed_help(path: str) -> str:
    done = CliRunner().invoke(main, [*path.split(), "--help"], prog_name="guideplug", terminal_width=100)
    assert done.exit_code == 0, done.output
    return "\n".join(line.rstrip() for line in done.output.strip().splitlines()) + "\n"


def test_printed_help_is_complete_and_current() -> None:
    printed = {found[2]: found[3] for found in HELP.finditer(page("docs/command-line.md"))}
    assert printed.keys() == {path for path, _ in commands()}
    for path, text in printed.items():
        assert text == printed_help(path), f"guideplug{path} --help has changed: run python tests/test_docs.py"


EXPLAINED = re.compile(r"(?<=^\$ guideplug )(explain '[^\n]*)\n(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
"""What the page of commands shows of a guider that is explained."""


def explained(command: str) -> str:
    done = CliRunner().invoke(main, shlex.split(command), prog_name="guideplug")
    assert done.exit_code == 0, done.output
    return done.output


def test_the_guider_that_is_explained_there_is_current() -> None:
    ((command, printed),) = EXPLAINED.findall(page("docs/command-line.md"))
    assert printed == explained(command), "guideplug explain prints something else now: run python tests/test_docs.py"


def test_every_hook_is_documented() -> None:
    text = page("docs/hooks.md")
    known = {name for name in vars(hookspecs) if name.startswith("guideplug_")}
    rows = set(re.findall(r"^\| `(guideplug_\w+)`", text, re.MULTILINE))
    assert rows == known


def test_every_metric_is_documented() -> None:
    from guideplug import Registry, Task

    text = page("docs/metrics.md")
    registry = Registry.installed()
    tasks = []
    for cls in registry.classes(Task):  # type: ignore[type-abstract]
        must = [a.name for a in attrs.fields(cls) if a.init and a.default is attrs.NOTHING]  # type: ignore[arg-type]
        tasks.append(cls(**dict.fromkeys(must, "a file that is not read")))
    assert tasks or not list(entry_points(group="guideplug"))
    for task in tasks:
        under = section(text, f"## {task.name}")
        rows = re.findall(r"^\| \*\*(.+?)\*\* ([↑↓≈]) \| (\w+) \|", under, re.MULTILINE)
        arrows = {"higher": "↑", "lower": "↓", "truth": "≈"}
        assert rows == [(metric.name, arrows[metric.better], metric.aspect) for metric in task.metrics()]


@pytest.mark.parametrize("kind", ["guider", "selector"])
def test_every_guider_and_selector_of_ours_is_documented(kind: str) -> None:
    from guideplug import Registry
    from guideplug.config import Strategy

    text, registry = page(f"docs/{kind}s.md"), Registry.installed()
    for name in registry.names(kind):
        under = section(text, f"## {name}")
        found = registry.find(kind, name)
        if isinstance(found, str):
            assert f"`{found}`" in under
            continue
        assert issubclass(found, Strategy)
        for attribute in attrs.fields(found):  # type: ignore[arg-type]
            assert f"`{attribute.name}`" in under, f"{kind} {name}: option {attribute.name} is not described"


def test_every_sampler_of_ours_is_documented() -> None:
    from guideplug import Registry, SigmaSampler

    text, registry = page("docs/samplers.md"), Registry.installed()
    shared = {attribute.name for attribute in attrs.fields(SigmaSampler)}  # type: ignore[arg-type]
    assert not [name for name in shared if f"| `{name}` |" not in section(text, "## Levels and clips")]
    for name in registry.names("sampler"):
        found = registry.find("sampler", name)
        if isinstance(found, str):
            assert f"`{name}`" in text
            assert f"`{found}`" in text
            continue
        under = section(text, f"## {name}")
        for attribute in attrs.fields(found):  # type: ignore[arg-type]
            assert attribute.name in shared or f"`{attribute.name}`" in under, f"{name}: {attribute.name}"
        assert re.search(r"^Source", under, re.MULTILINE)


def test_every_guider_has_a_formula_a_cost_a_use_and_a_source() -> None:
    from guideplug import Registry

    text, registry = page("docs/guiders.md"), Registry.installed()
    for name in registry.names("guider"):
        under = section(text, f"## {name}")
        for part in (r"^```text\n", r"^\*\*For\*\*", r"^\*\*What it breaks\*\*", r"^Source", r"\b([Cc]ost|call)"):
            assert re.search(part, under, re.MULTILINE), f"guider {name}: its section has no {part}"


def test_every_error_class_has_a_known_exit_code() -> None:
    text = section(page("docs/command-line.md"), "## Exit codes")
    codes = set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE))

    def classes(cls: type[GuideplugError]) -> Iterator[type[GuideplugError]]:
        yield cls
        for inner in cls.__subclasses__():
            yield from classes(inner)

    assert {str(cls.exit_code) for cls in classes(GuideplugError)} <= codes


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    given = set(re.findall(r"^#+ .+ \{#([\w-]+)\}$", text, re.MULTILINE))
    return given | {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_internal_links_resolve(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{name_of(path)} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), f"{name_of(path)}: no heading for {target}"


def rewrite_help() -> None:
    path = DOCS / "command-line.md"
    text = EXPLAINED.sub(lambda found: f"{found[1]}\n{explained(found[1])}", path.read_text(encoding="utf-8"))
    path.write_text(HELP.sub(lambda found: found[1] + printed_help(found[2]) + found[4], text), encoding="utf-8")


if __name__ == "__main__":
    rewrite_help()
