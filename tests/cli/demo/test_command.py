"""`guideplug demo`: what it prints and writes, and what it refuses. The trial is shortened."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from guideplug.cli.demo import Schooling, demonstrate
from guideplug.cli.demo import command as command
from guideplug.registry.registry import Registry

PICTURE = "guideplug-demo.png"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        command, "demonstrate", functools.partial(demonstrate, Schooling(8, 20), Schooling(4, 10), samples=128)
    )


def test_it_tells_its_story_and_writes_its_picture_here(cli: Any) -> None:
    done = cli("demo")
    assert done.stderr == ""
    *told, picture, next_ = done.stdout.splitlines()
    assert len(told) <= 27
    assert picture == f"picture: {PICTURE}"
    assert next_ == "next: guideplug run --guider autoguidance --selector early-jest"
    assert Path(PICTURE).read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in Path.cwd().iterdir()] == [PICTURE]


def test_as_json(cli: Any) -> None:
    done = cli("demo", "--out", "new/folder", "--json")
    found = json.loads(done.stdout)
    assert done.stderr == ""
    assert found["picture"] == f"new/folder/{PICTURE}"
    assert Path(found["picture"]).is_file()
    assert [row["name"] for row in found["rows"]][:3] == ["truth", "weak network alone", "unguided"]
    assert found["checks"]["same_at_one"] is True
    assert found["next"].startswith("guideplug ")


def test_its_own_picture_is_replaced(cli: Any) -> None:
    Path(PICTURE).write_bytes(b"\x89PNG, old")
    cli("demo", "--out", ".")
    assert Path(PICTURE).read_bytes().startswith(b"\x89PNG\r\n")


def test_a_file_of_another_kind_is_not_replaced(cli: Any) -> None:
    Path(PICTURE).write_bytes(b"a thesis")
    assert "is not a picture: give another name" in cli.error("demo", "--out", ".")
    assert Path(PICTURE).read_bytes() == b"a thesis"


def test_without_those_plugins_the_next_command_is_another(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "installed", classmethod(lambda cls, files=(): cls()))
    assert cli("demo").stdout.splitlines()[-1] == "next: guideplug plugins list"


def test_where_nothing_can_be_written_nothing_is_done(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "demonstrate", lambda: pytest.fail("it worked all the same"))
    Path("file").write_text("")
    assert "--out file is a file: give a folder" in cli.error("demo", "--out", "file")
    assert "cannot be made" in cli.error("demo", "--out", "file/inner")
    Path("taken", PICTURE).mkdir(parents=True)
    assert f"{PICTURE} cannot be written there" in cli.error("demo", "--out", "taken")
    monkeypatch.setattr(command.os, "access", lambda path, mode: False)
    assert "cannot be written there" in cli.error("demo")
