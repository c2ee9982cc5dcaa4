"""plugins check, and what GUIDEPLUG_DISABLE leaves out."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from guideplug.cli import plugins_check
from guideplug.cli.main import main
from guideplug.registry import names

TOY = Path(__file__).with_name("toy.py")

MINE = '''
from typing import final
from attrs import frozen
from guideplug import Guider, hook, option


@final
@frozen
class Mine(Guider):
    """Twice as far, and further from the batch's mean."""

    name = "mine"
    weight: float = option(2.0, help="guidance weight; 1 is off")

    def guide(self, base, models):
        return base + (self.weight - FROM) * (base - models["weak"])

    def needs(self, task, main):
        return {"weak": None}


@hook
def guideplug_guiders():
    return [Mine]
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE.replace("FROM", "1"))
    return file


@pytest.fixture
def _free(monkeypatch: pytest.MonkeyPatch) -> None:
    """What imports cost is not measured: that takes seconds."""
    monkeypatch.setattr(plugins_check, "imported", lambda targets: {})


@pytest.mark.slow
def test_a_plugin_that_keeps_the_laws(cli: Any) -> None:
    lines = cli("plugins", "check", "interval").stdout.splitlines()
    assert lines[0] == "interval (guideplug-interval 0.1.0)"
    assert "    ✓ its import brings in nothing slow" in lines
    assert "  guider interval, as interval(low=0.2, high=1.0)" in lines
    assert "    ✓ inputs are not changed" in lines
    assert lines[-1].startswith("all ")
    assert lines[-1].endswith(" laws of 1 plugin hold")
    assert not [line for line in lines if "✗" in line]


@pytest.mark.usefixtures("_free")
def test_a_law_that_does_not_hold_is_told_with_the_reason_and_what_to_do(cli: Any, mine: Path) -> None:
    assert cli("plugins", "check", "--plugin", mine).stdout.splitlines()[0] == f"mine (the local file {mine})"
    mine.write_text(MINE.replace("FROM", "0.5"))
    lines = cli("plugins", "check", "mine", "--plugin", mine, code=1).stdout.splitlines()
    fix = "write it as base + (weight - 1) * (base - guide)"
    assert f"    ✗ weight 1 is the base, bit for bit: at sigma 0.02; {fix}" in lines
    assert "    ✓ the result is affine in the weight" in lines
    assert lines[-1].endswith(" laws of 1 plugin do not hold")
    found = json.loads(cli("plugins", "check", "--plugin", mine, "--json", code=1).stdout)
    assert found["holds"] is False
    laws = {law["law"]: law for law in found["plugins"][0]["checked"][1]["laws"]}
    assert laws["weight 1 is the base, bit for bit"]["reason"] == "at sigma 0.02"
    assert laws["inputs are not changed"] == {"law": "inputs are not changed", "holds": True}


@pytest.mark.usefixtures("_free")
@pytest.mark.parametrize("name", ["random", "guideplug-random", "guideplug_random"])
def test_a_plugin_or_its_distribution_is_named(cli: Any, name: str) -> None:
    found = cli.json("plugins", "check", name)
    assert found["holds"] is True
    assert [plugin["name"] for plugin in found["plugins"]] == ["random"]


@pytest.mark.usefixtures("_free")
def test_a_strategy_is_named(cli: Any) -> None:
    (plugin,) = cli.json("plugins", "check", "early-jest")["plugins"]
    assert [checked["what"] for checked in plugin["checked"]] == ["selector early-jest"]


def test_who_is_unknown(cli: Any, mine: Path) -> None:
    assert "is called 'intervall' (did you mean 'interval'?)" in cli.error("plugins", "check", "intervall")
    mine.write_text("x = (")
    assert "was never closed" in cli.error("plugins", "check", "--plugin", mine)


