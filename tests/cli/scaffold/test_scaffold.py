"""What `guideplug new` writes: files that work, whole or not at all; names that can be used."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest

from guideplug.cli.scaffold import KINDS, LIKE, Kind, check_like, check_name, strategies, write_plugin
from guideplug.config import Strategy
from guideplug.errors import UsageError
from guideplug.guide import Guider
from guideplug.objective import Objective
from guideplug.registry.registry import Registry
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.task import Metric, Network, Task
from guideplug.testing import (
    check_guider,
    check_metric,
    check_network,
    check_objective,
    check_sampler,
    check_selector,
    check_task,
)

VARIANTS: list[tuple[Kind, str | None]] = [(kind, like) for kind in KINDS for like in (None, *LIKE.get(kind, ()))]
NAMES = ["mine", "my-own-rather-long-name-of-a-method", "q", "task", "images", "b2"]


def made(name: str, kind: Kind, folder: Path, like: str | None = None) -> tuple[type[Strategy], Registry]:
    """The class that a written plugin offers, loaded as a local file."""
    files = write_plugin(name, kind, folder, like)
    registry = Registry()
    registry.load_file(files[0])
    found = registry.find(kind, name)
    assert isinstance(found, type)
    return found, registry


@pytest.mark.parametrize(("kind", "like"), VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_distribution_is_written_and_offers_what_it_says(
    kind: Kind, like: str | None, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "place"
    stem = name.replace("-", "_")
    files = write_plugin(name, kind, folder, like)
    assert files[0] == folder / f"src/guideplug_{stem}.py"
    assert {path.relative_to(folder).as_posix() for path in files} == {
        f"src/guideplug_{stem}.py", f"tests/test_{stem}.py", "pyproject.toml", "README.md", ".gitignore",
    }  # fmt: skip
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(files)
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "$" not in text
        assert text.endswith("\n")
        if path.suffix == ".py":
            compile(text, str(path), "exec")

    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"guideplug-{name}"
    assert project["entry-points"]["guideplug"] == {name: f"guideplug_{stem}"}
    tree = ast.parse(files[0].read_text())
    imported = {node.module.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}  # type: ignore[union-attr]
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    required = {requirement.partition(">")[0] for requirement in project["dependencies"]}
    assert imported - set(sys.stdlib_module_names) == required
    assert (folder / "README.md").read_text().startswith(f"# guideplug-{name}\n")

    registry = Registry()
    registry.load_file(files[0])
    offers = [(offer.kind, offer.name) for offer in registry.plugins[-1].offers]
    assert sorted(offers) == sorted(strategies(name, kind))


def test_a_guider_keeps_the_laws(tmp_path: Path) -> None:
    found, _ = made("mine", "guider", tmp_path / "mine")
    check_guider(cast(Any, found))
    assert issubclass(found, Guider)


def test_a_selector_keeps_the_laws(tmp_path: Path) -> None:
    found, _ = made("mine", "selector", tmp_path / "mine")
    assert issubclass(found, Selector)
    check_selector(found())


def test_a_sampler_keeps_the_laws(tmp_path: Path) -> None:
    found, _ = made("mine", "sampler", tmp_path / "mine")
    assert issubclass(found, Sampler)
    check_sampler(found())


@pytest.mark.parametrize("like", [None, *LIKE["task"]])
def test_a_task_and_its_network_keep_the_laws(like: str | None, tmp_path: Path) -> None:
    found, registry = made("mine", "task", tmp_path / "mine", like)
    assert issubclass(found, Task)
    check_task(found())
    for metric in found().metrics():
        check_metric(metric, found())
    network = registry.find("denoiser", "mine-mlp")
    assert isinstance(network, type)
    assert issubclass(network, Network)
    check_network(network(), found())


def test_an_objective_keeps_the_laws(tmp_path: Path) -> None:
    found, _ = made("mine", "objective", tmp_path / "mine")
    assert issubclass(found, Objective)
    check_objective(found())


def test_a_metric_keeps_the_laws_on_every_task_that_can_be_written(tmp_path: Path) -> None:
    found, _ = made("mine", "metric", tmp_path / "mine")
    assert issubclass(found, Metric)
    for like in (None, *LIKE["task"]):
        task, _ = made(f"like-{like or 'none'}", "task", tmp_path / f"like-{like}", like)
        assert issubclass(task, Task)
        check_metric(found(), task())


def test_a_network_keeps_the_laws_on_another_plugins_task(tmp_path: Path) -> None:
    found, _ = made("mine", "denoiser", tmp_path / "mine")
    task, _ = made("other", "task", tmp_path / "other")
    assert issubclass(found, Network)
    assert issubclass(task, Task)
    check_network(found(), task())


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A plugin of each kind, like each other one, under each name."""
    root = tmp_path_factory.mktemp("plugins")
    places = [(name, kind, root / f"{kind}-{like}" / name, like) for kind, like in VARIANTS for name in NAMES]
    for place in places:
        write_plugin(*place)
    return [folder for _, _, folder, _ in places]


