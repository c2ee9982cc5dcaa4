"""Refusal of launchers that start one program several times, such as torchrun: each copy would do the whole work.

Such a launcher says in the environment that this process is one of several: ``TORCHELASTIC_RUN_ID`` of torchrun, and
``WORLD_SIZE``, ``RANK`` and ``LOCAL_RANK`` of it and of those that follow it. Variables of a batch system alone
(``SLURM_*``) say nothing of the kind: a job of it may be one process.
"""

import os

from guideplug.errors import UsageError

__all__ = ["refuse_torchrun"]

LEAST = {"WORLD_SIZE": 2, "RANK": 1, "LOCAL_RANK": 1}
"""From which value on a variable says that there are several processes."""


def refuse_torchrun() -> None:
    """Refuse to work as one of several copies of a program.

    Raises:
        UsageError: the environment is that of torchrun, or of a launcher like it; the message names the variable.
    """
    named = "TORCHELASTIC_RUN_ID" if "TORCHELASTIC_RUN_ID" in os.environ else next(filter(_is_several, LEAST), None)
    if named is not None:
        raise UsageError(
            f"{named}={os.environ[named]} in the environment says that a launcher such as torchrun started this as one "
            "of several processes, each of which would do the whole work: start one process, guideplug alone; many "
            "trainings of a comparison or a study run side by side with --jobs N or --executor"
        )


def _is_several(name: str) -> bool:
    value = os.environ.get(name, "").strip()
    return value.isdecimal() and int(value) >= LEAST[name]
