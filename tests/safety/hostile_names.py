"""Files and folders with names that would steer a terminal or forge a line, under every command that prints a path.

    python tests/safety/hostile_names.py [--only PATTERN] [--every N]

Whatever the command says of them is escaped, on the terminal and in pages.
"""

import argparse
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from children import Children
from matrix import LONGEST
from world import RUN, SMALL, World

NAMES = {
    "escape": "\x1b[2J\x1b]0;title\x07",
    "newline": "a\nerror: forged",
    "return": "a\rerror: forged",
    "control": "a\x9b2Jb",
    "separator": "a\u2028b",
    "direction": "a\u202egnp",
    "invisible": "a\u200bb",
    "undecodable": "a\udcffb",
    "markup": "<img src=x onerror=alert(1)>",
    "quotes": "a'\"`$(x)",
    "tab": "a\tb",
}
TOY = ("--task", "toy", "--plugin", "toy.py")
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "report": ("run", ("report", "NAME")),
    "reports": ("run", ("report", "NAME", "unfinished", "--out", "both.html")),
    "report comparison": ("compared", ("report", "NAME")),
    "report study": ("study", ("report", "NAME")),
    "report out": ("", ("report", "run", "--out", "NAME.html")),
    "cite": ("run", ("cite", "NAME")),
    "watch": ("run", ("watch", "NAME", "--once")),
    "sample": ("run", ("sample", "NAME", "--guider", "none", "--samples", "8", "--out", "out")),
    "sample out": ("", ("sample", "run", "--guider", "none", "--samples", "8", "--out", "NAME")),
    "run": ("c.toml", ("run", "NAME.toml", "--out", "out")),
    "run out": ("", (*RUN, "--out", "NAME")),
    "resume run": ("unfinished", ("run", "--resume", "NAME")),
    "resume ended run": ("run", ("run", "--resume", "NAME")),
    "resume comparison": ("compared", ("compare", "--resume", "NAME")),
    "resume study": ("study", ("study", "--resume", "NAME")),
    "compare": ("compare.toml", ("compare", "NAME.toml", "--dry-run")),
    "dry run": ("w.safetensors", ("run", *SMALL, "--task", "toy", "--model", "weak=NAME.safetensors", "--dry-run")),
    "plugin": ("toy.py", ("plugins", "list", "--plugin", "NAME.py")),
    "evaluate": ("s.npz", ("evaluate", "NAME.npz", *TOY)),
    "figure": ("", ("evaluate", "s.npz", *TOY, "--figure", "NAME.png")),
    "check": ("w.safetensors", ("check", "NAME.safetensors", *TOY)),
    "examples": ("t.npy", ("check", "w.safetensors", *TOY, "--examples", "NAME.npy")),
    "explain": ("w.safetensors", ("explain", "autoguidance", *TOY, "--model", "weak=NAME.safetensors")),
    "network": ("mine.py", ("explain", "autoguidance", *TOY, "--model", "weak=python('./NAME.py:build')")),
    "table": ("t.csv", ("explain", "autoguidance", "--task", "points('NAME.csv')")),
    "new": ("", ("new", "my-guide", "--out", "NAME")),
    **{
        f"missing {' '.join(command[:1])}": ("", command)
        for command in (
            ("report", "NAME"), ("cite", "NAME"), ("watch", "NAME"), ("sample", "NAME"), ("run", "NAME"),
            ("compare", "NAME"), ("study", "NAME"), ("evaluate", "NAME"), ("check", "NAME"), ("explain", "NAME"),
            ("store", "prune", "NAME"), ("plugins", "show", "NAME"), ("new", "NAME"), ("NAME",), ("run", "--NAME"),
        )
    },
}  # fmt: skip
"""What is renamed, and a command with its new name."""


def cases() -> Iterator[tuple[str, str]]:
    """Every command with every name."""
    for command in COMMANDS:
        for name in NAMES:
            yield command, name


def shown(text: str) -> bool:
    """Whether a text has only what can be printed."""
    return all(c.isprintable() or c == "\n" or unicodedata.category(c) == "Zs" for c in text)


class Named:
    """The world and the warm process."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.ask = Children(*self.world.warm())
        self.world.made()

    def faults(self, command: str, name: str) -> tuple[list[str], dict[str, Any]]:
        """What is wrong with what a command says of a name."""
        self.world.fresh()
        here, text = self.world.here, NAMES[name]
        file, arguments = COMMANDS[command]
        if file:
            (here / file).rename(here / (text.replace("/", "_") + Path(file).suffix))
        answer = self.ask(here, *(part.replace("NAME", text) for part in arguments), seconds=LONGEST)
        return list(self._judged(answer)), answer

    def _judged(self, answer: dict[str, Any]) -> Iterator[str]:
        printed = answer["stdout"] + answer["stderr"]
        if not isinstance(answer["code"], int):
            yield "killed"
        if "Traceback" in printed:
            yield "traceback"
        if not shown(printed):
            yield "unprintable"
        if any(line.startswith("error: forged") for line in printed.splitlines()):
            yield "forged"
        if answer["code"] in (1, 2) and answer["stderr"].count("\nerror: ") > 1:
            yield "lines"
        for page in self.world.here.rglob("*.html"):
            content = page.read_text(errors="surrogateescape")
            if not shown(content) or NAMES["markup"] in content:
                yield "page"

    def close(self) -> None:
        """End the warm process."""
        self.ask.close()


def main() -> int:
    """Try all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a pattern in the text of cases")
    parser.add_argument("--every", type=int, default=1, help="each N-th case")
    options = parser.parse_args()
    chosen = [case for case in cases() if re.search(options.only, " | ".join(case))][:: options.every]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        named = Named(Path(folder))
        for command, name in chosen:
            faults, answer = named.faults(command, name)
            failed += bool(faults)
            if faults:
                said = ascii(" ".join((answer["stdout"] + answer["stderr"]).split())[-200:])
                sys.stdout.write(f"{command} | {name}: {'; '.join(faults)}\n   {said}\n")
                sys.stdout.flush()
        named.close()
    sys.stdout.write(f"{len(chosen)} cases, {failed} failed\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
