"""Torchrun is refused: by every command, and by what they do when it is called from Python."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner

import guideplug
from guideplug.cli.main import main
from guideplug.errors import UsageError
from guideplug.executors.torchrun import LEAST, refuse_torchrun
from guideplug.experiments.comparison import compare
from guideplug.experiments.studies.run_study import run_study

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": "29500"}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NNODES": "2"}
SEVERAL = [{name: str(least)} for name, least in LEAST.items()] + [
    TORCHRUN,
    {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
    {"WORLD_SIZE": " 16 ", "RANK": "0"},
    {**SLURM, "WORLD_SIZE": "4", "RANK": "1"},
]
ONE = [{}, SLURM, {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, {"WORLD_SIZE": ""}, {"RANK": "first"}]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", *LEAST):
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def called(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command as words that it can be called with."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from called(command, (*path, name))
        else:
            needed = [param for param in command.params if isinstance(param, click.Argument) and param.required]
            yield (*path, name, *("x" for _ in needed))


CALLED = list(called())


def test_every_command_is_tried() -> None:
    assert len(CALLED) >= 17


@pytest.mark.parametrize("words", CALLED, ids=" ".join)
def test_every_command_refuses_it_in_one_line(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    set_all(monkeypatch, TORCHRUN)
    done = CliRunner().invoke(main, words, prog_name="guideplug")
    assert done.exit_code == 2, done.output
    (line,) = done.output.splitlines()
    assert line.startswith("error: TORCHELASTIC_RUN_ID=none in the environment says")
    assert "start one process" in line
    assert "--jobs N" in line
    assert "--executor" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", CALLED, ids=" ".join)
def test_help_is_still_printed(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, TORCHRUN)
    assert CliRunner().invoke(main, [*words, "--help"], prog_name="guideplug").output.startswith("Usage: ")


CALLS: dict[str, Callable[[], Any]] = {
    "run": lambda: guideplug.run(),
    "compare": lambda: compare(*cast(Any, [None] * 4)),
    "study": lambda: run_study(*cast(Any, [None] * 4)),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_from_python_refuse_it_before_they_look_at_anything(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, TORCHRUN)
    with pytest.raises(UsageError, match=r"TORCHELASTIC_RUN_ID=none .* start one process, guideplug alone"):
        CALLS[name]()


@pytest.mark.parametrize("variables", SEVERAL, ids=" ".join)
def test_launchers_of_several_processes(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, variables)
    with pytest.raises(UsageError, match="one of several processes"):
        refuse_torchrun()


@pytest.mark.parametrize("variables", ONE, ids=str)
def test_one_process_and_a_batch_system_alone_are_not_refused(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, variables)
    refuse_torchrun()
