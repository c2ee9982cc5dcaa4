"""The measured results in an experiment's folder: JSON files that appear whole, and are read if they are unchanged."""

from pathlib import Path
from typing import Any

from guideplug.errors import RunError
from guideplug.files.atomic import check_unchanged
from guideplug.files.reading import read_json_file

__all__ = ["AGAIN", "check_code", "read_record"]

AGAIN = "remove it and resume, and it is measured again"
"""What to do with a damaged result."""


def read_record(path: Path, advice: str = AGAIN) -> dict[str, Any]:
    """A JSON object from a file.

    Args:
        path: the file.
        advice: what to do if it is damaged.

    Raises:
        DamagedFile: its checksum differs.
        RunError: it is missing, or no JSON object.
    """
    check_unchanged(path, advice)
    try:
        record = read_json_file(path, path.parent)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): {advice}") from None
    if not isinstance(record, dict):
        raise RunError(f"{path} is damaged (no JSON object): {advice}")
    return record


def check_code(job: str, expected: object, actual: object) -> None:
    """Refuse the result of a worker that has other code than the driver began with.

    Raises:
        RunError: a plugin or guideplug was changed meanwhile, or another machine has another version.
    """
    if actual != expected:
        raise RunError(
            f"{job} was done with other code than this command began with: a plugin or guideplug has changed since, or "
            "differs where the job ran; nothing of it is kept: go on with --resume"
        )
