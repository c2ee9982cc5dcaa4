"""A comparison and a study that are resumed after their plugin was edited: no values of two codes are mixed."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiers import few

TOY = Path(__file__).with_name("toy.py")
METRIC = ("torch.cdist(arm.samples, CENTRES).min(1).values", "torch.cdist(arm.samples, CENTRES).max(1).values")
FIGURE = ("path.write_bytes(PNG)", "path.write_bytes(PNG + b'')  # as before")
STUDY = ("study", "toy-widths", "--device", "cpu")
COMPARISON = (
    "compare", "--task", "toy", "--device", "cpu", "--snapshots", "2", "--seeds", "0,1",
    "--guider", "none", "--guider", "autoguidance", "--selector", "none",
)  # fmt: skip


def measured(command: str) -> dict[str, Any]:
    """The values of every trial or cell, by file."""
    files = Path("out").glob("trials/*.json" if command == "study" else "cells/*.json")
    found = {file.name: json.loads(file.read_text()) for file in files}
    return {
        name: one.get("metrics") or {key: of["metrics"] for key, of in one["guiders"].items()}
        for name, one in found.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "what"), few([(STUDY, "trial"), (COMPARISON, "cell")], (STUDY, "trial")), ids=["study", "compare"]
)
def test_what_other_code_measured_is_measured_anew(arguments: tuple[str, ...], what: str, cli: Any) -> None:
    plugin = Path("mine.py")
    plugin.write_text(TOY.read_text())
    cli(*arguments, "--plugin", plugin, "--out", "out")
    before, networks = measured(arguments[0]), set(cli.store.iterdir())
    assert len(before) >= 2

    plugin.write_text(TOY.read_text().replace(*FIGURE))
    assert "anew" not in cli(arguments[0], "--resume", "out", "--plugin", plugin).output
    assert measured(arguments[0]) == before

    plugin.write_text(TOY.read_text().replace(*METRIC))
    assert "anew" not in cli(arguments[0], "--resume", "out").output  # with the folder's own code
    said = cli(arguments[0], "--resume", "out", "--plugin", plugin).output
    assert f"warning: {len(before)} {what}s were measured with other code of " in said
    assert "and are measured anew" in said
    assert set(cli.store.iterdir()) == networks, "a network was trained anew"
    after = measured(arguments[0])
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)
    assert "anew" not in cli(arguments[0], "--resume", "out").output
