"""`guideplug new --in-tree`: what CONTRIBUTING.md asks of a plugin in this repository, in a copy of it."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from guideplug.cli import main
from guideplug.cli.scaffold import KINDS, LIKE, Kind, find_checkout, write_in_tree
from guideplug.cli.scaffold.in_tree import PAGES
from guideplug.errors import UsageError

ROOT = Path(__file__).parents[3]
COPIED = ("pyproject.toml", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "docs", "tests/test_boundaries.py")
VARIANTS: list[tuple[Kind, str | None]] = [(kind, like) for kind in KINDS for like in (None, *LIKE.get(kind, ()))]


def copy(folder: Path) -> Path:
    """A checkout without code of its own: the core is a link, and there is no plugin."""
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    (folder / "plugins").mkdir()
    (folder / "guideplug").symlink_to(ROOT / "guideplug")
    return folder


def named(kind: Kind, like: str | None) -> str:
    return f"new-{like or kind}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout into which a plugin of every kind, and like every other one, has been written."""
    folder = copy(tmp_path_factory.mktemp("checkout"))
    for kind, like in VARIANTS:
        write_in_tree(named(kind, like), kind, folder, like)
    return folder


def test_it_is_as_ruff_would_have_it(checkout: Path) -> None:
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "plugins"],
            cwd=checkout, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.proof
def test_it_passes_strict_type_checks(checkout: Path, tmp_path: Path) -> None:
    sources = [str(path) for path in sorted(checkout.glob("plugins/*/src"))]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", str(tmp_path), *sources],
        cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "like"), VARIANTS)
def test_the_plugins_of_the_repository_are_alike(
    kind: Kind, like: str | None, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the very tests that those here have to pass."""
    spec = util.spec_from_file_location("boundaries_of_the_copy", checkout / "tests" / "test_boundaries.py")
    assert spec is not None
    assert spec.loader is not None
    boundaries: Any = util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    spec.loader.exec_module(boundaries)
    plugin = checkout / "plugins" / named(kind, like)
    assert plugin in boundaries.PLUGINS
    boundaries.test_plugins_use_public_names_and_no_other_plugin(plugin)
    boundaries.test_what_is_imported_is_declared(plugin)
    boundaries.test_a_plugin_says_its_status(plugin)
    boundaries.test_a_plugin_is_an_installable_distribution(plugin)
    assert (plugin / f"src/guideplug_{plugin.name.replace('-', '_')}/py.typed").read_bytes() == b""


def test_every_list_of_plugins_has_it_once(checkout: Path) -> None:
    before, extra = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]["optional-dependencies"]["all"]
        for folder in (ROOT, checkout)
    )
    assert extra == sorted([*before, *(f"guideplug-{named(*variant)}>=0.1" for variant in VARIANTS)])
    changelog = (checkout / "CHANGELOG.md").read_text()
    added = changelog[changelog.index("### Added") : changelog.index("### Changed")]
    for kind, like in VARIANTS:
        name = named(kind, like)
        assert len(re.findall(rf"^- `{name}`, an? {kind}: ", added, re.MULTILINE)) == 1
        for page in PAGES.get(kind, ()):
            text = (checkout / "docs" / f"{page}.md").read_text()
            assert len(re.findall(rf"^## {name}$", text, re.MULTILINE)) == 1
            assert text.startswith((ROOT / "docs" / f"{page}.md").read_text())


@pytest.mark.parametrize("like", [None, *LIKE["task"]])
def test_every_metric_of_a_task_is_in_the_documentation(like: str | None, checkout: Path) -> None:
    from guideplug.registry.registry import Registry

    name = named("task", like)
    registry = Registry()
    registry.load_file(checkout / f"plugins/{name}/src/guideplug_{name.replace('-', '_')}/__init__.py")
    task: Any = registry.find("task", name)
    section = (checkout / "docs" / "metrics.md").read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| \*\*(.+?)\*\* ([↑↓≈]) \| (\w+) \|", section, re.MULTILINE)
    arrows = {"higher": "↑", "lower": "↓", "truth": "≈"}
    assert rows == [(metric.name, arrows[metric.better], metric.aspect) for metric in task().metrics()]


def test_the_command_says_what_was_written_and_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy(tmp_path / "checkout")
    monkeypatch.chdir(folder / "docs")
    done = CliRunner().invoke(main, ["new", "my_score", "--kind", "metric", "--in-tree"])
    assert done.exit_code == 0, done.output
    place = folder / "plugins" / "my-score"
    lines = done.stdout.splitlines()
    assert lines[1] == f"  {place}/src/guideplug_my_score/__init__.py"
    assert [line for line in lines if line.endswith(("pyproject.toml", ".md"))] == [
        f"  {path}"
        for path in (
            place / "pyproject.toml", place / "README.md",
            folder / "pyproject.toml", folder / "CHANGELOG.md", folder / "docs" / "metrics.md",
        )
    ]  # fmt: skip
    assert f"  python {folder}/tests/test_reference.py" in lines
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = CliRunner().invoke(main, ["new", "my_score", "--kind", "metric", "--in-tree"])
    assert again.exit_code == 2
    assert f"{place} is there already and not empty" in again.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_outside_a_checkout_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "CONTRIBUTING.md").write_text("")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is in no checkout of guideplug: go into one, or leave out --in-tree"):
        find_checkout()


def test_a_file_without_a_place_for_the_entry_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    (folder / "CHANGELOG.md").write_text("# Changelog\n")
    with pytest.raises(UsageError, match=r"CHANGELOG.md has no place for an entry") as caught:
        write_in_tree("mine", "guider", folder)
    assert "\n" not in str(caught.value)
    assert not list((folder / "plugins").iterdir())