@pytest.mark.parametrize("command", [["check", "--select", "E,F,I,W,B,UP,SIM,PT,D1,RUF"], ["format", "--check"]])
def test_what_is_written_is_as_ruff_would_have_it(everything: list[Path], command: list[str]) -> None:
    skip = ["--ignore", "D107,D102,D105"] if command[0] == "check" else []  # as methods are documented where abstract
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *skip, "--no-cache", *map(str, everything)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.proof
def test_what_is_written_passes_strict_type_checks(tmp_path: Path) -> None:
    folders = [(f"my-{like or kind}", kind, tmp_path / (like or kind), like) for kind, like in VARIANTS]
    paths = [file for variant in folders for file in write_plugin(*variant)]
    code = [str(path) for path in paths if path.suffix == ".py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *code],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "MYPYPATH": os.pathsep.join(str(folder / "src") for _, _, folder, _ in folders)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# Names


@pytest.mark.parametrize("name", ["mine", "my-guide", "x2", "a", "match", "guideplug"])
def test_names_that_can_be_used(name: str) -> None:
    assert check_name(name) == name
    assert check_name(name.replace("-", "_")) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "2d", "my guide", "my.guide", "My-Guide", "MINE", "a/b", "..", "../x", "a\\b", "-x", "x-", "a--b", "_x",
     "größe", "x\n", "true", "none", "nan", "inf", "$x", "x;rm", "ﬁ"],
)  # fmt: skip
def test_names_that_cannot_be_called_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a plugin") as caught:
        write_plugin(name, "guider", tmp_path / "place")
    assert repr(name) in str(caught.value)
    assert "my-guide" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["class", "lambda", "is"])
def test_keywords_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"NAME '{name}' is a keyword of Python: give another name, as in my-{name}"):
        check_name(name)


def test_the_prefix_of_the_distribution_is_not_part_of_the_name() -> None:
    with pytest.raises(UsageError, match="begins with 'guideplug-', which is put before it: give 'mine'"):
        check_name("guideplug_mine")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in LIKE])
def test_a_kind_of_which_nothing_is_like_another_is_refused(kind: Kind) -> None:
    with pytest.raises(UsageError, match=f"--like points: an? {kind} is started from one template alone"):
        check_like(kind, "points")


# Places


def test_an_empty_folder_is_filled_and_stays_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    before = folder.stat().st_ino
    write_plugin("mine", "guider", folder)
    assert folder.stat().st_ino == before
    assert {path.name for path in folder.iterdir()} == {"src", "tests", "pyproject.toml", "README.md", ".gitignore"}


def test_folders_above_are_made(tmp_path: Path) -> None:
    write_plugin("mine", "guider", tmp_path / "a" / "b")
    assert (tmp_path / "a/b/pyproject.toml").is_file()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is there already and not empty: give another place with --out FOLDER"):
        write_plugin("mine", "guider", folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match=r"notes.txt is a file: give another place"):
        write_plugin("mine", "guider", folder / "notes.txt")
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/mine cannot be written \(.+\): give another place with --out FOLDER"):
        write_plugin("mine", "guider", tmp_path / "file" / "mine")


@pytest.mark.parametrize("empty", [False, True], ids=["a new folder", "an empty folder"])
@pytest.mark.parametrize("broken", ["write_text", "rename"])
def test_a_failure_half_way_leaves_nothing(
    empty: bool, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    if empty:
        folder.mkdir()
    real, calls = getattr(Path, broken), 0

    def failing(self: Path, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3 or broken == "rename":
            raise OSError(28, "No space left on device")
        return real(self, *args, **options)

    monkeypatch.setattr(Path, broken, failing)
    with pytest.raises(UsageError, match=r"mine cannot be written \(No space left on device\)"):
        write_plugin("mine", "guider", folder)
    assert [path.name for path in tmp_path.rglob("*")] == (["mine"] if empty else [])


def test_the_room_needs_no_torch() -> None:
    code = "import sys, guideplug.cli.scaffold; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
