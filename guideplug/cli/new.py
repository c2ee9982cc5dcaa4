"""``guideplug new``: a plugin's distribution written, and the next commands."""

from pathlib import Path

from guideplug.cli.echo import echo
from guideplug.cli.scaffold import (
    Kind,
    check_like,
    check_name,
    command,
    find_checkout,
    strategies,
    write_in_tree,
    write_plugin,
)
from guideplug.config import command_line, shell_quote
from guideplug.errors import UsageError
from guideplug.registry.registry import Registry

__all__ = ["new_plugin"]


def new_plugin(name: str, kind: Kind, like: str | None, out: str | None, *, in_tree: bool) -> None:
    """``guideplug new``."""
    canonical = check_name(name)
    check_like(kind, like)
    if in_tree and out is not None:
        raise UsageError(f"--out {out}: --in-tree says where it is written: leave out one of them")
    checkout = find_checkout() if in_tree else None
    _refuse_taken(canonical, kind, Registry.installed())
    if checkout is None:
        folder, changed = Path(name if out is None else out), list[Path]()
        written = write_plugin(canonical, kind, folder, like)
    else:
        folder = checkout / "plugins" / canonical
        written, changed = write_in_tree(canonical, kind, checkout, like)
    echo(f"the {kind} {canonical}, as a plugin that works:")
    for path in written:
        echo(f"  {path}")
    if changed:
        echo("entries to fill in, at the end of their lists:")
        for path in changed:
            echo(f"  {path}")
    place, run = _local(folder), command(canonical, kind)
    echo("next:")
    echo(f"  pip install -e {place}")
    echo(f"  pytest {place}")
    echo(f"  {command_line('plugins', 'check', canonical)}")
    echo(f"  {run}")
    if checkout is not None:
        echo(f"  python {_local(checkout / 'tests' / 'test_reference.py')}")
        return
    echo("or, without installing it:")
    echo(f"  {command(canonical, kind, _relative(written[0]))}")


def _refuse_taken(name: str, kind: Kind, registry: Registry) -> None:
    """Refuse a name that an installed plugin has, or something of the kind that one offers."""
    for plugin in registry.plugins:
        if plugin.name == name:
            raise UsageError(f"a plugin {name!r} is installed, {plugin}: give another name, as in my-{name}")
        for offer in plugin.offers:
            if (offer.kind, offer.name) in strategies(name, kind):
                raise UsageError(
                    f"the {offer.kind} {offer.name!r} is installed, from {plugin}: give another name, as in my-{name}"
                )


def _relative(path: Path) -> str:
    """A path that pip takes for no name of a package."""
    return str(path) if path.is_absolute() else f"./{path}"


def _local(path: Path) -> str:
    """The same, as a shell takes it."""
    return shell_quote(_relative(path))
