"""``guideplug store prune``: networks and prepared data that are named, or of a kind, listed and removed on consent.

An entry whose record cannot be read has no age and no known kind, so that only its own name removes it.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from guideplug.cli.consent import consented
from guideplug.cli.echo import echo
from guideplug.config import command_line
from guideplug.errors import StoreError, UsageError
from guideplug.store import SHOWN, DataCache, Entry, Store

__all__ = ["prune_store"]

DAY = 86400.0


@frozen
class _Doomed:
    """An entry, an unfinished training or prepared data to remove: where it is, and why."""

    store: Store
    identity: str
    why: str
    size: int


def prune_store(
    identities: Sequence[str],
    *,
    damaged: bool,
    partial: bool,
    older: float | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """``guideplug store prune``."""
    if not (identities or damaged or partial or older is not None or everything):
        raise UsageError(
            "prune what? name entries by how their identity begins, or give --damaged, --partial, --older or --all"
        )
    if not all(identities):
        raise UsageError(
            "an identity to prune is empty: name entries by the beginning of their identity, or give --all"
        )
    store = Store.default()
    entries = {_identity(entry): entry for entry in store.entries()}
    unfinished = [folder.name.removesuffix(".partial") for folder in store.partial()]
    data = DataCache.default()
    prepared = data.prepared()
    half_prepared = [folder.name.removesuffix(".partial") for folder in data.partial()]
    for start in identities:
        if not any(identity.startswith(start) for identity in (*entries, *unfinished, *prepared, *half_prepared)):
            raise StoreError(f"no entry begins with {start!r}: see {command_line('store', 'list')}")
    reasons: dict[str, str] = {}
    for identity, entry in entries.items():
        if identity.startswith(tuple(identities)):
            reasons[identity] = "chosen"
        elif not isinstance(entry, Entry):
            echo(f"kept {identity[:SHOWN]}: its record cannot be read; remove it with {store.pruning(identity)}")
        elif reason := _reason(entry, damaged=damaged, older=older, everything=everything):
            reasons[identity] = reason
    for identity in unfinished:
        if partial or everything or identity.startswith(tuple(identities)):
            reasons.setdefault(identity, "unfinished")
    data_reasons: dict[str, str] = {}
    for key in prepared:
        if everything or key.startswith(tuple(identities)):
            data_reasons[key] = "prepared data"
        elif older is not None and time.time() - data.made(key) > older * DAY:
            data_reasons[key] = "old prepared data"
    for key in half_prepared:
        if partial or everything or key.startswith(tuple(identities)):
            data_reasons.setdefault(key, "data half prepared")
    doomed = [*_free(store, reasons), *_free(data, data_reasons)]
    for one in doomed:
        echo(f"{'would remove' if dry_run else 'to remove'} {one.identity[:SHOWN]} ({one.why}, {_shown(one.size)})")
    total = f"{len(doomed)} of the store {store.root}, {_shown(sum(one.size for one in doomed))}"
    if not doomed:
        echo("nothing to remove")
    elif dry_run:
        echo(f"in all {total}")
        return
    elif not consented(total, yes=yes):
        echo("nothing was removed")
        return
    for one in doomed:
        if one.store.in_use(one.identity):  # since it was listed
            echo(f"kept {one.identity[:SHOWN]} ({one.why}): a run is working on it")
        else:
            one.store.remove(one.identity)
            echo(f"removed {one.identity[:SHOWN]} ({one.why})")
    for place in () if dry_run else (store, data):
        for identity in place.half_removed():  # by a killed process
            if not place.in_use(identity):
                place.tidy(identity)


def _identity(entry: Entry | tuple[Path, str]) -> str:
    return entry.identity if isinstance(entry, Entry) else entry[0].name


def _reason(entry: Entry, *, damaged: bool, older: float | None, everything: bool) -> str:
    """Why an entry that can be read is removed; empty where it is kept, as one whose record tells no date is."""
    if everything:
        return "chosen"
    if damaged and entry.damage():
        return "damaged"
    made = entry.facts.get("made")
    return "old" if older is not None and made is not None and time.time() - made > older * DAY else ""


def _free(store: Store, reasons: dict[str, str]) -> Iterator[_Doomed]:
    """What no process is at work on; of the rest a line."""
    for identity, why in reasons.items():
        if store.in_use(identity):
            echo(f"kept {identity[:SHOWN]} ({why}): a run is working on it")
        else:
            yield _Doomed(store, identity, why, store.size(identity))


def _shown(size: int) -> str:
    """A size in bytes, in words."""
    amount, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:,.0f} {unit}"
