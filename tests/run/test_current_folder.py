"""Code that changes the current folder redirects no file: paths are absolute once the work begins."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

import guideplug
from guideplug.cli.main import main
from guideplug.observe import Listener
from guideplug.run import experiment, measure
from guideplug.run.arms import draw_arms_of_run

TOY = Path(__file__).parents[1] / "cli" / "toy.py"


class Mover(Listener):
    """Goes elsewhere at every event."""

    def __init__(self, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.elsewhere, self.monkeypatch = elsewhere, monkeypatch

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        self.monkeypatch.chdir(self.elsewhere)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("GUIDEPLUG_STORE", "store")
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(tmp_path / "trusted"))
    return here, elsewhere


def draw_elsewhere(module: ModuleType, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let code of a plugin, where a module samples, change the current folder."""

    def moving(*args: Any, **options: Any) -> Any:
        monkeypatch.chdir(elsewhere)
        return draw_arms_of_run(*args, **options)

    monkeypatch.setattr(module, "draw_arms_of_run", moving)


def test_a_run(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = places
    draw_elsewhere(experiment, elsewhere, monkeypatch)
    result = guideplug.run(
        task="toy", duration="4it", samples=8, device="cpu", plugins=[TOY], out="out", store="store",
        sets={"threads": 1},
    )  # fmt: skip
    assert Path.cwd() == elsewhere
    assert list(elsewhere.iterdir()) == []
    assert result.folder == here / "out"
    assert {path.name for path in (here / "out").iterdir()} >= {"metrics.json", "words.json", "figures", "events.jsonl"}


def test_a_listener_that_goes_elsewhere_is_put_back_and_left_out(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, elsewhere = places
    result = guideplug.run(
        task="toy", duration="4it", samples=8, device="cpu", plugins=[TOY], out="out", store="store",
        sets={"threads": 1}, listeners=[Mover(elsewhere, monkeypatch)],
    )  # fmt: skip
    assert Path.cwd() == here
    assert "it changed the working folder, which is put back" in capsys.readouterr().err
    assert list(elsewhere.iterdir()) == []
    assert result.folder == here / "out"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["compare", "--task", "toy", "--seeds", "0,1", "--duration", "4it"], ["study", "toy-widths"]], ids=str
)
def test_comparisons_and_studies(words: list[str], places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = places
    draw_elsewhere(measure, elsewhere, monkeypatch)
    done = CliRunner().invoke(main, [*words, "--plugin", str(TOY), "--device", "cpu", "--out", "out"])
    assert done.exit_code == 0, done.output
    assert Path.cwd() == elsewhere
    assert list(elsewhere.iterdir()) == []
    assert (here / "out" / "report.html").is_file()
