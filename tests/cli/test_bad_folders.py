"""Folders that cannot be written or resumed, each answered in one line; nothing lost."""

import errno
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from guideplug.run.folder import RunFolder

HERE = Path(__file__).parent


TOY = HERE / "toy.py"


@pytest.fixture
def trained(cli: Any) -> Path:
    """The main network's checkpoint of a toy run."""
    cli.toy("--duration", "2it", "--out", "first")
    return Path("first/denoisers/main.safetensors").resolve()


# Folders


def test_out_that_is_a_file_or_below_one(cli: Any) -> None:
    Path("taken").write_text("mine")
    assert "taken is a file" in cli.toy("--out", "taken", code=2).stderr
    assert "taken/run cannot be made" in cli.toy("--out", "taken/run", code=2).stderr
    assert Path("taken").read_text() == "mine"


def test_out_that_is_not_empty(cli: Any) -> None:
    Path("full").mkdir()
    Path("full/thesis.tex").write_text("mine")
    line = cli.toy("--out", "full", code=2).stderr
    assert "full is not empty" in line
    assert "--resume" not in line
    assert {path.name for path in Path("full").iterdir()} == {"thesis.tex"}


def test_out_of_another_run(cli: Any, trained: Path) -> None:
    before = {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}
    assert "first is not empty" in cli.toy("--out", "first", "--seed", "3", code=2).stderr
    assert before == {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}


def test_a_store_that_cannot_be_made(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("taken").touch()
    monkeypatch.setenv("GUIDEPLUG_STORE", str(Path("taken/store").resolve()))
    assert "GUIDEPLUG_STORE" in cli.toy(code=1).stderr
    assert not Path("runs").exists()


def resumed(cli: Any, *arguments: str, code: int) -> str:
    line = cli("run", "--resume", "first", *arguments, code=code).stderr
    assert len(line.splitlines()) == 1
    assert line.startswith("error: ")
    return str(line)


def unfinish(path: Path = Path("first")) -> None:
    """Make a finished run look as if it had been interrupted."""
    RunFolder(path).update_record(status="interrupted")


def test_a_disk_that_is_full_while_networks_are_kept(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with how to go on where there is room again."""

    def full(handle: int) -> None:
        if str(cli.store) in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("guideplug.files.atomic.os.fsync", full)
        result = cli.toy("--out", "full", "--duration", "4it", code=1)
    said = result.stderr.splitlines()[-1]
    assert "cannot be written (No space left on device); what was written before is whole" in said
    assert "--resume full" in said
    cli("run", "--resume", "full")


def test_resume_of_a_finished_run(cli: Any, trained: Path) -> None:
    line = resumed(cli, code=2)
    assert "finished" in line
    assert "guideplug sample first" in line


def test_resume_with_other_options_names_all_of_them(cli: Any, trained: Path) -> None:
    unfinish()
    line = resumed(cli, "--samples", "9", "--set", "train.lr=0.5", code=2)
    assert re.search(r"samples was \d+ and is 9 now; train.lr was 0.01 and is 0.5 now; leave that out, ", line)


def test_resume_with_other_code_is_refused(cli: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(TOY.read_text())
    arguments = ("--plugin", str(plugin), "--task", "toy", "--duration", "4it", "--samples", "8")
    cli("run", *arguments, "--out", "first")
    unfinish()
    plugin.write_text(TOY.read_text().replace("0.05 * torch.randn(", "0.06 * torch.randn("))
    line = cli("run", "--resume", "first", "--plugin", plugin, code=2).stderr.splitlines()[-1]
    assert "--resume first: plugins was " in line
    assert f"is ['{plugin}'] now; leave that out, or start a new run" in line
    shown = TOY.read_text().replace("path.write_bytes(PNG)", "path.write_bytes(PNG + b'')  # as before")
    plugin.write_text(shown.replace("min(1).values", "max(1).values"))  # the figure, and a metric
    before = set(cli.store.rglob("*"))
    cli("run", "--resume", "first", "--trust")
    assert set(cli.store.rglob("*")) == before, "a network was trained anew"


def test_resume_with_another_torch_says_so(cli: Any, trained: Path) -> None:
    unfinish()
    folder = RunFolder(Path("first"))
    folder.update_record(versions={**folder.record()["versions"], "torch": "1.0"})
    said = cli("run", "--resume", "first").stderr
    assert said.startswith("note: the run began with torch 1.0, and this is ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("config.toml", ("run", "--resume", "first")),
        ("run.json", ("run", "--resume", "first")),
        ("config.toml", ("sample", "first")),
        ("denoisers/main.safetensors", ("sample", "first")),
        ("denoisers/main.json", ("sample", "first")),
        ("samples.npz", ("evaluate", "first/samples.npz", "--task", "toy", "--plugin", str(TOY))),
    ],
)
def test_what_has_changed_since_it_was_written_is_not_used(
    cli: Any, trained: Path, name: str, command: Sequence[str]
) -> None:
    unfinish()
    path = Path("first", name)
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 1
    path.write_bytes(whole)
    line = cli(*command, code=1).stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert f"{path} is damaged: it is not what was written, going by checksums.sha256; " in line


def test_resume_of_a_folder_that_is_no_run(cli: Any) -> None:
    Path("first").mkdir()
    Path("first/notes.txt").touch()
    assert "first is not the folder of a run" in resumed(cli, code=2)


@pytest.mark.parametrize("name", ["run.json", "config.toml"])
@pytest.mark.parametrize("content", [b"", b'{"status"', b"[1, 2]", b"\xff\x00\xfe"])
def test_resume_of_a_corrupted_folder(cli: Any, trained: Path, name: str, content: bytes) -> None:
    unfinish()
    Path("first", name).write_bytes(content)
    result = cli("run", "--resume", "first", code=None)
    assert result.exit_code in (1, 2)
    assert len(result.stderr.splitlines()) == 1
    assert "first" in result.stderr
    assert Path("first", name).read_bytes() == content


def test_resume_with_a_corrupted_event_log_goes_on(cli: Any, trained: Path) -> None:
    unfinish()
    with Path("first/events.jsonl").open("ab") as file:
        file.write(b"\xff\xfe torn")
    cli("run", "--resume", "first")
    lines = Path("first/events.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "end"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "7"], ["seed", "was 0", "is 7"]),
        (["--set", "train.lr=0.5"], ["train.lr", "was 0.01", "is 0.5"]),
        (["--guider", "autoguidance"], ["guider", "was none"]),
        (["--samples", "5"], ["samples", "was 32", "is 5"]),
        (["--set", "threads=2"], ["threads", "was 1", "is 2"]),
    ],
)
def test_resume_with_a_changed_option(cli: Any, trained: Path, arguments: list[str], words: list[str]) -> None:
    unfinish()
    before = {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}
    line = resumed(cli, *arguments, code=2)
    for word in words:
        assert word in line
    assert before == {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}


def test_an_unfinished_state_that_is_damaged_says_what_to_remove(cli: Any) -> None:
    plan = json.loads(cli.toy("--duration", "4it", "--dry-run", "--json").stdout)
    assert plan["networks"][0]["plan"] == "trained"
    cli.toy("--duration", "4it", "--out", "first")
    (entry,) = [path for path in cli.store.iterdir() if path.is_dir()]
    entry.rename(entry.with_name(f"{entry.name}.partial"))
    (cli.store / f"{entry.name}.partial" / "state.safetensors").write_bytes(b"torn")
    unfinish()
    line = resumed(cli, code=1)
    assert "state.safetensors" in line
    assert f"remove it with guideplug store prune {entry.name[:12]}" in line
