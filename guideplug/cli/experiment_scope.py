"""What the commands of comparisons and studies share: where jobs run, and how the work ends."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guideplug.cli.echo import echo
from guideplug.cli.experiment_progress import ExperimentProgress
from guideplug.config import Reader, command_line, shell_quote
from guideplug.errors import RunError, UsageError, WriteError
from guideplug.executors import Executor, Processes, Serial
from guideplug.executors.interrupt import Interrupted, handle_signals
from guideplug.files.display import display_path
from guideplug.registry.registry import Registry
from guideplug.run.failure import INCOMPLETE

__all__ = ["end_incomplete", "executor_of", "experiment_scope"]

FEW = 3
"""Most failures that are named."""


def executor_of(options: Mapping[str, Any], registry: Registry) -> Executor:
    """The executor of ``--executor``, or that of ``--jobs``.

    Raises:
        UsageError: both are given.
    """
    jobs, expression = options["jobs"], options["executor"]
    if expression is None:
        return Processes(jobs) if jobs is not None and jobs > 1 else Serial()
    if jobs is not None:
        long = f"processes({jobs})" if jobs > 1 else "serial"
        raise UsageError(
            f"--jobs {jobs} is given beside --executor {shell_quote(expression)}: it stands for "
            f"--executor {shell_quote(long)}; give one or the other"
        )
    executor: Executor = Reader(registry).expression(expression, Executor, "executor")
    return executor


@contextmanager
def experiment_scope(command: str, folder: Path, progress: ExperimentProgress | None) -> Iterator[None]:
    """Carry out a command's work in a block; if it is interrupted or cannot write, say how to go on, and exit.

    Args:
        command: the name of the command.
        folder: the folder that it works in.
        progress: closed at the end of the block.
    """
    go_on = f"go on with: {command_line(command, '--resume', Path(display_path(folder)))}"

    def leave() -> None:
        if progress is not None:
            progress.close()
        echo(f"interrupted; {go_on}", err=True)

    try:
        with handle_signals(leave):
            yield
    except Interrupted as stopped:
        leave()
        sys.exit(stopped.exit_code)
    except WriteError as error:
        raise RunError(f"{error}; {go_on}") from None
    finally:
        if progress is not None:
            progress.close()


def end_incomplete(failed: Sequence[str], folder: Path, command: str) -> None:
    """End a command whose work is done but for parts that failed; without any, go on."""
    distinct = list(dict.fromkeys(failed))
    if not distinct:
        return
    more = f"; and {len(distinct) - FEW} more" if len(distinct) > FEW else ""
    go_on = command_line(command, "--resume", Path(display_path(folder)))
    echo(
        f"error: {'; '.join(distinct[:FEW])}{more}; all else is kept in {display_path(folder)}: mend it, and finish "
        f"with {go_on}",
        err=True,
    )
    sys.exit(INCOMPLETE)
