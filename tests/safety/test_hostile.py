"""Hostile files are refused: in one line, fast, in little memory, with nothing run and nothing written elsewhere.

Each is read in a child of a warm process (`children.py` says how time and memory are measured). What holds for a good
file of the kind holds for these: two seconds of processor time and 200 MB above what the process had. Where
``GUIDEPLUG_MEASURED`` names a file, each case's numbers are appended to it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from children import Children
from hostile_folders import STORES
from safetensors.torch import save_file

from guideplug import Registry
from guideplug.run.resolve import Request, resolve

SECONDS, MEGABYTES = 2.0, 200.0


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The warm process, having gone once through each kind of file."""
    folder = tmp_path_factory.mktemp("warm")
    config = resolve(Request(values={"task": "tree"}), Registry.installed())
    weak = config.task.recipe("weak", config.main)
    assert weak is not None
    save_file(weak.build().state_dict(), folder / "weak.safetensors")
    np.savez(folder / "samples.npz", guided=np.zeros((4, 2), np.float32) + np.arange(4, dtype=np.float32)[:, None])
    rows = "\n".join(f"{i * 0.1},{(i * 7 % 5) * 0.2}" for i in range(200))
    (folder / "table.csv").write_text(f"a,b\n{rows}\n")
    warm = [
        ["explain", "autoguidance", "--model", "weak=weak.safetensors"],
        ["explain", "autoguidance", "--task", "points('table.csv')"],
        ["store", "verify"],
    ]
    found = Children(folder, warm)
    yield found
    found.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder to work in; what lies beside it must stay as it is."""
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "deep" / "file").write_text("untouched")
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def everything(folder: Path) -> dict[str, str]:
    """Every file below a folder with a hash, but for what the measuring itself writes and what goes to ``--out``."""
    own = {"stdout", "stderr", "measured"}
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in own and not name.startswith("here/out") and name != "store":
            small = path.is_file() and not path.is_symlink() and path.stat().st_size < 2**27
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if small else "no small file"
    return found


def asked(ask: Any, work: Path, make: Callable[[Path], list[str]], name: str) -> dict[str, Any]:
    """What came of a command on hostile files: cheap, and all else untouched."""
    arguments = make(work)
    before = everything(work.parent)
    found: dict[str, Any] = ask(work, *arguments)
    if log := os.environ.get("GUIDEPLUG_MEASURED"):
        with Path(log).open("a") as file:
            file.write(json.dumps({"case": name, **found}) + "\n")
    said = found["stdout"] + found["stderr"]
    assert "Traceback" not in said, said[-3000:]
    assert isinstance(found["code"], int), f"{found['code']}: {said[:300]}"
    assert found["megabytes"] < MEGABYTES
    if found["seconds"] >= SECONDS:  # processor time, which other work on the processor makes longer: once more
        assert ask(work, *arguments)["seconds"] < SECONDS
    assert everything(work.parent) == before
    assert all(c.isprintable() or c == "\n" for c in said), ascii(said[:300])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", hostile.CASES)
def test_a_hostile_file_is_refused_in_one_line(name: str, ask: Any, work: Path) -> None:
    make, says = hostile.CASES[name]
    found = asked(ask, work, make, name)
    assert found["code"] in (1, 2), found
    (line,) = found["stderr"].splitlines()
    assert line.startswith("error: ")
    assert says in line, line
    assert len(line) < 2000


@pytest.mark.slow
@pytest.mark.parametrize("name", STORES)
def test_a_hostile_entry_of_the_store_is_told_and_passed_over(name: str, ask: Any, work: Path) -> None:
    found = asked(ask, work, STORES[name], name)
    assert found["code"] in (0, 1)
    assert "0" * 12 in found["stdout"] or "1 of 1 entries are whole" in found["stdout"]
