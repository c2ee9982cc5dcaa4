"""One process that commands are born of, and what an undisturbed one leaves."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import COMMANDS, Moments, Nursery, Place

if not Path("/proc/self/task").is_dir():  # forks, process groups and limits as Linux has them
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery.opened()
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def run(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Moments:
    """The moments of a run."""
    return Moments.of(nursery, COMMANDS["run"], tmp_path_factory.mktemp("run"))


@pytest.fixture
def place(nursery: Nursery, tmp_path: Path) -> Place:
    """A folder and a store of the test's own."""
    return Place(nursery, tmp_path)
