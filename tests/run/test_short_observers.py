"""Short spellings of observers beside those that are named in full, and those of a configuration."""

import pytest

from guideplug.run.short_observers import with_short

PREVIEW, NOTHING = {"preview": "every=5it", "measure": None}, {"preview": None, "measure": None}
CONFIGURED = ["tensorboard", "preview(every=9it, samples=4)"]


@pytest.mark.parametrize(
    ("observers", "options", "configured", "expected"),
    [
        (None, NOTHING, CONFIGURED, None),  # those of the configuration hold
        ([], NOTHING, CONFIGURED, []),  # --observer none
        (["wandb"], NOTHING, CONFIGURED, ["wandb"]),
        (None, PREVIEW, [], ["preview(every=5it)"]),
        (None, PREVIEW, CONFIGURED, ["tensorboard", "preview(every=5it)"]),
        (["wandb"], PREVIEW, CONFIGURED, ["wandb", "preview(every=5it)"]),
        (None, {**PREVIEW, "measure": "every=7it"}, [], ["preview(every=5it)", "measure(every=7it)"]),
    ],
)
def test_they_join_those_in_force_and_replace_those_of_their_name(
    observers: list[str] | None, options: dict[str, str | None], configured: list[str], expected: list[str] | None
) -> None:
    assert with_short(observers, options, configured) == expected