@pytest.mark.usefixtures("_free")
def test_signs_that_a_terminal_does_not_know_are_words(mine: Path) -> None:
    mine.write_text(MINE.replace("FROM", "0.5"))
    done = CliRunner(charset="ascii").invoke(main, ["plugins", "check", "--plugin", str(mine)])
    assert done.exit_code == 1, done.output
    assert "    ok   it is frozen" in done.stdout.splitlines()
    assert "    FAIL weight 1 is the base, bit for bit: " in done.stdout


# GUIDEPLUG_DISABLE


def test_disabled_plugins_are_listed_and_not_loaded(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("plugins", "list")
    monkeypatch.setenv("GUIDEPLUG_DISABLE", "cfg, guideplug_jest")
    result = cli("plugins", "list")
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert lines["cfg"].endswith("guideplug-cfg 0.1.0: disabled by GUIDEPLUG_DISABLE")
    assert lines["jest"].endswith(": disabled by GUIDEPLUG_DISABLE")
    assert "disabled" not in lines["blend"]
    assert result.stderr == ""
    found = {plugin["name"]: plugin for plugin in cli.json("plugins", "list")["plugins"]}
    assert [name for name in found if found[name]["disabled"]] == ["cfg", "jest"]
    assert found["cfg"]["offers"] == []
    said = "is of plugin 'jest', which GUIDEPLUG_DISABLE leaves out"
    assert f"selector 'early-jest' {said}" in cli.error("run", "--selector", "early-jest", "--task", "tree")
    assert "guider 'cfg' is of plugin 'cfg', which" in cli.error("explain", "cfg")
    assert "; GUIDEPLUG_DISABLE leaves out cfg, jest; see" in cli.error("explain", "something-else")
    assert "is disabled by GUIDEPLUG_DISABLE" in cli.error("plugins", "check", "cfg")


@pytest.mark.parametrize("word", ["all", "*"])
def test_all_can_be_disabled(cli: Any, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("GUIDEPLUG_DISABLE", word)
    plugins = cli.json("plugins", "list", "--plugin", TOY)["plugins"]
    assert [plugin["name"] for plugin in plugins if not plugin["disabled"]] == ["core", "toy"]


def test_a_name_that_disables_nothing_is_told_once(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_DISABLE", "intervall")
    said = "warning: GUIDEPLUG_DISABLE names 'intervall' (did you mean 'interval'?), which is no installed plugin\n"
    assert cli("plugins", "list").stderr == said
    assert cli("plugins", "list").stderr == ""


def test_a_run_records_what_was_disabled(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_DISABLE", "truncation")
    cli.toy("--out", "out", "--duration", "2it", "--samples", "4")
    plugins = json.loads(Path("out/run.json").read_text())["plugins"]
    assert [plugin["name"] for plugin in plugins if plugin["disabled"]] == ["truncation"]


# The names that shells complete


def test_names_are_remembered_for_as_long_as_the_distribution_is_the_same(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "deep" / "names.json"
    monkeypatch.setattr(names, "_file", lambda: file)
    assert names.known() == {}
    cli("plugins", "list")
    assert names.known()["cfg"] == {"guider": ["cfg", "cfg++"]}
    assert "train" in names.known()["core"]["recipe"]
    monkeypatch.setenv("GUIDEPLUG_DISABLE", "cfg")
    assert "cfg" not in names.known()
    assert "cfg" in names.known(without_disabled=False)
    monkeypatch.delenv("GUIDEPLUG_DISABLE")
    stamps = {**names.stamps(), "cfg": ["guideplug-cfg", "9", 1]}
    monkeypatch.setattr(names, "stamps", lambda: stamps)
    assert "cfg" not in names.known()
    assert "blend" in names.known()
    for text in ("", "{", "[]", '{"plugins": [1]}', '{"plugins": [{"plugin": "x"}]}'):
        file.write_text(text)
        assert names.known() == {}


def test_names_that_cannot_be_written_are_not_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(names, "_file", lambda: tmp_path / "file" / "names.json")
    names.remember({"cfg": {"guider": ["cfg", "cfg++"]}}, names.stamps())
    assert names.known() == {}
