"""Observers whose library is an extra that is not installed: listed, and refused in one line before any work."""

import sys
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).with_name("toy.py")
ASKED = ("--plugin", TOY, "--device", "cpu")
LIBRARIES = ("tensorboard", "wandb")


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a library that cannot be imported, and of the observer that needs it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == request.param]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, request.param, None)
    return str(request.param)


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--task", "toy"),
        ("run", "--task", "toy", "--dry-run"),
        ("compare", "--task", "toy"),
        ("study", "toy-widths(widths=[4])"),
    ],
)
def test_it_is_refused_before_any_work(cli: Any, library: str, command: tuple[str, ...]) -> None:
    line = cli.error(*command, *ASKED, "--observer", library)
    assert line == f"error: observer {library!r} needs {library}: pip install 'guideplug-{library}[{library}]'"
    assert not cli.files()


def test_an_earlier_run_is_read_and_sampled_without_it(cli: Any, library: str) -> None:
    cli.toy("--out", "first", "--duration", "2it", "--samples", "8")
    config = Path("first/config.toml").read_text()
    assert "observers" not in config
    again = ("sample", "first", "--samples", "8")
    assert f"needs {library}" in cli.error(*again, "--observer", library)
    cli(*again, "--out", "again")


@pytest.mark.slow
def test_it_is_listed_with_what_to_install(cli: Any, library: str) -> None:
    needs = f"needs {library}: pip install 'guideplug-{library}[{library}]'"
    (line,) = [line for line in cli("plugins", "list").stdout.splitlines() if line.startswith(f"{library} ")]
    assert line.endswith(f": observer {library}; {needs}")
    assert f"\n  {needs}\n" in cli("plugins", "show", library).stdout
    plugins = cli.json("plugins", "list")["plugins"]
    missing = {plugin["name"]: plugin["missing"] for plugin in plugins if plugin["missing"]}
    assert missing[library] == [needs]
    assert needs in cli("plugins", "check", library, code=1).output


def test_an_installed_library_is_not_missing(cli: Any) -> None:
    plugins = cli.json("plugins", "list")["plugins"]
    assert not [plugin["name"] for plugin in plugins if plugin["missing"]]
