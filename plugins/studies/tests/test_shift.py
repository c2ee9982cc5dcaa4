"""The study of a shift: its trials, what it says of numbers made up for the purpose, its figure, and a tiny whole."""

import csv
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from torch import nn

from guideplug import Findings, Measured, Registry
from guideplug.cli.main import main
from guideplug.experiments.studies import planned
from guideplug_studies import Shift

TINY = "shift(omegas=[0, 1], seeds=[0, 1], duration=6it, budget=2it, batch=32, count=64, samples=256, steps=3)"


def findings(shares: dict[tuple[str, float], float], quality: dict[tuple[str, float], float]) -> Findings:
    """Three seeds, a little apart; the same for both metrics."""
    rows = [
        Measured(
            {"auxiliary": kind, "omega": omega, "seed": seed},
            None,
            {
                "inside": 0.9 + 0.02 * omega - 0.001 * seed,
                "class-0-share": share + 0.01 * seed,
                "class-mmd": quality[kind, omega] + 0.0001 * seed * seed,
            },
            {"class-0-share": 0.5, "class-mmd": 0.0, "inside": 0.98},
            1.0,
            lambda: None,
            list,
            lambda role: nn.Identity(),
        )
        for (kind, omega), share in shares.items()
        for seed in range(3)
    ]
    return Findings(rows, {"class-0-share": "truth", "class-mmd": "lower", "inside": "higher"})


def grown(quality: tuple[float, float, float] = (0.02, 0.01, 0.05)) -> Findings:
    shares = {("mirrored", 0.0): 0.49, ("mirrored", 1.0): 0.65, ("mirrored", 2.0): 0.75, ("unchanged", 1.0): 0.5,
              ("unchanged", 2.0): 0.5, ("auxiliary", 0.0): 0.33}  # fmt: skip
    bad = dict(zip(list(shares)[:3], quality, strict=True))
    return findings(shares, {key: bad.get(key, 0.02 + 0.001 * key[1]) for key in shares})


STUDY = Shift(omegas=(0.0, 1.0, 2.0), seeds=(0, 1, 2))


def test_two_auxiliaries_that_differ_in_their_share_alone() -> None:
    trials = Shift(omegas=(0.0, 1.0, 2.0), seeds=(3, 4)).trials()
    assert len(trials) == 2 * (1 + 2 + 2 + 1)
    by = {tuple(trial.axes.values()): trial.run for trial in trials}
    shifted, control = (by[kind, 2.0, 4]["models"]["synthetic"] for kind in ("mirrored", "unchanged"))  # type: ignore[index]
    assert "share=0.3, group=0" in shifted
    assert control == shifted.replace("share=0.3,", "share=0.5,")
    assert len(Shift(omegas=(0.0, 1.0), seeds=(3,), control=False).trials()) == 3


def test_the_defaults_can_be_carried_out_with_three_networks_a_seed() -> None:
    plan = planned(Shift(seeds=(0, 1)), Registry.installed(), {"device": "cpu", "threads": 1})
    assert {type(config.task).__name__ for config in plan.configs} == {"Mixture"}
    assert len(plan.networks) == 2 * 3  # the auxiliary by itself is the one that guides


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 1.2}, "'?target"),
        ({"base": 0.0}, "'?base"),
        ({"base": 0.3, "target": 0.7}, "target is 0.7, and base 0.3: the mirrored share would be -0.1"),
        ({"target": 0.5}, "target is 0.5, which is base"),
        ({"omegas": (0.0, -0.5)}, "omegas has -0.5: omega is finite and at least 0"),
        ({"omegas": (1.0, 2.0)}, r"omegas are \[1.0, 2.0\]: give 0"),
        ({"omegas": ()}, r"omegas are \[\]: give 0"),
        ({"seeds": ()}, "seeds is empty"),
    ],
)
def test_options_that_fit_no_experiment_are_refused_in_a_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        Shift(**options)


def test_exact_scores_would_reach_the_target_at_one() -> None:
    assert [Shift().expected(omega) for omega in (0.0, 1.0)] == pytest.approx([0.5, 0.7])
    assert Shift(base=0.4, target=0.6).expected(0.0) == pytest.approx(0.4)
    assert Shift().expected(3.0) == pytest.approx(0.7**3 / (0.7**3 + 0.3**3))


def test_what_it_says_follows_from_the_numbers() -> None:
    said = "\n".join(STUDY.report(grown()).sentences)
    assert "the share grows with omega: 0.500 at 0, 0.660 at 1, 0.760 at 2" in said
    # From 0.65, 0.66, 0.67 at 1 by 0.1 a unit.
    assert "the target 0.7 is reached in 3 of 3 seeds, at omega 1.40 ± 0.08" in said
    assert "share of 0.340, of 0.3 to learn" in said
    assert "class-mmd at omega 1, the nearest to the target" in said
    assert "the omega that is best for class-mmd is that for the share, 1" in said
    assert "the omega that is best for inside is 2, for the share 1" in said
    other = "\n".join(STUDY.report(grown((0.01, 0.05, 0.02))).sentences)
    assert "the omega that is best for class-mmd is 0: no strength is better than the base" in other


def test_a_share_that_goes_back_and_a_target_out_of_reach_are_told() -> None:
    found = findings(
        {("mirrored", 0.0): 0.5, ("mirrored", 1.0): 0.6, ("mirrored", 2.0): 0.55, ("auxiliary", 0.0): 0.3},
        {("mirrored", 0.0): 0.1, ("mirrored", 1.0): 0.1, ("mirrored", 2.0): 0.1, ("auxiliary", 0.0): 0.1},
    )
    said = Shift(omegas=(0.0, 1.0, 2.0), seeds=(0, 1, 2), control=False).report(found).sentences
    assert said[0].startswith("the share grows with omega, but not at every step")
    assert said[1] == "the target 0.7 is reached in 0 of 3 seeds"


def test_its_figure_is_drawn(tmp_path: Path) -> None:
    STUDY.report(grown()).figures["shift"](tmp_path / "s.png")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_it_runs_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(main, ["study", TINY, "--device", "cpu", "--out", "s"], prog_name="guideplug")
    assert result.exit_code == 0, result.output
    trials = list(csv.DictReader(Path("s/trials.csv").read_text().splitlines()))
    assert len(trials) == 2 * (1 + 1 + 1 + 1)
    assert all(0 <= float(row["class-0-share"]) <= 1 for row in trials)
    assert Path("s/shift.png").is_file()


def test_numbers_keep_all_their_digits() -> None:
    study = Shift(base=0.4, target=0.51234567, omegas=(0.0, 1.2345678), seeds=(0,), lr=0.00041234567)
    run = study.trials()[1].run
    assert run["guider"] == "sims(omega=1.2345678)"
    assert run["task"] == "mixture(classes=2, labels=false, shares=[0.4, 0.6])"
    assert "share=0.28765433," in run["models"]["synthetic"]  # type: ignore[index]
    assert "lr=0.00041234567," in run["models"]["synthetic"]  # type: ignore[index]
