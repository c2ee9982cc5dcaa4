"""``guideplug new``: a plugin's distribution written, and the next commands."""

from pathlib import Path

import click

from guideplug.cli.scaffold import Kind, check_name, strategies, write_plugin
from guideplug.config import shell_quote
from guideplug.errors import UsageError
from guideplug.registry.registry import Registry

__all__ = ["new_plugin"]


def new_plugin(name: str, kind: Kind, out: str | None) -> None:
    """``guideplug new``."""
    canonical = check_name(name)
    folder = Path(name if out is None else out)
    _refuse_taken(canonical, kind, Registry.installed())
    written = write_plugin(canonical, kind, folder)
    click.echo(f"the {kind} {canonical}, as a plugin that works:")
    for path in written:
        click.echo(f"  {path}")
    place, module = _local(folder), _local(written[0])
    guided = " --guider autoguidance" if kind == "task" else ""
    chosen = f"--model main={canonical}" if kind == "recipe" else f"--{kind} {canonical}"
    run = f"guideplug run {chosen}{guided}"
    click.echo("next:")
    click.echo(f"  pip install -e {place}")
    click.echo(f"  pytest {place}")
    click.echo(f"  guideplug plugins check {canonical}")
    click.echo(f"  {run}")
    click.echo("or, without installing it:")
    click.echo(f"  {run} --plugin {module}")


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


def _local(path: Path) -> str:
    """A path as a shell takes it, and pip for no name of a package."""
    return shell_quote(str(path) if path.is_absolute() else f"./{path}")
