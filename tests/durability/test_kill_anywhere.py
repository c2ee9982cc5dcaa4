"""A quick pass of killing at any moment; the long one is `python tests/durability/harness.py`."""

import random
from pathlib import Path

import pytest
from harness import COMMANDS, Moments, Nursery, Place, check_log, tries

QUICK = {"run": (4, 1), "compare": (1, 1), "study": (1, 1)}
"""Points and random times of each command."""


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(nursery: Nursery, name: str, tmp_path: Path) -> None:
    points, times = QUICK[name]
    seed = random.SystemRandom().randrange(10**6)
    log: list[str] = [f"seed {seed}"]
    try:
        kills = sum(tries(nursery, name, tmp_path, points=points, times=times, seed=seed, say=log.append))
    except AssertionError as error:
        raise AssertionError("\n".join([*log, str(error)])) from error
    assert kills >= points


@pytest.mark.slow
def test_the_moments_lie_in_every_phase(run: Moments) -> None:
    phases = {
        "make out", "rename to config.toml", "event train", "step of weak", "step of main",
        "rename to state.safetensors", "rename to snapshot-24it-ema0.15.safetensors", "rename to entry.json",
        "event sample", "rename to samples.npz", "event measure", "rename to toy.png", "rename to metrics.json",
        "event end", "line", "sync",
    }  # fmt: skip
    assert {f"{when} {phase}" for phase in phases for when in ("before", "after")} <= set(run.names)
    assert {"before remove state.safetensors", "after rename to run.json"} <= set(run.names)


LINE = '{"event": "step", "role": "main", "step": %d}\n'
END = '{"event": "trained", "role": "main", "step": 40}\n{"event": "sampled"}\n{"event": "end", "status": "finished"}\n'


def test_a_log_that_is_not_whole_is_noticed() -> None:
    good = LINE % 32 + LINE % 40 + END
    check_log(good)
    for bad in (LINE % 40 + END, LINE % 32 + good, good[:-1], good[:-1] + good, good.replace("40", "NaN")):
        with pytest.raises((AssertionError, ValueError)):
            check_log(bad)


@pytest.mark.slow
def test_a_folder_that_was_only_made_may_be_used(place: Place, run: Moments) -> None:
    """Killed before its first file is there: nothing can be resumed, and nothing is in the way."""
    at = run.names.index("before rename to config.toml") + 1
    assert place.go_on(COMMANDS["run"], often=True, die=at).wait() == -9
    left = {path.name for path in place.out.iterdir()}
    assert {"denoisers", "figures"} < left  # and half of the configuration
    assert place.start(*COMMANDS["run"], "--out", "out").wait() == 0
