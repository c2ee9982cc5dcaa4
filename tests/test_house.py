"""The tests' own rooms: no file over 500 lines, and each stands where the file stands that it tests."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS, CORE = ROOT / "tests", ROOT / "guideplug"
MOST_LINES = 500

NO_WINGS = {"api", "benchmarks", "durability", "kept", "safety", "verdicts"}
"""Folders of promises that no single wing keeps, of what older versions wrote, and of measurements."""

OF_MANY_FILES = {
    "adapters": {"diffusers", "model_families", "scenarios"},
    "cli": {
        "along_a_training", "animation", "bad_checkpoints", "bad_files", "bad_folders", "bad_input", "bad_plugins",
        "bundle", "failed_parts", "full_runs", "kept", "observers",
        "once", "other_code", "own_network", "printed_commands", "project", "read_once", "run", "sample", "travel",
        "tried_first",
    },
    "cli/scaffold": {"tutorial"},
    "config": {"fuzz"},
    "report": {"browser"},
    "files/checkpoints": {"hostile", "memory"},
    "run": {"current_folder"},
    "store/source": {"another_network", "plugins"},
    ".": {
        "affine_guiders", "boundaries", "composition", "doc_blocks", "docs", "guider_trees", "house", "pictures",
        "reference", "renamed", "studies", "ten_minutes",
    },
}  # fmt: skip
"""Tests of a promise that many files of a wing keep together, or of the whole: named after the promise."""


def files() -> Iterator[Path]:
    """Every Python file of the tests, plugins' included."""
    for folder in (TESTS, *(ROOT / "plugins").glob("*/tests")):
        yield from sorted(folder.rglob("*.py"))


def follows(name: str, files: set[str]) -> bool:
    """Whether a test's name is that of a file, or of one aspect of it: ``builder``, ``builder_stopped``."""
    return any(name == file or name.startswith(f"{file}_") for file in files)


def astray(tests: Path, core: Path, of_many: dict[str, set[str]]) -> list[str]:
    """The tests that stand in no wing of the package, or that no file of theirs is named after."""
    strays = []
    for path in sorted(tests.rglob("test_*.py")):
        folder = path.parent.relative_to(tests)
        if folder.parts[:1] and folder.parts[0] in NO_WINGS:
            continue
        wing, name = core / folder, path.stem.removeprefix("test_")
        rooms = {room.stem for room in wing.iterdir() if room.suffix in (".py", "")} if wing.is_dir() else set()
        if not follows(name, rooms | {wing.name} | of_many.get(folder.as_posix(), set())) or not wing.is_dir():
            strays.append(path.relative_to(tests).as_posix())
    return strays


def test_no_file_of_tests_is_too_long() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    assert len(counts) > 100
    too_long = {str(path.relative_to(ROOT)): count for path, count in counts.items() if count > MOST_LINES}
    assert not too_long, f"over {MOST_LINES} lines: each holds tests of two things"


def test_each_test_stands_where_the_file_stands_that_it_tests() -> None:
    assert not astray(TESTS, CORE, OF_MANY_FILES), (
        "name each after its file, or list it in OF_MANY_FILES with the promise"
    )


def test_no_exception_is_left_over() -> None:
    for folder, names in OF_MANY_FILES.items():
        for name in names:
            assert (TESTS / folder / f"test_{name}.py").is_file(), f"tests/{folder}/test_{name}.py is gone"


def test_a_stray_is_seen(tmp_path: Path) -> None:
    for name in ("core/run/builder.py", "t/run/test_builder.py", "t/run/test_builder_stopped.py", "t/run/test_run.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert astray(tmp_path / "t", tmp_path / "core", {}) == []
    for name in ("t/run/test_building.py", "t/gone/test_builder.py", "t/test_else.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert astray(tmp_path / "t", tmp_path / "core", {}) == [
        "gone/test_builder.py",
        "run/test_building.py",
        "test_else.py",
    ]
    assert astray(tmp_path / "t", tmp_path / "core", {"run": {"building"}, ".": {"else"}}) == ["gone/test_builder.py"]
