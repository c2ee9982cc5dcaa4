"""Completion in bash, zsh and fish: names of strategies and plugins, as they are remembered; no torch.

``guideplug completion SHELL`` prints what the shell is to run. At each TAB the shell calls ``guideplug`` with
``_GUIDEPLUG_COMPLETE`` set; click answers with commands and options, and this module with names.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from guideplug.errors import UsageError
from guideplug.names import known

__all__ = ["complete_names", "print_script"]

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_GUIDEPLUG_COMPLETE"

Complete = Callable[[click.Context, str], list[CompletionItem]]
KINDS = ("task", "denoiser", "guider", "selector", "sampler")
"""Options of these names take expressions of these kinds."""
ROLES = ("main", "weak", "unconditional", "synthetic", "weights")

WITHIN = {"guider": ("weight",), "recipe": ("task", "denoiser", "guider", "sampler"), "task": (), "study": ("guider",)}
"""What else an expression of a kind may name, inside of its brackets."""
BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion
    response=$(env COMP_LINE_TO_POINT="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    for completion in $response; do
        case "${completion%%%%,*}" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${completion#*,}") ;;
        esac
    done
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[=\\(] ]] && compopt -o nospace
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Bash, given the line as it is typed: bash itself cuts words at '=' and ':', so ``ROLE=NAME`` would be three."""

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor's, and what is typed of that."""
        line = os.environ.get("COMP_LINE_TO_POINT", "")
        words = split_arg_string(line)[1:]
        incomplete = "" if line[-1:].isspace() and not _open_quote(line) else (words.pop() if words else "")
        self._begun = "" if _open_quote(line) else re.sub(r"[^=:]*$", "", incomplete)
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """As the function above reads it, without what bash holds to be words before."""
        return f"{item.type},{item.value.removeprefix(self._begun)}"

    @staticmethod
    def _check_version() -> None:
        """Bash older than 4.4 knows no nosort; it says so itself."""


def _open_quote(line: str) -> bool:
    """Whether a line ends within quotes."""
    quote = ""
    for sign in line:
        if sign in "'\"":
            quote = sign if not quote else "" if sign == quote else quote
    return bool(quote)


add_completion_class(_Bash)


def print_script(shell: str | None) -> None:
    """``guideplug completion``: the script for a shell, by default the user's."""
    found = Path(os.environ.get("SHELL", "")).name if shell is None else shell
    cls = get_completion_class(found) if found in SHELLS else None
    if cls is None:
        raise UsageError(f"the shell {found!r} is none that can be completed in: name one, {', '.join(SHELLS)}")
    click.echo(cls(click.Group(), {}, "guideplug", VARIABLE).source())


def _names(kinds: Iterable[str]) -> list[str]:
    plugins = known()
    return sorted({name for kind in kinds for offers in plugins.values() for name in offers.get(kind, ())})


def _items(begun: str, names: Sequence[str], part: str) -> list[CompletionItem]:
    wanted = part.replace("_", "-").lower()
    return [CompletionItem(begun + name) for name in names if name.startswith(wanted)]


def _split(incomplete: str) -> tuple[str, str]:
    """What of an expression is written, and the name that is begun."""
    found = re.fullmatch(r"(.*[(\[,=\s])?([^(\[,=\s]*)", incomplete, re.DOTALL)
    assert found is not None
    return found[1] or "", found[2]


def _expressions(kind: str, also: Sequence[str], context: click.Context, incomplete: str) -> list[CompletionItem]:
    """The last name of an expression of a kind; inside of brackets also names of what may stand there."""
    begun, part = _split(incomplete)
    return _items(begun, _names([kind, *WITHIN.get(kind, ())]) if begun else [*also, *_names([kind])], part)


def _models(context: click.Context, incomplete: str) -> list[CompletionItem]:
    """``ROLE=``, of the roles that are usual; then recipes and other roles, or else a file."""
    role, equals, value = incomplete.partition("=")
    if not equals:
        return [CompletionItem(f"{name}=") for name in ROLES if name.startswith(role)]
    begun, part = _split(value)
    found = _items(f"{role}={begun}", [*ROLES, *_names(["recipe"])], part)
    return found or [CompletionItem(incomplete, type="file")]


def _networks(context: click.Context, incomplete: str) -> list[CompletionItem]:
    """The main network: a recipe, or else a file."""
    items = _models(context, f"main={incomplete}")
    return [CompletionItem(item.value.removeprefix("main="), type=item.type) for item in items]


def _plugins(context: click.Context, incomplete: str) -> list[CompletionItem]:
    """A plugin, or anything that one offers."""
    plugins: dict[str, Any] = known()
    offered = {name for offers in plugins.values() for names in offers.values() for name in names}
    return _items("", sorted(offered | set(plugins)), incomplete)


def complete_names(command: click.Command) -> None:
    """Let the options and arguments of a command, and of those in it, that take names complete them."""
    for name, inner in _commands(command):
        for parameter in inner.params:
            found = _of(name, parameter)
            if found is not None:
                parameter.shell_complete = found  # type: ignore[assignment, method-assign] # of this one


def _commands(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner, found in command.commands.items():
            yield from _commands(found, f"{name} {inner}".strip())


def _of(command: str, parameter: click.Parameter) -> Complete | None:
    option = parameter.opts[0].removeprefix("--")
    if (command, option) == ("check", "model"):
        return _networks
    if option == "model":
        return _models
    if option in KINDS and parameter.multiple:
        return partial(_expressions, option, ("none",))
    if option in KINDS or (command, option) == ("study", "study"):
        return partial(_expressions, option, ())
    return _plugins if command in ("plugins show", "plugins check") and option == "name" else None
