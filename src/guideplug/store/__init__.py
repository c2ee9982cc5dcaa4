"""The store of trained networks."""

from guideplug.store.identity import describe, identity, source_digest
from guideplug.store.store import Entry, Store

__all__ = ["Entry", "Store", "describe", "identity", "source_digest"]
