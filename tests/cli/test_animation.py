"""A task's animation in a run: where it goes, what it is given, and that a task without one has none."""

from pathlib import Path
from typing import Any

import pytest

from guideplug.files.atomic import drawn_whole

TOY = Path(__file__).with_name("toy.py")
ANIMATE = """
    def animate(self, arms, sampler, seed, path):
        names = [arm.name for arm in arms]
        assert all(arm.start is not None and arm.denoiser is not None for arm in arms)
        path.write_text(f"{names} {sampler.name} {seed}")
        return DREW

    def figure("""


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """The toy plugin, its task with an animation."""
    file = tmp_path / "moving.py"
    file.write_text(TOY.read_text().replace("\n    def figure(", ANIMATE).replace("DREW", "True"))
    return file


def test_it_lies_beside_the_figure_and_is_named(cli: Any, moving: Path) -> None:
    options = ("--task", "toy", "--device", "cpu", "--guider", "autoguidance", "--set", "sample_seed=5")
    said = cli("run", "--plugin", moving, *options, "--out", "first").stdout
    assert f"animation: {Path('first/figures/toy.gif')}" in said.splitlines()
    assert Path("first/figures/toy.gif").read_text() == "['unguided', 'guided'] toy-steps 5"
    found = cli.json("run", "--plugin", moving, *options, "--out", "second")
    assert found["animation"] == str(Path("second/figures/toy.gif"))
    assert sorted(path.name for path in Path("second/figures").iterdir()) == ["toy.gif", "toy.png"]


def test_a_task_without_one_has_none(cli: Any) -> None:
    assert "animation" not in cli.toy("--out", "first").stdout
    found = cli.json("run", "--plugin", TOY, "--task", "toy", "--device", "cpu", "--out", "second")
    assert found["animation"] is None
    assert [path.name for path in Path("second/figures").iterdir()] == ["toy.png"]


def interrupted(path: Path) -> None:
    with drawn_whole(path) as aside:
        aside.write_bytes(b"ne")
        raise KeyboardInterrupt


def test_what_is_drawn_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    with drawn_whole(path) as aside:
        assert aside.suffix == ".png"
        aside.write_bytes(b"old")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    with drawn_whole(path):
        pass
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
