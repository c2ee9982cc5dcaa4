"""A finished run of the toy task, and a sweep of its networks, made once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guideplug.cli.main import main

TOY = Path(__file__).parents[2] / "cli" / "toy.py"
TINY = ("--plugin", TOY, "--device", "cpu", "--set", "threads=1", "--duration", "4it", "--samples", "32")
RANGE = "autoguidance(weight=1:2:0.5)"


def _run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="guideplug")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def command() -> Callable[..., Result]:
    """The command line."""
    return _run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the run ``first`` and its sweep ``swept``, whose output is in ``printed``."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GUIDEPLUG_STORE", str(folder / "store"))
        _run("run", *TINY, "--task", "toy", "--guider", "autoguidance", "--out", "first")
        Path("printed").write_text(_run("sample", "first", "--guider", RANGE, "--out", "swept").output)
        yield folder


@pytest.fixture
def first(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the run, from the folder that it is in; results of a test go to a folder of its own."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(place / "store"))
    return Path("first")
