"""`guideplug store prune`: nothing is removed by accident; what is removed was listed, and agreed to."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from guideplug.cli import consent
from guideplug.cli.main import main
from guideplug.files.digest import record_digest
from guideplug.store import Store

IDENTITIES = ["a" * 64, "b" * 64, "c" * 64]
SELECTIONS = [
    ["--all"], ["--older", "0"], ["--older", "1"], ["--damaged"], ["--partial"], ["--damaged", "--older", "0.5"],
    ["aaaa"], ["bbbb"], ["cccc"], ["aa", "--older", "0"],
]  # fmt: skip


def record(folder: Path, **facts: Any) -> None:
    """An entry without networks: its record alone is looked at."""
    folder.mkdir(parents=True)
    content = {"recipe": {"recipe": {"name": "train"}}, "facts": facts, "files": {}}
    (folder / "entry.json").write_text(json.dumps({**content, "sha256": record_digest(content)}))


@pytest.fixture
def filled(cli: Any) -> Path:
    """A store of an entry of two days, one of no age, one that cannot be read, and an unfinished training."""
    store: Path = cli.store
    record(store / IDENTITIES[0], made=time.time() - 2 * 86400)
    record(store / IDENTITIES[1])
    (store / IDENTITIES[2]).mkdir()
    (store / IDENTITIES[2] / "entry.json").write_text("{")
    (store / f"{'d' * 64}.partial").mkdir()
    (store / f"{'d' * 64}.partial" / "state.safetensors").write_bytes(bytes(2048))
    return store


def left(store: Path) -> set[str]:
    return {path.name[0] for path in store.iterdir() if path.is_dir()}


def test_an_entry_of_no_age_is_never_old_and_one_that_cannot_be_read_goes_by_its_name_alone(
    cli: Any, filled: Path
) -> None:
    said = cli("store", "prune", "--older", "0", "--damaged", "--yes").stdout
    assert f"kept {'c' * 12}: its record cannot be read; remove it with guideplug store prune {'c' * 12}" in said
    assert left(filled) == {"b", "c", "d"}
    cli("store", "prune", "--all", "--yes")
    assert left(filled) == {"c"}
    cli("store", "prune", "c" * 12, "--yes")
    assert left(filled) == set()


@pytest.mark.parametrize("selection", SELECTIONS, ids=" ".join)
def test_without_a_terminal_and_without_consent_nothing_is_removed(
    cli: Any, filled: Path, selection: list[str]
) -> None:
    result = cli("store", "prune", *selection, code=None)
    assert left(filled) == set("abcd")
    if "nothing to remove" not in result.stdout:
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert "--yes" in line
        assert "--dry-run" in line
        assert str(filled) in line
    listed = cli("store", "prune", *selection, "--dry-run").stdout
    assert listed.count("would remove") == result.stdout.count("to remove ")
    assert left(filled) == set("abcd")


@pytest.mark.parametrize("days", ["-1", "-inf", "inf", "nan", "-0.001", "1e39", "9" * 5000, "", "soon"])
@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_ages_are_finite_and_not_negative(cli: Any, filled: Path, days: str, yes: list[str]) -> None:
    line = cli.error("store", "prune", f"--older={days}", *yes)
    assert "--older" in line
    assert days[:12] in line
    assert "an age in days" in line
    assert len(line) < 300
    assert left(filled) == set("abcd")


def test_sizes_are_listed(cli: Any, filled: Path) -> None:
    said = cli("store", "prune", "--partial", "--dry-run").stdout
    assert f"would remove {'d' * 12} (unfinished, 2 KiB)" in said
    assert f"in all 1 of the store {filled}, 2 KiB" in said


@pytest.mark.parametrize(("answer", "remains"), [("y", "c"), ("n", "abcd"), ("", "abcd")])
def test_on_a_terminal_it_asks(
    cli: Any, filled: Path, monkeypatch: pytest.MonkeyPatch, answer: str, remains: str
) -> None:
    monkeypatch.setattr(consent, "_on_a_terminal", lambda: True)
    result = CliRunner().invoke(main, ["store", "prune", "--all"], input=f"{answer}\n")
    assert result.exit_code == 0
    assert "remove 3 of the store" in result.stdout
    assert ("nothing was removed" in result.stdout) == (answer != "y")
    assert left(filled) == set(remains)


@pytest.mark.slow
def test_a_terminal_is_one(filled: Path) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "guideplug", "store", "prune", "--all"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "GUIDEPLUG_STORE": str(filled)},
    )
    os.close(theirs)
    os.write(ours, b"y\n")
    child.wait(60)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert "remove 3 of the store" in said
    assert left(filled) == {"c"}


def test_a_fresh_training_that_is_stopped_leaves_the_stored_network(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.toy("--out", "one", "--duration", "4it")
    before = {path: path.read_bytes() for path in cli.store.rglob("*") if path.is_file() and path.parent != cli.store}
    monkeypatch.setenv("TOY_DIVERGE", "1")
    cli.toy("--out", "two", "--duration", "4it", "--fresh", code=1)
    assert {path: path.read_bytes() for path in before} == before
    assert all(Store(cli.store).find(path.parent.name) is not None for path in before)
