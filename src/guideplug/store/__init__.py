"""The store of trained networks."""

from guideplug.store.identity import code_behind, describe, identity, source_digest
from guideplug.store.store import Entry, Store

__all__ = ["Entry", "Store", "code_behind", "describe", "identity", "source_digest"]
