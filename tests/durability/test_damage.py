"""A file that is deleted, cut or changed while nobody looks: what stood on it is made again or refused, never used."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import COMMANDS, Moments, Nursery, Place, check_whole, outcome, same

pytestmark = pytest.mark.slow


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def copied(place: Place, root: Path) -> Place:
    shutil.copytree(place.root, root, dirs_exist_ok=True)
    return Place(place.nursery, root)


def refused(place: Place, name: str, words: str) -> None:
    child = place.start(name, "--resume", "out")
    assert child.wait() in (1, 2, 3), child.said  # 3: what else there is was reported
    assert "Traceback" not in child.said
    (line,) = [line for line in child.said.splitlines() if line.startswith("error: ")]
    assert words in line


@pytest.fixture(scope="module")
def training(nursery: Nursery, run: Moments, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run that was killed while it trained: its guide is done, an average is stored, and so is a state."""
    place = Place(nursery, tmp_path_factory.mktemp("training"))
    at = [number for number, name in enumerate(run.names, 1) if name == "after step of main"][40]
    assert place.go_on(COMMANDS["run"], often=True, die=at).wait() == -9
    return place


@pytest.fixture(scope="module")
def sampled(nursery: Nursery, run: Moments, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run that was killed when it had drawn its samples."""
    place = Place(nursery, tmp_path_factory.mktemp("sampled"))
    at = run.names.index("before event measure") + 1
    assert place.go_on(COMMANDS["run"], often=True, die=at).wait() == -9
    return place


PARTIAL, ENTRY = "store/*.partial", "store/" + "[0-9a-f]" * 64
MADE_AGAIN: list[tuple[str, str, Callable[[Path], None]]] = [
    ("training", "out/run.json", delete),
    ("training", "out/events.jsonl", delete),
    ("training", "out/events.jsonl", cut),
    ("training", "out/denoisers", delete),
    ("training", "store", delete),
    ("training", PARTIAL, delete),
    ("training", f"{PARTIAL}/state.safetensors", delete),
    ("training", f"{PARTIAL}/snapshot-24it-ema0.05.safetensors", delete),
    ("training", f"{PARTIAL}/snapshot-24it-ema0.05.safetensors", cut),
    ("training", f"{PARTIAL}/snapshot-24it-ema0.05.safetensors", change),
    ("sampled", "out/denoisers/main.safetensors", cut),
    ("sampled", "out/samples.npz", cut),
    ("sampled", "out/figures", delete),
]
REFUSED: list[tuple[str, str, Callable[[Path], None], str]] = [
    ("training", "out/config.toml", delete, "is not the folder of a run"),
    ("training", "out/config.toml", cut, "out"),
    ("training", "out/run.json", cut, "run.json is damaged"),
    ("training", f"{PARTIAL}/state.safetensors", cut, "store prune"),
    ("training", f"{PARTIAL}/state.safetensors", change, "store prune"),
    ("training", f"{ENTRY}/entry.json", delete, "store prune"),
    ("training", f"{ENTRY}/entry.json", cut, "store prune"),
    ("training", f"{ENTRY}/weights.safetensors", delete, "store prune"),
    ("training", f"{ENTRY}/weights.safetensors", change, "store prune"),
]


@pytest.mark.parametrize(("when", "target", "harm"), MADE_AGAIN, ids=lambda value: getattr(value, "__name__", value))
def test_it_is_made_again(
    request: Any, tmp_path: Path, run: Moments, when: str, target: str, harm: Callable[[Path], None]
) -> None:
    place = copied(request.getfixturevalue(when), tmp_path)
    (path,) = tmp_path.glob(target)
    harm(path)
    place.finish(COMMANDS["run"])
    same(outcome(place), run.expected)
    check_whole(place, log="events" not in target)


@pytest.mark.parametrize(
    ("when", "target", "harm", "words"), REFUSED, ids=lambda value: getattr(value, "__name__", value)
)
def test_it_is_refused_and_the_advice_helps(
    request: Any, tmp_path: Path, run: Moments, when: str, target: str, harm: Callable[[Path], None], words: str
) -> None:
    place = copied(request.getfixturevalue(when), tmp_path)
    (path,) = tmp_path.glob(target)
    harm(path)
    others = {file: file.read_bytes() for file in place.out.rglob("*") if file.is_file() and file.name != "run.json"}
    for file in ("events.jsonl", "checksums.sha256"):
        others.pop(place.out / file, None)
    refused(place, "run", words)
    assert {file: file.read_bytes() for file in others} == others
    if words == "store prune":
        identity = path.parent.name.removesuffix(".partial")
        assert place.start("store", "prune", identity, "--yes").wait() == 0
        place.finish(COMMANDS["run"])
        same(outcome(place), run.expected)
        check_whole(place)


def test_a_clock_that_goes_backwards(place: Place, run: Moments, training: Place, tmp_path: Path) -> None:
    """And files from the future: no decision is taken by either."""
    place = copied(training, tmp_path / "again")
    future = time.time() + 10**8
    for path in place.root.rglob("*"):
        os.utime(path, (future, future))
    child = place.go_on(COMMANDS["run"], clock=3600.0)
    assert child.wait() == 0, child.said
    same(outcome(place), run.expected)
    check_whole(place)


# Comparisons and studies


@pytest.fixture(scope="module", params=["compare", "study"])
def finished(request: Any, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Place]:
    place = Place(nursery, tmp_path_factory.mktemp(request.param))
    place.finish(COMMANDS[request.param])
    return request.param, place


FILES = {
    "compare": {"cells/0-0-16.json": ("is damaged", "remove it and resume"), "compare.toml": ("",)},
    "study": {
        "trials/0.json": ("is damaged",),
        "trials/0.npz": ("is damaged", "remove it and resume"),
        "study.toml": ("study.toml is damaged",),
    },
}


@pytest.mark.proof
def test_of_a_comparison_and_a_study(finished: tuple[str, Place], tmp_path: Path) -> None:
    name, whole = finished
    place = copied(whole, tmp_path)
    expected = outcome(whole)
    for file, words in FILES[name].items():
        path = place.out / file
        good = path.read_bytes()
        for harm in (cut,) if path.suffix == ".toml" else (cut, change):
            harm(path)
            for word in words:
                refused(place, name, word)
            path.write_bytes(good)
    for file in FILES[name]:
        if not file.endswith(".toml"):
            (place.out / file).unlink()
    place.finish(COMMANDS[name])
    same(outcome(place), expected)
    check_whole(place)
