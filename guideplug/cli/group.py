"""Groups of commands that print errors a user can fix in one line, with their exit code."""

import traceback
from typing import Any

import click

from guideplug.cli.command import Command
from guideplug.cli.echo import echo, echo_lines
from guideplug.config.origin import REFUSED, plugin_errors
from guideplug.errors import GuideplugError, UsageError, lacks_memory, nearest

__all__ = ["Group"]

LONGEST = 1600
"""Most characters of a message."""


class _Misuse(click.UsageError):
    """A wrong command line, printed in one line."""

    def show(self, file: Any = None) -> None:
        """Print the line."""
        command = self.ctx.command_path if self.ctx is not None else "guideplug"
        message = " ".join(self.format_message().split()).rstrip(".")
        echo(f"error: {message}; see {command} --help", err=True)


class Group(click.Group):
    """A group that prints errors a user can fix in one line, with their exit code."""

    command_class = Command

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except click.UsageError as error:
            raise _in_one_line(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with plugin_errors():
                return super().invoke(ctx)
        except click.UsageError as error:
            raise _in_one_line(error) from None
        except GuideplugError as error:
            if ctx.find_root().params.get("traceback"):
                echo_lines(_trace(error).rstrip("\n"), err=True)
            echo(f"error: {_cropped(' '.join(str(error).split()))}", err=True)
            ctx.exit(error.exit_code)
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            message = str(error).partition("\n")[0]
            echo(f"error: not enough memory ({message}): ask for fewer or smaller things", err=True)
            ctx.exit(1)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            refusal = f"{error.filename or 'a file'} cannot be read or written ({error.strerror})"
            echo(f"error: {refusal}; what was written before is whole", err=True)
            ctx.exit(1)
        except UnicodeEncodeError as error:
            name = error.object[max(error.start - 40, 0) : error.end + 40]
            echo(f"error: {name} has bytes that are not UTF-8, so it cannot be written: rename the file", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            echo("interrupted", err=True)
            ctx.exit(130)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            commands = ", ".join(self.list_commands(ctx))
            raise UsageError(f"no command is called {args[0]!r}{nearest(args[0], self.commands)}; commands: {commands}")
        return super().resolve_command(ctx, args)


def _cropped(text: str) -> str:
    """A message without the middle of a very long value."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def _trace(error: BaseException) -> str:
    """The trace of an error's first cause, also where the chain to it is not shown."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return "".join(traceback.format_exception(error, chain=False))


def _in_one_line(error: click.UsageError) -> click.UsageError:
    if isinstance(error, click.exceptions.NoArgsIsHelpError | _Misuse):
        return error
    return _Misuse(error.format_message(), error.ctx)
