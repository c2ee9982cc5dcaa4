"""Completion in bash, zsh and fish: names of strategies and plugins, as they are remembered; no torch.

``guideplug completion SHELL`` prints what the shell is to run. At each TAB the shell calls ``guideplug`` with
``_GUIDEPLUG_COMPLETE`` set; click answers with commands and options, and this module with the names that a parameter
declares to take (`guideplug.cli.parameters`).
"""

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from guideplug.cli.echo import echo_lines
from guideplug.errors import GuideplugError, UsageError
from guideplug.files.project import project_plugins
from guideplug.registry.names import known, of_file

__all__ = ["expressions", "print_script", "role_networks", "use_bash"]

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_GUIDEPLUG_COMPLETE"

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


def use_bash() -> None:
    """Use the class above for bash, in place of click's."""
    add_completion_class(_Bash)


def print_script(shell: str | None) -> None:
    """``guideplug completion``: the script for a shell, by default the user's."""
    use_bash()
    name = Path(os.environ.get("SHELL", "")).name if shell is None else shell
    cls = get_completion_class(name) if name in SHELLS else None
    if cls is None:
        raise UsageError(f"the shell {name!r} is none that can be completed in: name one, {', '.join(SHELLS)}")
    echo_lines(cls(click.Group(), {}, "guideplug", VARIABLE).source())


def _offered() -> dict[str, dict[str, list[str]]]:
    """The names that installed plugins and those of the project offer, per plugin by kind; no plugin is loaded."""
    plugins = known()
    with contextlib.suppress(GuideplugError, OSError, ValueError):
        files = project_plugins()
        if files:
            from guideplug.files.code import Code  # it imports numpy

            for file in files:
                plugins |= of_file(Code.of_file(Path(file)).digest)
    return plugins


def _names(kinds: Iterable[str]) -> list[str]:
    plugins = _offered()
    return sorted({name for kind in kinds for offers in plugins.values() for name in offers.get(kind, ())})


def _items(begun: str, names: Sequence[str], part: str) -> list[CompletionItem]:
    prefix = part.replace("_", "-").lower()
    return [CompletionItem(begun + name) for name in names if name.startswith(prefix)]


def _split(incomplete: str) -> tuple[str, str]:
    """The finished part of an expression, and the name that is begun."""
    match = re.fullmatch(r"(.*[(\[,=\s])?([^(\[,=\s]*)", incomplete, re.DOTALL)
    assert match is not None
    return match[1] or "", match[2]


def expressions(kind: str, also: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """What may come of an expression of a kind: its last name, within brackets also of what may stand there.

    Args:
        kind: of strategies; "network", a recipe's expression or a file; "plugin", a plugin or anything of one.
        also: words that may come in its place.
        incomplete: what is typed of it.
    """
    if kind == "plugin":
        return _items("", _plugins(), incomplete)
    begun, part = _split(incomplete)
    if kind == "network":
        return _items(begun, [*ROLES, *_names(["recipe"])], part) or [CompletionItem(incomplete, type="file")]
    return _items(begun, _names([kind, *WITHIN.get(kind, ())]) if begun else [*also, *_names([kind])], part)


def role_networks(incomplete: str) -> list[CompletionItem]:
    """``ROLE=``, of the roles that are usual; then the networks that a role may have."""
    role, equals, value = incomplete.partition("=")
    if not equals:
        return [CompletionItem(f"{name}=") for name in ROLES if name.startswith(role)]
    return [CompletionItem(f"{role}={item.value}", type=item.type) for item in expressions("network", (), value)]


def _plugins() -> list[str]:
    """The names of plugins, and of all that they offer."""
    plugins = _offered()
    offered = {name for offers in plugins.values() for names in offers.values() for name in names}
    return sorted(offered | set(plugins))
