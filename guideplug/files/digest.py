"""Hashes of records."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["record_digest"]


def record_digest(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a record of plain data, independent of its layout as text."""
    plain = json.loads(json.dumps(record))  # keys as in JSON, before sorting
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
