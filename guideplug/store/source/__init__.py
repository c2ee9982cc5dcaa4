"""The deciding part of source code: definitions followed by name, and hashes of their syntax."""

from guideplug.store.source.core import core_digest, core_scope, measuring_digest
from guideplug.store.source.parts import Part, parts
from guideplug.store.source.reach import Reach, Reached, reached
from guideplug.store.source.scope import scope_of, scope_of_code

__all__ = [
    "Part",
    "Reach",
    "Reached",
    "core_digest",
    "core_scope",
    "measuring_digest",
    "parts",
    "reached",
    "scope_of",
    "scope_of_code",
]
