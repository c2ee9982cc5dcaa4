"""A store and a working folder for each test, and the command line in process."""

import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from guideplug.cli.main import main

TOY = Path(__file__).with_name("toy.py")


@attrs.define
class CommandLine:
    """Calls ``guideplug`` in process, and says what it left."""

    cwd: Path
    store: Path

    def __call__(self, *args: object, code: int | None = 0) -> Result:
        """Run a command; its exit code must be ``code``, unless that is None, and no traceback shows."""
        result = CliRunner().invoke(main, [str(arg) for arg in args], prog_name="guideplug")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        if code is not None:
            assert result.exit_code == code, f"exit code {result.exit_code}: {result.output}"
        return result

    def toy(self, *args: object, code: int | None = 0) -> Result:
        """``guideplug run`` on the toy task, or another one, with one thread."""
        task = () if "--task" in args else ("--task", "toy")
        return self("run", "--plugin", TOY, *task, "--device", "cpu", "--set", "threads=1", *args, code=code)

    def json(self, *args: object) -> Any:
        """What a command prints as JSON, which is all that it prints."""
        result = self(*args, "--json")
        assert result.stderr == ""
        return json.loads(result.stdout)

    def error(self, *args: object, code: int = 2) -> str:
        """The one line on standard error of a command that must fail so."""
        result = self(*args, code=code)
        lines = result.stderr.splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("error: ")
        return lines[0]

    def files(self) -> set[str]:
        """Everything under the working folder and in the store."""
        roots = (self.cwd, self.store)
        return {str(path) for root in roots if root.exists() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line, in a folder and with a store of the test's own."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(tmp_path / "trusted"))
    monkeypatch.delenv("TOY_PAUSE", raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)  # no note of a busy machine
    return CommandLine(cwd, tmp_path / "store")
