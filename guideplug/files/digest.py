"""Hashes of records: a changed one is none."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["record_digest"]


def record_digest(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a record of plain data: of what it says, not of how it is laid out."""
    plain = json.loads(json.dumps(record))  # keys as JSON has them, before they are sorted
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
