"""What `guideplug compare --dry-run` prints, and what it says of comparisons that can give nothing."""

import re
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).with_name("toy.py")
TOYS = ("--plugin", TOY, "--task", "toy", "--device", "cpu")


@pytest.mark.slow
def test_a_dry_run_counts_what_the_store_has(cli: Any) -> None:
    arms = (*TOYS, "--selector", "none", "--selector", "toy-half", "--guider", "autoguidance")
    arms = (*arms, "--snapshots", "2")
    told = cli("compare", *arms, "--seeds", "0,1", "--dry-run").stdout
    each = "2 snapshots each, measured at 20, 40 and the budgets"
    assert f"# 4 trainings of 40 iterations, {each}; none of them in the store already" in told
    assert "# 2 trainings of references and guides; none of them in the store already" in told
    assert "# up to 8 times 32 samples to measure" in told
    assert re.search(r"# training takes about \d+ s in one process here; ", told)
    assert cli.files() == set()
    cli("compare", *arms, "--seeds", "0", "--out", "run")
    plan = cli.json("compare", *arms, "--seeds", "0,1", "--dry-run")
    assert plan["trainings"] == {"count": 4, "found": 2, "other_snapshots": 0, "iterations": 40}
    assert plan["references_and_guides"] == {"count": 2, "found": 1}
    assert (plan["measurements"], plan["samples"], plan["notes"]) == (8, 32, [])
    assert plan["config"]["selectors"] == ["none", "toy-half"]
    told = cli("compare", *arms, "--seeds", "0,1", "--dry-run", "--jobs", "2").stdout
    assert "measured at 20, 40 and the budgets; 2 of them in the store already" in told
    assert "# 2 trainings of references and guides; 1 of them in the store already" in told
    told = cli("compare", *arms[:-1], "4", "--seeds", "0", "--dry-run").stdout
    assert "# 2 trainings in the store with other snapshots: done once more for these" in told
    told = cli("compare", *arms, "--seeds", "0", "--out", "again").stdout
    assert "trainings: 2 of 2, 2 found in the store" in told


def test_one_arm_and_one_seed_are_told_before_any_work(cli: Any) -> None:
    seed, arm = "one seed: no interval can be given; give --seeds 0,1,2", "one arm: there is nothing to compare it with"
    told = cli("compare", *TOYS, "--snapshots", "1", "--out", "run").stdout
    assert told.startswith(f"{seed}\n{arm}")
    assert "1 seeds" not in told
    assert (
        "no curves: one snapshot per arm; give --snapshots 8\npage: run/report.html\nfolder: run (tables.md, " in told
    )
    assert not Path("run/figures").exists()
    told = cli("compare", *TOYS, "--dry-run").stdout
    assert f"# {seed}\n# {arm}" in told
    told = cli("compare", *TOYS, "--dry-run", "--seeds", "0,1", "--selector", "none", "--selector", "random").stdout
    assert seed not in told
    assert arm not in told
