"""The published schemas: every file that a run, a comparison and a study leave is one of theirs, and nothing besides;
so is what ``guideplug evaluate --json`` prints.

``python tests/test_schemas.py`` rewrites docs/file-formats.md from them.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from guideplug.cli.main import main

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "guideplug" / "schemas"
PAGE = ROOT / "docs" / "file-formats.md"
TOY = Path(__file__).parent / "cli" / "toy.py"
KINDS = {
    r"config\.toml": "config",
    r"run\.json": "run",
    r"metrics\.json": "metrics",
    r"words\.json": "words",
    r"events\.jsonl": "events",
    r"denoisers/[\w-]+\.json": "network",
    r"weights\.toml": "config",
    r"weights\.json": "weights",
    r"compare\.toml": "compare-config",
    r"compare\.json": "compare",
    r"costs\.json": "costs",
    r"cells/\d+-\d+-\d+\.json": "cell",
    r"study\.toml": "study-config",
    r"study\.json": "study",
    r"trials/\d+\.json": "trial",
    r"(store/)?[0-9a-f]{64}/entry\.json": "entry",
    r"guideplug\.toml": "project",
    r"imports/[\w-]+\.json": "sheet",
}
"""What each file is, by its path in the folder."""
PRINTED = ("evaluate", "evaluate-images")
"""What commands print."""
FEATURES = """
def features(images):
    return images.float().flatten(1)[:, :7]
"""
FAILING = """
@final
@frozen
class Unlucky(Metric):
    "A metric that fails."
    name = "unlucky"
    better, aspect, formula = "lower", "fidelity", "none"
    def applies(self, task):
        return task.name == "toy"
    def measure(self, arm, context):
        raise RuntimeError("no such luck")
@hook
def guideplug_metrics():
    return [Unlucky]
