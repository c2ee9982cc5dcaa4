"""The store of trained networks."""

from guideplug.store.bundle import with_bundle, write_bundle
from guideplug.store.data_cache import DataCache
from guideplug.store.identity import code_behind, code_of_classes, describe, identity
from guideplug.store.store import FURTHER, SHOWN, Entry, Store

__all__ = [
    "FURTHER",
    "SHOWN",
    "DataCache",
    "Entry",
    "Store",
    "code_behind",
    "code_of_classes",
    "describe",
    "identity",
    "with_bundle",
    "write_bundle",
]
