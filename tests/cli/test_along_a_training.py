"""``guideplug run --preview --measure``: rows and pictures along the training, each once, and the same bits without."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

ALONG = ("--preview", "every=20it,samples=8", "--measure", "every=40it,samples=16,metrics=[distance]")
TINY = ("--duration", "96it", "--batch", "16", "--samples", "32")


def rows(folder: str) -> list[tuple[str, int, str]]:
    """The moments in the log: the event, its step, and its weights or its file."""
    found = []
    for line in Path(folder, "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] in ("preview", "training_metrics"):
            shown = Path(event["path"]).name if "path" in event else event["weights"]
            found.append((event["event"], event["step"], shown))
    return found


def weights(folder: str) -> bytes:
    return Path(folder, "denoisers", "main.safetensors").read_bytes()


EXPECTED = [
    ("preview", 20, "main-0001.png"),
    ("preview", 40, "main-0002.png"),
    ("training_metrics", 40, "raw"),
    ("training_metrics", 40, "ema0.05"),
    ("preview", 60, "main-0003.png"),
    ("preview", 80, "main-0004.png"),
    ("training_metrics", 80, "raw"),
    ("training_metrics", 80, "ema0.05"),
]


def test_rows_and_pictures_come_along_and_change_no_bit(cli: Any) -> None:
    cli.toy(*TINY, "--out", "without")
    cli.toy(*TINY, *ALONG, "--fresh", "--out", "with")
    assert weights("with") == weights("without")
    assert Path("with/samples.npz").read_bytes() == Path("without/samples.npz").read_bytes()
    assert rows("with") == EXPECTED
    assert {path.name for path in Path("with/previews").iterdir()} == {name for _, _, name in EXPECTED if "png" in name}
    assert tomllib.loads(Path("with/config.toml").read_text())["observers"] == [
        "preview(every=20it, samples=8, roles=[main])",
        "measure(every=40it, samples=16, metrics=[distance], roles=[main])",
    ]
    metrics = [json.loads(line) for line in Path("with/events.jsonl").read_text().splitlines()]
    (first, *_) = [event for event in metrics if event["event"] == "training_metrics"]
    assert list(first["values"]) == ["distance"]
    cli(
        "run", "with", "--fresh", "--measure", "every=48it,samples=4", "--out", "again"
    )  # the preview of the file stays
    assert {name for name, _, _ in rows("again")} == {"preview", "training_metrics"}  # that of the file stays
    assert [step for name, step, shown in rows("again") if shown == "raw"] == [48, 96]


@pytest.mark.parametrize(
    "interrupt",
    [
        "preview 2",
        "training_metrics 1",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("step 1", "step 2", "preview 4", "training_metrics 4")),
    ],
)
def test_a_run_that_goes_on_loses_and_repeats_no_row(cli: Any, monkeypatch: pytest.MonkeyPatch, interrupt: str) -> None:
    monkeypatch.setenv("TOY_INTERRUPT", interrupt)
    cli.toy(*TINY, *ALONG, "--observer", "toy-interrupting", "--out", "one", code=130)
    log = Path("one/events.jsonl")
    late = {"event": "preview", "time": 0.0, "role": "main", "step": 95, "path": "x", "weights": [], "samples": 2}
    log.write_text(log.read_text() + json.dumps({**late, "seconds": 0.1}) + "\n")  # of a process that was killed
    monkeypatch.delenv("TOY_INTERRUPT")
    cli("run", "--resume", "one")
    assert rows("one") == EXPECTED


def test_a_network_of_the_store_is_not_previewed_and_that_is_said(cli: Any) -> None:
    cli.toy(*TINY, "--out", "one")
    result = cli.toy(*TINY, *ALONG, "--out", "two")
    assert rows("two") == []
    assert "warning: preview has had no moment: every=20it" in result.stdout
    assert "warning: measure has had no moment: every=40it" in result.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--preview", "samples=8"), "every"),
        (("--preview", "every=0it"), "positive"),
        (("--measure", "every=5it,samples=1"), "samples"),
        (("--measure", "evry=5it"), "evry"),
        (("--preview", "every=5it,roles=[]"), "roles"),
    ],
)
def test_options_that_cannot_be_are_refused_before_any_work(cli: Any, options: tuple[str, str], words: str) -> None:
    before = cli.files()
    line = cli.error("run", "--task", "tree", *options)
    assert words in line
    assert cli.files() == before