"""


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def contents(path: Path) -> Iterator[Any]:
    """The values in a file, one of each line of a log."""
    text = path.read_text()
    if path.suffix == ".toml":
        yield tomllib.loads(text)
    elif path.suffix == ".jsonl":
        yield from map(json.loads, text.splitlines())
    else:
        yield json.loads(text)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What tiny ones of each kind left."""
    root = tmp_path_factory.mktemp("folders")
    toy = ["--plugin", str(TOY), "--device", "cpu"]
    arms = ["--task", "toy", "--batch", "16", "--duration", "40it", "--samples", "64"]
    jest = "jest(num_chunks=2)"
    commands = {
        "run": [
            "run", *toy, *arms, "--guider", "autoguidance", "--selector", jest, "--preview", "every=20it,samples=4",
            "--measure", "every=20it,samples=4",
        ],
        "again": [
            "run", *toy, *arms[2:], "--task", "toy(labels=true)", "--selector", f"early({jest}, until=8it)", "--set",
            "train.precision=fp16",
        ],
        "sampled": ["sample", str(root / "run"), "--guider", "none"],
        "swept": ["sample", str(root / "run"), "--guider", "autoguidance(weight=1:2:1)", "--samples", "8"],
        "compared": [
            "compare", *toy, *arms, "--guider", "none", "--guider", "autoguidance", "--selector", "none", "--selector",
            jest, "--seeds", "0,1", "--snapshots", "2",
        ],
        "studied": ["study", "toy-widths", *toy],
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUIDEPLUG_STORE", str(root / "store"))
        patch.setenv("GUIDEPLUG_TRUSTED", str(root / "trusted"))
        for name, command in commands.items():
            done = CliRunner().invoke(main, [*command, "--out", str(root / name)])
            assert done.exit_code == 0, done.output
    return {name: root / name for name in (*commands, "store")}


@pytest.mark.slow
def test_every_file_of_data_is_as_its_schema_says(folders: dict[str, Path]) -> None:
    met = set()
    for folder in folders.values():
        for path in folder.rglob("*"):
            if path.suffix not in (".json", ".jsonl", ".toml"):
                continue
            name = path.relative_to(folder).as_posix()
            kinds = [kind for pattern, kind in KINDS.items() if re.fullmatch(pattern, name)]
            assert len(kinds) == 1, f"{path}: no schema"
            check = jsonschema.Draft202012Validator(schema(kinds[0]))
            for value in contents(path):
                problems = [f"{one.json_path}: {one.message[:300]}" for one in check.iter_errors(value)]
                assert not problems, f"{name}: {problems[0]}"
                if kinds[0] == "events":
                    met.add(value["event"])
            met.add(kinds[0])
    events = {one["properties"]["event"]["const"] for one in schema("events")["anyOf"]}
    rare = {"checkpoint", "observer", "wait", "warning"}
    assert met >= {*KINDS.values(), *events - rare} - {"project", "sheet"}  # which users write, and imports


def images(path: Path, seed: int) -> Path:
    np.savez(path, first=np.random.default_rng(seed).integers(0, 256, (40, 4, 5, 3), dtype=np.uint8))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", PRINTED)
def test_what_evaluate_prints_is_as_its_schema_says(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    check = jsonschema.Draft202012Validator(schema(kind))
    met: set[str] = set()
    for arguments in dict(zip(PRINTED, (of_samples(folders, tmp_path), of_images(tmp_path)), strict=True))[kind]:
        done = CliRunner().invoke(main, ["evaluate", *map(str, arguments), "--json"])
        assert done.stdout, done.stderr
        value = json.loads(done.stdout)
        problems = [f"{one.json_path}: {one.message[:300]}" for one in check.iter_errors(value)]
        assert not problems, f"{arguments}: {problems[0]}"
        assert not check.is_valid({**value, "new": 1})
        met |= value.keys()
    assert met == schema(kind)["properties"].keys()


def of_samples(folders: dict[str, Path], folder: Path) -> Iterator[list[Any]]:
    """Samples of a task: a run's, with a figure; and such that a metric fails."""
    samples = folders["run"] / "samples.npz"
    yield [samples, "--plugin", TOY, "--task", "toy", "--figure", folder / "drawn.png"]
    (folder / "failing.py").write_text(TOY.read_text() + FAILING)
    yield [samples, "--plugin", folder / "failing.py", "--task", "toy"]


def of_images(folder: Path) -> Iterator[list[Any]]:
    """Images beside statistics, beside images, with training images, in repeats, and without a reference."""
    (folder / "mine.py").write_text(FEATURES)
    samples, true = images(folder / "samples.npz", 0), images(folder / "true.npz", 1)
    options = [samples, "--features", f"python('{folder}/mine.py:features')"]
    yield [*options, "--statistics", folder / "own.npz"]
    yield [*options, "--reference", folder / "own.npz"]
    yield [*options, "--reference", true, "--train", true, "--repeats", 2, "--statistics", folder / "own.pkl"]


def test_a_key_without_a_schema_is_found(folders: dict[str, Path]) -> None:
    for name, kind in (("metrics.json", "metrics"), ("run.json", "run"), ("config.toml", "config")):
        (value,) = contents(folders["run"] / name)
        check = jsonschema.Draft202012Validator(schema(kind))
        assert not check.is_valid({**value, "new": 1})


def test_facts_of_a_training_are_all_described(folders: dict[str, Path]) -> None:
    known = schema("entry")["properties"]["facts"]["properties"]
    for path in folders["store"].rglob("entry.json"):
        (value,) = contents(path)
        assert value["facts"].keys() <= known.keys()


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_schemas_are_schemas(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(path.stem))
    assert path.stem in (*KINDS.values(), *PRINTED)


# The page


def described(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key of a schema, the type of its value, and what it is."""
    for key, inner in value.get("properties", {}).items():
        here = f"{path}.{key}" if path else key
        yield here, kind_of(inner), inner.get("description", "")
        yield from described(inner, here)
    for key, mark in (("additionalProperties", ".*"), ("items", "[]")):
        inner = value.get(key)
        if isinstance(inner, dict):
            yield from described(inner, f"{path}{mark}" if path else "*")
    if not path:
        for one in value.get("anyOf", ()):
            yield f"event {one['properties']['event']['const']}", "object", one["description"]
            yield from (row for row in described(one) if row[0] not in ("event", "time"))


def kind_of(value: dict[str, Any]) -> str:
    """The type of a value in words."""
    if "enum" in value:
        return ", ".join(map(str, value["enum"]))
    kinds = value.get("type", "any")
    words = {"null": "null", "array": "list"}
    return " or ".join(words.get(kind, kind) for kind in (kinds if isinstance(kinds, list) else [kinds]))


def written() -> str:
    """docs/file-formats.md."""
    lines = [
        "# File formats",
        "",
        "What runs, comparisons, studies and the store write, and what evaluate prints as JSON, every key of it.",
        "Seconds are wall-clock seconds, times are seconds since 1970. JSON Schemas (draft 2020-12) of all of it",
        "lie in the package, in `guideplug/schemas`; this page is made from them. A name after a dot is a key,",
        "`.*` any name (a role, an arm, a metric), `[]` an",
        "item of a list. Tensors are in [safetensors](https://github.com/huggingface/safetensors) files, samples in",
        "`.npz`; both are read without executing anything ([security](security.md)).",
        "",
    ]
    for kind in dict.fromkeys((*KINDS.values(), *PRINTED)):
        found = schema(kind)
        lines += [
            f"## {found['title']}",
            "",
            f"{found['description']} Schema: `{kind}.json`.",
            "",
            "| key | value | what |",
        ]
        lines += ["|---|---|---|", *(f"| `{key}` | {value} | {what} |" for key, value, what in described(found)), ""]
    return "\n".join(lines)


def test_the_page_of_formats_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == written(), "run python tests/test_schemas.py"


def test_the_schemas_are_in_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "schemas/*.json" in project["tool"]["setuptools"]["package-data"]["guideplug"]


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
