"""Recipes that train by themselves, killed: `learned`'s fit at ten points, and what `guideplug new` writes."""

from pathlib import Path

import pytest
from harness import SMALL, Moments, Nursery, Place, check_whole, outcome, same

from guideplug.cli.scaffold import write_plugin

pytestmark = pytest.mark.slow

COMMON = ("--set", "threads=1", "--duration", "2it", "--samples", "16")


def command_of(which: str, folder: Path) -> tuple[tuple[str, ...], str]:
    """A tiny run with such a recipe, and the role that it is for."""
    if which == "learned":
        fit = ("iterations=10", "batch=8", "width=4", "particles=2")
        sets = [part for option in fit for part in ("--set", f"models.weights.{option}")]
        guider = ("--guider", "learned(autoguidance)")
        return ("run", *SMALL, "--task", "toy", *guider, *COMMON, *sets), "weights"
    plugin = str(write_plugin("mine", "recipe", folder / "mine")[0])
    model = ("--model", "main=mine(steps=6, batch=8)")
    return ("run", *SMALL, "--plugin", plugin, "--task", "toy", *model, *COMMON), "main"


@pytest.mark.proof
@pytest.mark.parametrize(("which", "kills"), [("learned", 10), ("scaffold", 4)])
def test_killed_at_any_point_a_loop_of_its_own_goes_on_to_the_same_bits(
    nursery: Nursery, which: str, kills: int, tmp_path: Path
) -> None:
    command, role = command_of(which, tmp_path)
    moments = Moments.of(nursery, command, tmp_path / "undisturbed")
    names = moments.names
    first = names.index(f"before progress of {role}") + 1
    last = len(names) - names[::-1].index(f"after progress of {role}")
    points = [first + (last - first) * number // (kills - 1) for number in range(kills)]
    assert len(set(points)) == kills
    went_on = 0
    for point in points:
        place = Place(nursery, tmp_path / f"killed-{point}")
        assert place.go_on(command, often=True, die=point).wait() == -9
        went_on += any(place.store.glob("*.partial/state.safetensors"))
        place.finish(command)
        same(outcome(place), moments.expected)
        check_whole(place)
    assert went_on >= kills // 2  # or they began anew, which proves nothing
