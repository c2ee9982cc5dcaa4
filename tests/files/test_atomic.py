"""Files that appear whole, in folders that one process works in and that know their checksums."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guideplug.errors import DamagedFile, UsageError
from guideplug.files.atomic import CHECKSUMS, at_work_in, check_unchanged, drawn_whole, note_checksums, whole_file


def put(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())


def line(text: str, name: str) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n"


def test_the_list_is_of_every_file_and_as_sha256sum_writes_it(tmp_path: Path) -> None:
    (tmp_path / "cells" / "deep").mkdir(parents=True)
    with at_work_in(tmp_path):
        put(tmp_path / "a.json", "1")
        put(tmp_path / "cells" / "b.json", "2")
        put(tmp_path / "cells" / "deep" / "c.json", "3")
        put(tmp_path / "a.json", "4")
        with drawn_whole(tmp_path / "d.png") as aside:
            aside.write_text("5")
        (tmp_path / "events.jsonl").write_text("6")
        (tmp_path / ".hidden").write_text("7")
    expected = [
        ("4", "a.json"),
        ("2", "cells/b.json"),
        ("3", "cells/deep/c.json"),
        ("5", "d.png"),
        ("6", "events.jsonl"),
    ]
    assert (tmp_path / CHECKSUMS).read_text() == "".join(line(*one) for one in expected)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS], cwd=tmp_path, check=True)


@pytest.mark.parametrize("name", ["a.json", "cells/deep/c.json"])
@pytest.mark.parametrize("ended", [True, False])
def test_a_changed_file_is_found_while_the_work_goes_on_and_after_it(tmp_path: Path, name: str, ended: bool) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    note_checksums(tmp_path)
    put(path, "whole")
    if ended:
        with at_work_in(tmp_path):
            pass
    check_unchanged(path)
    path.write_text("whale")
    with pytest.raises(DamagedFile, match=f"^{path} is damaged: it is not what was written, "):
        check_unchanged(path)
    path.unlink()
    check_unchanged(path)  # who reads it says that it is missing


def test_a_file_of_no_list_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("mine")
    check_unchanged(path)
    note_checksums(tmp_path)
    check_unchanged(path)


def test_killed_between_note_and_file_nothing_contradicts_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_checksums(tmp_path)
    path = tmp_path / "a.json"
    put(path, "old")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            put(path, "new")
    check_unchanged(path)
    assert path.read_text() == "old"
    put(path, "new")
    check_unchanged(path)


def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    note_checksums(tmp_path)
    with (tmp_path / CHECKSUMS).open("a") as file:
        file.write("0123456789")
    put(tmp_path / "a.json", "1")
    (tmp_path / "a.json").write_text("2")
    with pytest.raises(DamagedFile):
        check_unchanged(tmp_path / "a.json")


def test_a_log_that_grows_is_judged_only_between_two_works(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    with at_work_in(tmp_path):
        put(log, "1\n")
        with log.open("a") as file:
            file.write("2\n")
        check_unchanged(log)
    log.write_text("3\n")
    with pytest.raises(DamagedFile):
        check_unchanged(log)
    with at_work_in(tmp_path):
        check_unchanged(log)


HOLD = """
import sys, time
from pathlib import Path
from guideplug.files.atomic import at_work_in
with at_work_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no flock")
def test_a_second_process_is_refused_until_the_first_ends_however_it_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(UsageError, match=f"^{tmp_path} is in use: another process is at work in it; "),
        at_work_in(tmp_path),
    ):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    begin = time.monotonic()
    with at_work_in(tmp_path):
        assert time.monotonic() - begin < 5
    assert [file.name for file in tmp_path.iterdir()] == [CHECKSUMS]


def test_what_is_damaged_stays_refused_when_work_was_done_beside_it(tmp_path: Path) -> None:
    with at_work_in(tmp_path):
        for name in ("kept.json", "other.json"):
            with whole_file(tmp_path / name) as file:
                file.write(b"{}")
    (tmp_path / "kept.json").write_bytes(b"[]")
    for _ in range(2):
        with at_work_in(tmp_path), whole_file(tmp_path / "other.json") as file:
            file.write(b"[1]")
        check_unchanged(tmp_path / "other.json")
        with pytest.raises(DamagedFile, match=r"kept\.json is damaged"):
            check_unchanged(tmp_path / "kept.json")
    with at_work_in(tmp_path), whole_file(tmp_path / "kept.json") as file:
        file.write(b"{1}")
    check_unchanged(tmp_path / "kept.json")
