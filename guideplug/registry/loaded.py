"""The plugins whose code this process has imported, for the record of what it makes.

Nothing of a plugin that is not used should matter to a network. The record says what was there if it ever did.
"""

__all__ = ["loaded_plugins", "note_loaded"]

_loaded: dict[tuple[str, ...], dict[str, str]] = {}


def note_loaded(name: str, distribution: str, version: str, digest: str) -> None:
    """Record a plugin that was imported.

    Args:
        name: of its entry point, or of its file without the suffix.
        distribution: of an installed plugin; of a local one the name of its file.
        version: of an installed plugin; empty for a local one.
        digest: the SHA-256 of a local plugin's file; empty for an installed one.
    """
    facts = {"name": name, "distribution": distribution, "version": version, "digest": digest}
    _loaded[tuple(facts.values())] = {key: value for key, value in facts.items() if value}


def loaded_plugins() -> list[dict[str, str]]:
    """The plugins that were imported so far, in the order of their names."""
    return [_loaded[key] for key in sorted(_loaded)]
