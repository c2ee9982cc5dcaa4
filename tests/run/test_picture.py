"""Pictures look the same whatever matplotlib is told by the user's program, files and environment."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from guideplug.run.failure import Failures
from guideplug.run.picture import draw, drawing

SCRIPT = """
import sys
from pathlib import Path
from guideplug.run.failure import Failures
from guideplug.run.picture import draw

def plot(path):
    from matplotlib.figure import Figure
    figure = Figure()
    figure.subplots().plot([1, 2, 3], label="x")
    figure.savefig(path, format="png")

def pyplot(path):
    import matplotlib.pyplot as plt
    plt.plot([1, 2])
    plt.savefig(path, format="png")

failures = Failures()
assert draw(Path(sys.argv[1]), "figure", "a", plot, failures), failures
assert draw(Path(sys.argv[1] + ".pyplot.png"), "figure", "b", pyplot, failures), failures
"""
STYLE = "text.usetex: True\nfont.family: No Such Font\nfigure.dpi: 30\naxes.facecolor: red\nlines.linewidth: 9\n"
FILES: Mapping[str, bytes] = {
    "a style": STYLE.encode(),
    "an interactive backend": b"backend: TkAgg\n",
    "no text": b"\xff\xfe\x00",
    "bad values": b"no such key : 3\nlines.linewidth: banana\n",
}
ENVIRONMENTS = {
    "an unknown backend": {"MPLBACKEND": "nonsense"},
    "an interactive backend": {"MPLBACKEND": "TkAgg"},
    "a file that is not there": {"MATPLOTLIBRC": "/nowhere"},
    "a folder that cannot be written": {"MPLCONFIGDIR": "/proc/nowhere"},
}


def plot(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2, 3], label="x")
    figure.savefig(path, format="png")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def drawn(path: Path) -> str:
    failures = Failures()
    assert draw(path, "figure", "one", plot, failures), failures
    return digest(path)


def in_process(folder: Path, **environment: str) -> str:
    command = [sys.executable, "-c", SCRIPT, "a.png"]
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True, timeout=120)
    return digest(folder / "a.png")


def test_settings_of_the_program_change_no_picture(tmp_path: Path) -> None:
    plain = drawn(tmp_path / "plain.png")
    mine = {"text.usetex": True, "font.family": ["No Such Font"], "figure.dpi": 30, "axes.facecolor": "red"}
    with matplotlib.rc_context(mine):
        before = dict(matplotlib.rcParams)
        assert drawn(tmp_path / "mine.png") == plain
        assert dict(matplotlib.rcParams) == before


def test_pyplot_is_left_as_it_was(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    mine = plt.figure()

    def paint(path: Path) -> None:
        plt.figure()
        plt.savefig(path, format="png")
        plt.figure()

    failures = Failures()
    assert draw(tmp_path / "a.png", "figure", "one", paint, failures)
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


def test_settings_come_back_after_an_error() -> None:
    before = dict(matplotlib.rcParams)

    def fail() -> None:
        with drawing():
            matplotlib.rcParams["figure.dpi"] = 7
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert dict(matplotlib.rcParams) == before


def folder(path: Path) -> None:
    path.mkdir()
    (path / "within").touch()


NONSENSE: Mapping[str, Any] = {
    "nothing was drawn": lambda path: None,
    "the file is empty": lambda path: path.touch(),
    "the file is no PNG": lambda path: path.write_bytes(b"GIF89a"),
    "nothing was drawn, but a folder": folder,
}


@pytest.mark.parametrize("reason", NONSENSE)
def test_what_is_no_picture_is_a_failure(reason: str, tmp_path: Path) -> None:
    failures = Failures()
    assert not draw(tmp_path / "a.png", "figure", "one", NONSENSE[reason], failures)
    assert [failure.reason for failure in failures.listed] == [reason.partition(",")[0]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_settings_in_the_folder_changes_no_picture(name: str, tmp_path: Path) -> None:
    plain = in_process(tmp_path)
    (tmp_path / "matplotlibrc").write_bytes(FILES[name])
    assert in_process(tmp_path) == plain


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_environment_changes_no_picture(name: str, tmp_path: Path) -> None:
    assert in_process(tmp_path, **ENVIRONMENTS[name]) == in_process(tmp_path)


def test_every_picture_goes_through_one_door() -> None:
    root = Path(__file__).parents[2]
    sources = [*(root / "guideplug").rglob("*.py"), *(root / "plugins").glob("*/src/**/*.py")]
    texts = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sources}
    assert len(texts) > 250
    assert [name for name, text in texts.items() if "import drawn_whole" in text] == ["guideplug/run/picture.py"]
    imports = ("import matplotlib.pyplot", "from matplotlib import pyplot")
    assert not [name for name, text in texts.items() if any(line in text for line in imports)]
