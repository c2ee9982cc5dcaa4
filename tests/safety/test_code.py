"""Code that commands are given: what runs is what lies in its files (`code_cases`), or nothing, in one line."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import code_cases
import numpy as np
import pytest
from click.testing import CliRunner, Result
from tiers import spread

from guideplug.cli.main import main

EVERY = list(code_cases.every())
FEW = [values for values in EVERY if "fit" not in values[0].name][::23]
SMALL = (
    "--task", "mixture", "--batch", "8", "--samples", "8", "--duration", "2it", "--device", "cpu", "--set",
    "train.condition_dropout=0",
)  # fmt: skip


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a store and a list of trusted code of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path.parent / "store"))
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(tmp_path / "trusted"))
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    np.save("y.npy", np.zeros((8, 2), np.float32))
    images = np.arange(40 * 64).astype(np.uint8).reshape(40, 8, 8, 1)
    np.save("images.npy", images)
    np.savez("images.npz", images=images)
    return tmp_path


def guideplug(*line: str) -> Result:
    done = CliRunner().invoke(main, line, prog_name="guideplug")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def keeps_the_law(work: Path, there: set[str], done: Result) -> None:
    ran = set(code_cases.ran(work))
    assert ran <= there, f"{ran - there} ran, and is in no file"
    if done.exit_code:
        assert done.stderr.count("\n") == 1, done.stderr
    else:
        assert {version for version in there if version.endswith("mine")} <= ran


def check(work: Path, case: code_cases.Case, change: str, target: str) -> None:
    there = code_cases.prepare(work, change, target)
    for name, content in (("c.toml", case.config), ("guideplug.toml", case.project)):
        if content:
            (work / name).write_text(content)
    done = guideplug(*(part.replace("{cwd}", str(work)) for part in case.line))
    keeps_the_law(work, there, done)
    if change != "a pyc alone":
        assert done.exit_code == 0, done.output


def titled(values: Any) -> str:
    case, change, target = values
    return f"{case.name}, {change} of {target}"


@pytest.mark.parametrize("values", FEW, ids=titled)
def test_what_runs_lies_in_the_files(values: Any, work: Path) -> None:
    check(work, *values)


@pytest.mark.parametrize("case", spread(code_cases.cases(), slow=3), ids=lambda case: case.name)
def test_what_runs_lies_in_the_files_however_code_is_named(
    case: Any, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change, target in itertools.product(code_cases.CHANGES, ("mine.py", "neighbour.py")):
        inner = work / f"{change} of {target}".replace(" ", "-")
        inner.mkdir()
        monkeypatch.chdir(inner)
        monkeypatch.setenv("RAN", str(inner / "ran"))
        for name in ("y.npy", "images.npy", "images.npz"):
            shutil.copy(work / name, inner)
        check(inner, case, change, target)


# The folder of an earlier run of one's own

AGAIN = {
    "sample": ("sample", "run", "--out", "new"),
    "cite": ("cite", "run"),
    "run CONFIG": ("run", "run/config.toml", "--dry-run"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of code that is trusted, and that code."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("GUIDEPLUG_STORE", str(root.parent / "store"))
        patch.setenv("GUIDEPLUG_TRUSTED", str(root / "trusted"))
        patch.setenv("RAN", str(root / "ran"))
        (root / "mine.py").write_text(code_cases.text("old_mine", "neighbour"))
        (root / "neighbour.py").write_text(code_cases.text("old_neighbour"))
        code = (
            "--plugin",
            "mine.py",
            "--denoiser",
            "python('mine:f')",
            "--guider",
            "classifier('./mine.py:f', scale=0.1)",
        )
        done = guideplug("run", *SMALL, *code, "--out", "run")
        assert done.exit_code == 0, done.output
        (root / "ran").unlink()
    return root


@pytest.mark.slow
@pytest.mark.parametrize("place", ["copies", "originals"])
@pytest.mark.parametrize("change", code_cases.CHANGES)
@pytest.mark.parametrize("command", AGAIN)
def test_an_earlier_run_runs_what_lies_in_its_folder(
    command: str, change: str, place: str, made: Path, work: Path
) -> None:
    shutil.copytree(made, work, dirs_exist_ok=True)
    changed = [work] if place == "originals" else sorted(path.parent for path in work.glob("run/code/*/mine.py"))
    for folder, target in itertools.product(changed, ("mine.py", "neighbour.py")):
        file = folder / target
        before = file.read_text()
        code_cases.CHANGES[change](file, before.replace("old_", "new_"))
        done = guideplug(*AGAIN[command])
        ran = set(code_cases.ran(work))
        assert ran <= {"old_mine", "old_neighbour"}
        if place == "originals" or change == "a pyc alone":
            assert done.exit_code == (0 if place == "originals" else 2), done.output
        else:
            assert done.exit_code == 1, done.output
            assert "is damaged: it is not what was written" in done.stderr
            assert not ran
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        file.unlink(missing_ok=True)
        file.write_text(before)
        shutil.rmtree(work / "new", ignore_errors=True)
        (work / "ran").unlink(missing_ok=True)
