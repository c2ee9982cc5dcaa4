"""plugins, explain, store, --help and --version."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guideplug.store import Entry, Store

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
    assert "num_steps (int; default 32): steps; 2 num_steps - 1 evaluations" in said
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
            ["guiders (several Guider; required)", "shares (several float or WeightSchedule, or none; default none)"],
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


# explain


BLENDED = "blend([cfg(weight=2), interval(autoguidance, low=0.1, high=2)])"
SHAPED = "interval(rescale(apg(cfg)), low=0.3)"


@pytest.mark.parametrize(
    ("guider", "sampler", "given"),
    [
        ("autoguidance(weight=2.5)", "heun(num_steps=4)", ()),
        ("autoguidance(weight=1)", "euler(num_steps=3)", ()),
        ("autoguidance(weight=0)", "heun(num_steps=3, churn=1)", ()),
        ("autoguidance", "heun(num_steps=3)", ("--model", "weak=main")),
        ("cfg", "heun(num_steps=3)", ()),
        ("cfg", "heun(num_steps=3)", ("--model", "unconditional=train(denoiser=toy-net(width=4))")),
        ("cfg(weight=0)", "toy-steps(num_steps=5)", ()),
        ("toy-bringing", "toy-steps", ()),
        (BLENDED, "heun(num_steps=7, churn=2)", ()),
        (SHAPED, "euler(num_steps=6)", ()),
    ],
)
def test_the_predicted_calls_are_those_counted(cli: Any, guider: str, sampler: str, given: tuple[str, ...]) -> None:
    asked = ("--task", "toy(labels=true)", "--sampler", sampler, *given)
    predicted = cli.json("explain", guider, "--plugin", TOY, *asked)
    counted = json.loads(
        cli.toy(*asked, "--guider", guider, "--duration", "2it", "--samples", "6", "--json").stdout
    )["evaluations"]["guided"]  # fmt: skip
    assert predicted["networks"].keys() == counted.keys()
    for role, counts in counted.items():
        assert counts["calls"] == predicted["networks"][role]["calls"]
        assert counts["outputs"] == 6 * predicted["networks"][role]["outputs"]


def test_explain_says_the_formula_the_source_and_the_cost(cli: Any) -> None:
    said = cli("explain", "autoguidance(weight=2.5)", "--sampler", "heun(num_steps=8)").stdout
    assert "D(x) = 2.5 main(x) - 1.5 weak(x)\n" in said
    assert "2406.02507" in said
    assert "heun(num_steps=8) on tree: 8 steps, 15 evaluations from sigma 5 to 0.002\n" in said
    assert "in all                15   15 calls   15 calls\n" in said
    assert "  main: train tree-mlp, 16,641 parameters\n" in said
    assert "  weak: train tree-mlp(hidden=32), 4,225 parameters\n" in said
    assert "30 outputs per sample in all, 2 times the 15 of main without guidance\n" in said
    batched = cli("explain", "cfg", "--task", "digits").stdout
    assert "1 call, 2 outputs\n" in batched
    off = cli("explain", "autoguidance(weight=1)").stdout
    assert "parameters; never called\n" in off
    assert "63 outputs per sample in all, as many as main without guidance\n" in off
    assert cli.files() == set()


def test_explain_says_where_what_is_skipped(cli: Any) -> None:
    lines = cli("explain", BLENDED, "--steps", "16").stdout.splitlines()
    head = next(index for index, line in enumerate(lines) if "evaluations   main" in line)
    parts = [[cell.strip() for cell in line.split("   ") if cell.strip()] for line in lines[head + 1 : head + 5]]
    assert [part[2:] for part in parts] == [
        ["1 call", "1 call", "skipped", "[0.1 < sigma <= 2] is 0"],
        ["1 call", "1 call", "1 call"],
        ["1 call", "1 call", "skipped", "[0.1 < sigma <= 2] is 0"],
        ["31 calls", "31 calls", parts[1][1] + " calls"],
    ]
    outside = 31 - int(parts[1][1])
    assert f"; skipped in {outside} of 31 evaluations" in "\n".join(lines)
    (high, _), (_, low) = (part[0].split(" to ") for part in (parts[0], parts[2]))
    assert (high, low) == ("5", "0.002")
    assert all(0.1 < float(level) <= 2 for level in parts[1][0].split(" to "))


def test_a_trajectory_of_many_parts_is_cut_short(cli: Any) -> None:
    guiders = ", ".join(f"interval(autoguidance, low={k / 10}, high={k / 10 + 0.05})" for k in range(1, 20))
    said = cli("explain", f"blend([{guiders}])", "--sampler", "euler(num_steps=300)").stdout
    assert len(said.splitlines()) < 30
    assert re.search(r"^ +\.\.\. +\d+ more parts: --json$", said, re.MULTILINE)


def test_explain_takes_the_networks_that_a_run_would_have(cli: Any) -> None:
    toy = ("--plugin", TOY, "--task", "toy")
    said = cli("explain", "cfg", *toy, "--denoiser", "toy-net(width=3)", "--model", "unconditional=main").stdout
    assert "D(x) = main(x)" in said
    assert "main: train toy-net(width=3), 29 parameters" in said
    error = cli.error("explain", "cfg", *toy, "--model", "weak=main")
    assert "--model weak: nothing in this run has a role 'weak'" in error


def test_explain_as_json(cli: Any) -> None:
    found = cli.json("explain", BLENDED, "--steps", "4", "--task", "toy", "--plugin", TOY, "--sampler", "heun",
                     "--model", "unconditional=main")  # fmt: skip
    assert found.keys() == {
        "guider", "formula", "source", "task", "sampler", "steps", "evaluations", "networks", "unguided", "trajectory",
    }  # fmt: skip
    assert (found["steps"], found["evaluations"], len(found["trajectory"])) == (4, 7, 7)
    assert found["unguided"] == {"calls": 7, "outputs": 7}
    for role, counts in found["networks"].items():
        each = [one["networks"].get(role) for one in found["trajectory"]]
        assert counts["skipped"] == each.count(None)
        assert counts["outputs"] == sum(one["outputs"] for one in each if one)
    for one in found["trajectory"]:
        inside = 0.1 < one["sigma"] <= 2
        assert ("weak" in one["networks"]) == inside
        assert one["off"] == ([] if inside else ["[0.1 < sigma <= 2]"])
    assert [one["toward"] for one in found["trajectory"]][-1] == 0


# store


def entries(cli: Any) -> list[Path]:
    return sorted(path for path in cli.store.iterdir() if len(path.name) == 64)


def test_an_empty_store(cli: Any) -> None:
    assert "is empty" in cli("store", "list").stdout
    assert cli.json("store", "list") == []
    assert cli.json("store", "verify") == {"entries": 0, "damaged": {}}
    assert "nothing to remove" in cli("store", "prune", "--all").stdout


def test_what_goes_on_from_another_network_is_listed_with_its_base(cli: Any) -> None:
    cli.toy("--guider", "sims(count=8)", "--duration", "2it", "--samples", "4", "--out", "run")
    whole = {item["recipe"]: item for item in cli.json("store", "list")}
    assert whole["synthetic"]["task"] == whole["train"]["task"]
    assert whole["synthetic"]["denoiser"] == whole["fine-tune"]["denoiser"] == whole["train"]["denoiser"] is not None
    lines = cli("store", "list").stdout
    assert " of - " not in lines
    assert " with -" not in lines
    assert f"fine-tune of samples of {whole['train']['task']} with {whole['train']['denoiser']}, seed" in lines


def test_a_store_is_listed_verified_and_pruned(cli: Any) -> None:
    cli.toy("--guider", "autoguidance")
    said = cli("store", "list").stdout
    assert "train of toy(labels=false) with toy-net(width=8), seed 0, 40 iterations" in said
    listed = cli.json("store", "list")
    assert sorted(item["iterations"] for item in listed) == [10, 40]
    assert "2 of 2 entries are whole" in cli("store", "verify").stdout

    identity = listed[0]["identity"]
    assert f"would remove {identity[:12]} (chosen)" in cli("store", "prune", identity[:8], "--dry-run").stdout
    assert len(entries(cli)) == 2
    assert f"removed {identity[:12]}" in cli("store", "prune", identity[:8]).stdout
    assert [path.name for path in entries(cli)] == [listed[1]["identity"]]
    assert "nothing to remove" in cli("store", "prune", "--older", "1").stdout
    assert "no entry begins with 'zz'" in cli.error("store", "prune", "zz", code=1)
    cli("store", "prune", "--all")
    assert entries(cli) == []


@pytest.mark.parametrize("how", ["weights", "record", "gone"])
def test_a_damaged_entry_is_found_refused_and_pruned(cli: Any, how: str) -> None:
    cli.toy("--out", "one")
    (entry,) = entries(cli)
    weights = entry / "weights.safetensors"
    if how == "weights":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(bytes(data))
    elif how == "record":
        (entry / "entry.json").write_text("{")
    else:
        weights.unlink()
    result = cli("store", "verify", code=1)
    assert f"{entry.name[:12]}  damaged: " in result.stdout
    assert "0 of 1 entries are whole" in result.stdout
    assert json.loads(cli("store", "verify", "--json", code=1).stdout)["damaged"].keys() == {entry.name}
    cli("store", "list")
    line = cli.toy(code=1).stderr
    assert "guideplug store prune --damaged" in line
    assert f"removed {entry.name[:12]} (damaged)" in cli("store", "prune", "--damaged").stdout
    assert "trained main" in cli.toy("--out", "two").stdout


def test_what_an_unfinished_training_left_is_listed_and_pruned(cli: Any) -> None:
    cli.toy()
    left = cli.store / f"{'a' * 64}.partial"
    left.mkdir()
    (left / "state.safetensors").write_bytes(b"")
    assert "aaaaaaaaaaaa  unfinished training" in cli("store", "list").stdout
    assert "1 of 1 entries are whole" in cli("store", "verify").stdout
    assert "removed aaaaaaaaaaaa (unfinished)" in cli("store", "prune", "--partial").stdout
    assert not left.exists()
    assert len(entries(cli)) == 1


# What must be quick

COMMANDS = ["", "run", "sample", "explain", "plugins", "plugins list", "plugins show", "plugins check", "completion",
            "store", "store list",
            "store verify", "store prune"]  # fmt: skip


def test_help_and_version_do_not_import_torch() -> None:
    program = (
        "import sys\nfrom click.testing import CliRunner\nfrom guideplug.cli import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    for flag in ('--help', '-h'):\n"
        "        result = CliRunner().invoke(main, [*command.split(), flag])\n"
        "        assert result.exit_code == 0 and 'Usage:' in result.stdout, (command, result.output)\n"
        "result = CliRunner().invoke(main, ['--version'])\n"
        "assert result.stdout.startswith('guideplug, version '), result.output\n"
        "heavy = {'torch', 'numpy', 'matplotlib', 'rich', 'sklearn', 'ot'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_a_command_the_help_is_shown(cli: Any) -> None:
    said = cli(code=None)
    assert "Usage:" in said.output
    for command in ("run", "sample", "plugins", "explain", "store"):
        assert command in said.output


def test_prune_leaves_what_a_run_works_on(cli: Any) -> None:
    cli.toy("--out", "out", "--duration", "4it")
    (entry,) = Store(cli.store).entries()
    assert isinstance(entry, Entry)
    with Store(cli.store).locked(entry.identity):
        assert "a run is working on it" in cli("store", "prune", "--all").stdout
    assert entry.folder.is_dir()
    cli("store", "prune", "--all")
    assert not entry.folder.exists()
