"""Where the tests find reference numbers: in the folder beside them, or in the one that GUIDEPLUG_REFERENCE names."""

import os
from pathlib import Path

import pytest

__all__ = ["reference"]

HERE = Path(__file__).parent / "reference"


def reference(name: str) -> Path:
    """A file of reference numbers; the test is skipped where it is not there."""
    for folder in (HERE, Path(os.environ.get("GUIDEPLUG_REFERENCE", HERE))):
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"{name} is in no folder of reference numbers: name one in GUIDEPLUG_REFERENCE")
