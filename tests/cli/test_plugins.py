"""`guideplug plugins`: what each offers, and which are broken."""

import sys
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).with_name("toy.py")


# plugins


def test_plugins_list_says_what_each_offers(cli: Any) -> None:
    lines = {line.split()[0]: line for line in cli("plugins", "list").stdout.splitlines()}
    assert "guider cfg" in lines["cfg"]
    assert "guideplug-jest 0.1.0" in lines["jest"]
    assert "selector" in lines["jest"]
    assert "early-jest" in lines["jest"]
    assert "denoiser tree-mlp" in lines["tree"]


def test_plugins_list_as_json(cli: Any) -> None:
    found = cli.json("plugins", "list", "--plugin", TOY)
    plugins = {plugin["name"]: plugin for plugin in found["plugins"]}
    assert found["conflicts"] == []
    assert {"kind": "sampler", "name": "heun"} in plugins["edm"]["offers"]
    assert {"kind": "task", "name": "toy"} in plugins["toy"]["offers"]
    assert plugins["toy"]["origin"] == str(TOY)
    assert all(plugin["broken"] is None for plugin in plugins.values())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("raise RuntimeError('no licence')\n", "RuntimeError: no licence in guideplug_faulty.py, line 1"),
        ("GUIDEPLUG_API = 99\n", "plugin API 99"),
        ("from guideplug import hook\n@hook\ndef guideplug_guidres():\n    return []\n", "guideplug_guidres"),
    ],
)
def test_a_broken_installed_plugin_is_listed_and_stops_only_who_asks_for_it(
    cli: Any, content: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    info = site / "guideplug_faulty-2.0.dist-info"
    info.mkdir(parents=True)
    (site / "guideplug_faulty.py").write_text(content)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guideplug-faulty\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[guideplug]\nfaulty = guideplug_faulty\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "guideplug_faulty", raising=False)
    (line,) = [line for line in cli("plugins", "list").stdout.splitlines() if "BROKEN" in line]
    assert "guideplug-faulty 2.0" in line
    assert reason in line
    (entry,) = [item for item in cli.json("plugins", "list")["plugins"] if item["broken"]]
    assert entry["name"] == "faulty"
    assert reason in cli("plugins", "show", "faulty").stdout
    asked = cli.error("run", "--guider", "faulty-guider")
    assert "'faulty' is broken" in asked
    assert reason in asked
    cli("explain", "cfg")
    monkeypatch.delitem(sys.modules, "guideplug_faulty", raising=False)


@pytest.mark.parametrize(
    ("classifiers", "expected"),
    [
        (["Development Status :: 3 - Alpha"], "experimental"),
        (["Typing :: Typed", "Development Status :: 4 - Beta"], "maintained"),
        (["Development Status :: 5 - Production/Stable"], "maintained"),
        (["Development Status :: 7 - Inactive"], "inactive"),
        (["Development Status :: of its own"], "unstated"),
        ([], "unstated"),
    ],
)
def test_the_status_of_a_plugin_is_of_its_metadata(
    cli: Any, classifiers: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "guideplug_foreign-2.0.dist-info"
    info.mkdir()
    (tmp_path / "guideplug_foreign.py").write_text(
        "from guideplug import hook\n@hook\ndef guideplug_presets():\n    return {'guider': {'abroad': 'cfg'}}\n"
    )
    lines = ["Metadata-Version: 2.1", "Name: guideplug-foreign", "Version: 2.0"]
    (info / "METADATA").write_text("\n".join([*lines, *(f"Classifier: {text}" for text in classifiers)]) + "\n")
    (info / "entry_points.txt").write_text("[guideplug]\nforeign = guideplug_foreign\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "guideplug_foreign", raising=False)
    statuses = {plugin["name"]: plugin["status"] for plugin in cli.json("plugins", "list", "--plugin", TOY)["plugins"]}
    assert statuses["foreign"] == expected
    assert (statuses["core"], statuses["toy"]) == ("core", "local")
    (line,) = [line for line in cli("plugins", "list").stdout.splitlines() if line.startswith("foreign ")]
    assert line.split()[1] == expected
    assert f"from guideplug-foreign 2.0 (status: {expected})" in cli("plugins", "show", "abroad").stdout
    monkeypatch.setenv("GUIDEPLUG_DISABLE", "foreign")
    (line,) = [line for line in cli("plugins", "list").stdout.splitlines() if line.startswith("foreign ")]
    assert line.split()[1] == expected
    monkeypatch.delitem(sys.modules, "guideplug_foreign", raising=False)


def test_two_plugins_with_one_name_are_both_named(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "another_jest.py"
    path.write_text(
        "from collections.abc import Mapping\nfrom guideplug import hook\n"
        "@hook\ndef guideplug_presets():\n    return {'selector': {'jest': 'random'}}\n"
    )
    (line,) = [line for line in cli("plugins", "list", "--plugin", path).stdout.splitlines() if "conflict" in line]
    assert "selector jest" in line
    assert "jest and another_jest" in line


def test_plugins_show_has_options_defaults_and_sources(cli: Any) -> None:
    said = cli("plugins", "show", "heun").stdout
    assert "sampler heun, from guideplug-edm 0.1.0" in said
    assert "2206.00364" in said
    assert "num_steps (int; default 32): steps; at most 10,000" in said
    assert "data units" in said
    assert "a preset for early(jest)" in cli("plugins", "show", "early_jest").stdout
    shown = cli("plugins", "show", "tree").stdout
    assert "classes" in shown
    assert "  metric inside outline (fidelity; better: higher): share of samples with log p(x) >= -1.597\n" in shown


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "blend",
            [
                "guiders (several Guider; default [cfg(",
                "shares (several float or WeightSchedule, or none; default none)",
            ],
        ),
        ("tree", ["classes (one of A, B, both; "]),
        ("heun", ["sigma_min (float, or none, data units; default none)"]),
        ("train", ["models (Recipe by name; ", "selector (Selector, or none; "]),
        ("fine-tune", ["on (Recipe or Task; required)"]),
    ],
)
def test_types_are_said_in_words(cli: Any, name: str, said: list[str]) -> None:
    text = cli("plugins", "show", name).stdout
    assert all(words in text for words in said), text


def test_plugins_show_as_json(cli: Any) -> None:
    found = cli.json("plugins", "show", "jest")
    assert [plugin["name"] for plugin in found["plugins"]] == ["jest"]
    (jest,) = [item for item in found["strategies"] if item["name"] == "jest"]
    options = {option["name"]: option for option in jest["options"]}
    assert options["filter_ratio"]["default"] == "0.8"
    assert not options["filter_ratio"]["required"]
    assert options["filter_ratio"]["help"]
    early = cli.json("plugins", "show", "early")
    assert [option["required"] for option in early["strategies"][0]["options"]] == [True, False]
