"""Odd files in every place that is read, and hostile names under every command: a sample of what the scripts try.

The fast cases write pages of a kept folder in this process; the slow ones run commands in children of a warm one
(`matrix`, `hostile_names`).
"""

import itertools
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_names
import matrix
import pytest
from odd_files import KEEPING, KINDS, MARK, put

from guideplug.errors import GuideplugError
from guideplug.report import write_page

KEPT = Path(__file__).parents[1] / "kept"
FILES = ("config.toml", "events.jsonl", "run.json", "metrics.json", "words.json", "sweep.npz", "figures")
KINDS_OF_FILES = [
    *zip((*KINDS, "unreadable"), itertools.cycle(FILES), strict=False),
    *(("outside", file) for file in FILES),
]
LONGEST = 20


@pytest.fixture
def in_time() -> Iterator[None]:
    """An error where something waits for ever."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(LONGEST)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(("kind", "file"), KINDS_OF_FILES)
def test_a_page_of_odd_files_is_written_or_refused(kind: str, file: str, tmp_path: Path, in_time: None) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(KEPT / "finished", run)
    (run / matrix.CHECKSUMS).unlink(missing_ok=True)
    outside.mkdir()
    put(kind, run / file, outside)
    before = matrix.everything(tmp_path)
    try:
        page = write_page(run).read_text()
    except GuideplugError as error:
        page = str(error)
        assert "\n" not in page
    assert MARK not in page
    (run / "report.html").unlink(missing_ok=True)
    after = matrix.everything(tmp_path)
    assert {name: what for name, what in before.items() if name != "run/report.html"} == after


def test_the_matrix_has_every_kind_at_every_place() -> None:
    cases = list(matrix.cases())
    places = {case.place for case in cases}
    assert len(cases) > 1500
    assert {(case.place, case.kind) for case in cases} == set(itertools.product(places, (*KINDS, *KEEPING)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[matrix.Matrix]:
    """The world and the warm process."""
    world = matrix.Matrix(tmp_path_factory.mktemp("odd"))
    yield world
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize("case", list(matrix.cases())[::29], ids=str)
def test_an_odd_file_is_one_line_or_not_needed(case: matrix.Case, made: Any) -> None:
    faults, answer = made.faults(case)
    assert not faults, answer


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hostile_names.Named]:
    """The world and the warm process."""
    world = hostile_names.Named(tmp_path_factory.mktemp("named"))
    yield world
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize(("command", "name"), list(hostile_names.cases())[::41])
def test_a_hostile_name_is_escaped(command: str, name: str, named: Any) -> None:
    faults, answer = named.faults(command, name)
    assert not faults, answer
