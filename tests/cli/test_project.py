"""Every command that takes --plugin takes the plugins of the project too, if their user has consented to them."""

import json
import tomllib
from pathlib import Path
from typing import Any

import click
import jsonschema
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from guideplug.cli import completion
from guideplug.cli.main import main
from guideplug.cli.parameters import PluginFiles

TOY = Path(__file__).with_name("toy.py")
SCHEMAS = Path(__file__).parents[2] / "guideplug" / "schemas"
SMALL = ("--task", "toy", "--samples", "8", "--device", "cpu", "--set", "threads=1")

LINES: dict[str, tuple[str, ...]] = {
    "run": ("run", *SMALL, "--batch", "8", "--duration", "2it", "--out", "OUT"),
    "sample": ("sample", *SMALL, "--model", "main=train(duration=2it, batch=8)", "--out", "OUT"),
    "compare": ("compare", *SMALL, "--batch", "8", "--duration", "2it", "--dry-run"),
    "study": ("study", "toy-widths(widths=[4])", "--device", "cpu", "--dry-run"),
    "import": ("import", "weights.pt", "OUT.safetensors"),
    "evaluate": ("evaluate", "samples.npy", "--task", "toy"),
    "check": ("check", "train(duration=2it, batch=8)", "--task", "toy", "--device", "cpu"),
    "explain": ("explain", "autoguidance", "--task", "toy"),
    "plugins list": ("plugins", "list", "--json"),
    "plugins show": ("plugins", "show", "toy-net"),
    "plugins check": ("plugins", "check", "toy-net"),
    "report": ("report", "made"),
}


def commands(group: click.Group, above: str = "") -> dict[str, click.Command]:
    """All commands by their names."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found |= commands(command, f"{name} ") if isinstance(command, click.Group) else {f"{above}{name}": command}
    return found


@pytest.fixture
def project(cli: Any) -> Path:
    """A project with the toy plugin, which is not trusted yet."""
    (cli.cwd / "toy_of_project.py").write_text(TOY.read_text())
    (cli.cwd / "guideplug.toml").write_text('plugins = ["toy_of_project.py"]\n')
    return Path(cli.cwd)


def test_every_command_that_takes_plugins_is_here() -> None:
    taking = {
        name for name, command in commands(main).items() if "--plugin" in str([one.opts for one in command.params])
    }
    assert taking == set(LINES)
    for name in taking:
        assert any(isinstance(one, PluginFiles) for one in commands(main)[name].params), name


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "plugins check" else []) for name in LINES]
)
def test_a_command_takes_the_plugins_of_the_project_or_asks(
    name: str, cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save("samples.npy", np.zeros((8, 2), np.float32))
    torch.save({"w": torch.zeros(2)}, "weights.pt")
    line = cli.error(*LINES[name])
    assert f"{project}/guideplug.toml runs code from {project}/toy_of_project.py" in line
    assert ("--trust" in line) is any("--trust" in one.opts for one in commands(main)[name].params)
    cli("plugins", "show", "toy-net", "--plugin", "toy_of_project.py")  # consented to
    if name == "report":
        cli("run", *SMALL, "--batch", "8", "--duration", "2it", "--out", "made")
    inner = project / "deep"
    inner.mkdir()
    monkeypatch.chdir(inner)
    result = cli(
        *(f"../{text}" if text in ("made", "samples.npy", "weights.pt") else text for text in LINES[name]), code=None
    )
    assert result.exit_code in (0, 1), result.output
    assert "Traceback" not in result.output
    assert "error" not in result.stderr


def test_lists_show_the_project_as_the_origin(cli: Any, project: Path) -> None:
    cli("plugins", "list", "--plugin", "toy_of_project.py")
    (row,) = [row for row in cli.json("plugins", "list")["plugins"] if row["name"] == "toy_of_project"]
    assert row["project"] == str(project / "guideplug.toml")
    assert f"toy_of_project.py, of {project}/guideplug.toml" in cli("plugins", "list").stdout


def test_a_named_file_and_a_folders_copy_come_before_the_projects(cli: Any, project: Path) -> None:
    line = LINES["run"]
    cli(*line[:-1], "run", "--trust")
    (project / "toy_of_project.py").write_text(TOY.read_text() + "\n# newer\n")
    cli("sample", "run", "--out", "old")
    assert Path("old/code/toy_of_project/toy_of_project.py").read_text() == TOY.read_text()
    other = project / "other"
    other.mkdir()
    (other / "toy_of_project.py").write_text(TOY.read_text() + "\n# other\n")
    cli(*line[:-1], "named", "--plugin", "other/toy_of_project.py")
    assert Path("named/code/toy_of_project/toy_of_project.py").read_text().endswith("# other\n")


def test_names_of_the_project_are_completed_and_nothing_is_loaded(
    cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    cli("plugins", "list", "--plugin", "toy_of_project.py")
    cli("plugins", "list")
    items = completion.expressions("selector", (), "toy-h")
    assert [item.value for item in items] == ["toy-half"]
    (project / "toy_of_project.py").write_text("raise SystemExit")
    assert not completion.expressions("selector", (), "toy-h")


def test_the_projects_file_is_as_its_schema_says(cli: Any, project: Path) -> None:
    check = jsonschema.Draft202012Validator(json.loads((SCHEMAS / "project.json").read_text()))
    assert check.is_valid(tomllib.loads((project / "guideplug.toml").read_text()))
    assert not check.is_valid({"plugin": []})


def test_help_is_printed_whatever_the_file_says(cli: Any, project: Path) -> None:
    (project / "guideplug.toml").write_text("nothing = 1")
    assert CliRunner().invoke(main, ["run", "--help"]).exit_code == 0
    assert "unknown key 'nothing'" in cli.error("plugins", "list")
