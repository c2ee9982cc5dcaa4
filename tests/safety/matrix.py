"""Everything that is read, replaced by every kind of odd file, under every command that reads it.

    python tests/safety/matrix.py [--only PATTERN] [--first N] [--every N] [--log FILE]

A case ends in one line that names the file, or in what the command does without it: without a traceback, without
waiting, within limits of memory and time, with nothing printed of a file outside, and nothing changed.
"""

import argparse
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from children import Children
from odd_files import KEEPING, KINDS, MARK, put
from world import OWN, RUN, World

MEGABYTES, SECONDS, LONGEST = 400.0, 10.0, 45.0
HASHED = 2**24
CHECKSUMS = "checksums.sha256"


@attrs.frozen
class Case:
    """A kind of thing at a place, and a command."""

    place: str
    kind: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.place} | {self.kind} | {' '.join(self.command)}"


def _with(folder: str, *names: str) -> list[str]:
    return [f"here/{folder}/{name}" for name in names]


TOY = ("--task", "toy", "--plugin", "toy.py")
SAMPLE = ("sample", "run", "--guider", "none", "--samples", "8", "--out", "out")
NETWORKS = ("denoisers", "denoisers/main.safetensors", "denoisers/main.json")
LOOKED_AT = ("config.toml", "run.json", "events.jsonl", "figures", "checksums.sha256")
RESUME, COMPARED, STUDIED = (
    ("run", "--resume", "unfinished"),
    ("compare", "--resume", "compared"),
    ("study", "--resume", "study"),
)
JSON = "--json"
TABLE: list[tuple[list[str], list[tuple[str, ...]]]] = [
    # A run that has ended
    (
        _with(
            "run",
            *LOOKED_AT,
            "metrics.json",
            "words.json",
            "sweep.npz",
            "figures/toy.png",
            "figures/toy.gif",
            "report.html",
        ),
        [("report", "run")],
    ),
    (
        _with("run", "config.toml", "run.json", "words.json", "figures/toy.png", "report.html"),
        [("report", "run", "unfinished", "--out", "out.html")],
    ),
    (_with("run", "config.toml", "run.json", "checksums.sha256"), [("cite", "run"), ("run", "--resume", "run")]),
    (_with("run", "config.toml", "events.jsonl"), [("watch", "run", "--once")]),
    (_with("run", "config.toml", "run.json", "checksums.sha256", *NETWORKS), [SAMPLE]),
    (_with("run", "samples.npz", "checksums.sha256"), [("evaluate", "run/samples.npz", *TOY)]),
    (
        _with("run", "checksums.sha256", *NETWORKS),
        [
            ("check", "run/denoisers/main.safetensors", *TOY),
            ("explain", "autoguidance", *TOY, "--model", "main=run/denoisers/main.safetensors"),
        ],
    ),
    # A run that was interrupted
    (_with("unfinished", *LOOKED_AT, *NETWORKS, "metrics.json", "samples.npz", "sweep.npz", "words.json"), [RESUME]),
    (_with("unfinished", *LOOKED_AT, "words.json"), [("report", "unfinished")]),
    (_with("unfinished", "events.jsonl"), [("watch", "unfinished", "--once")]),
    # A comparison and a study
    (
        _with("compared", "compare.toml", "costs.json", "cells", "cells/0-0-8.json", "figures", "figures/distance.png"),
        [COMPARED],
    ),
    (
        _with("compared", "compare.json", "budgets.png", "tables.md", "events.jsonl", "checksums.sha256"),
        [COMPARED, (*COMPARED, JSON)],
    ),
    (
        _with(
            "compared",
            "compare.toml",
            "compare.json",
            "figures",
            "figures/distance.png",
            "budgets.png",
            "report.html",
            "checksums.sha256",
        ),
        [("report", "compared")],
    ),
    (_with("compared", "events.jsonl"), [("watch", "compared", "--once")]),
    (_with("study", "study.toml", "trials", "trials/0.json", "trials/0.npz", "widths.png"), [STUDIED]),
    (_with("study", "study.json", "events.jsonl", "checksums.sha256"), [STUDIED, (*STUDIED, JSON)]),
    (
        _with("study", "study.toml", "study.json", "widths.png", "report.html", "checksums.sha256"),
        [("report", "study")],
    ),
    (_with("study", "events.jsonl"), [("watch", "study", "--once")]),
    # The store
    (
        ["store/ENTRY", "store/ENTRY/entry.json", "store/ENTRY/weights.safetensors", "store/ENTRY/more.txt", "store"],
        [
            ("store", "list"),
            ("store", "list", JSON),
            ("store", "verify"),
            ("store", "prune", "--damaged"),
            (*RUN, "--out", "out"),
        ],
    ),
    (["store/ENTRY", "store/ENTRY.lock"], [("store", "prune", "ENTRY")]),
    (
        ["store/NEW.lock", "store/NEW.partial", "store/NEW.partial/state.safetensors"],
        [
            ("store", "list"),
            ("store", "prune", "--partial"),
            (*RUN, "--seed", "5", "--out", "out"),
            (*RUN, "--seed", "5", "--fresh", "--out", "out"),
        ],
    ),
    # Files that the user names
    (["here/c.toml"], [("run", "c.toml", "--dry-run")]),
    (["here/compare.toml"], [("compare", "compare.toml", "--dry-run")]),
    (["here/toy.py"], [("run", "c.toml", "--out", "out"), ("cite", "run"), ("plugins", "list", "--plugin", "toy.py")]),
    *(
        ([f"here/t.{suffix}"], [("explain", "autoguidance", "--task", f"points('t.{suffix}')")])
        for suffix in ("csv", "tsv", "npy", "parquet")
    ),
    (["here/t.npy"], [("check", "run/denoisers/main.safetensors", *TOY, "--examples", "t.npy")]),
    (["here/a.npy", "here/y.npy"], [("explain", "posterior(operator='a.npy', measurement='y.npy')")]),
    (["here/s.npz"], [("evaluate", "s.npz", *TOY)]),
    (
        ["here/w.safetensors", "here/w.json"],
        [
            ("explain", "autoguidance", *TOY, "--model", "weak=w.safetensors"),
            ("check", "w.safetensors", *TOY),
            ("sample", *TOY, "--guider", "none", "--model", "main=w.safetensors", "--samples", "8", "--out", "out"),
        ],
    ),
    (
        ["here/mine.py"],
        [
            ("explain", "autoguidance", *TOY, "--model", "weak=python('./mine.py:build')"),
            ("explain", "classifier('./mine.py:build')"),
        ],
    ),
    (["here/report.html"], [("report", "run", "unfinished")]),
    (["here/out"], [SAMPLE]),
    # What guideplug keeps for the user
    (["trusted"], [("cite", "run"), ("cite", "run", "--trust"), (*RUN, "--out", "out")]),
    (["cache/guideplug/NAMES", "cache/guideplug"], [("explain", "autoguidance"), ("plugins", "list")]),
    (["cache/guideplug/CORE"], [(*RUN, "--out", "out")]),
]
"""Places, and the commands that read them."""


def cases() -> Iterator[Case]:
    """Every case."""
    for places, commands in TABLE:
        for place in places:
            for kind in (*KINDS, *KEEPING):
                for command in commands:
                    yield Case(place, kind, command)


class Matrix:
    """The world and the warm process."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.ask = Children(*self.world.warm())
        self.world.made()
        self.names = {
            "ENTRY": self.world.entry,
            "NEW": self.world.new,
            **{
                kind: next(iter(sorted((self.world.template / "cache/guideplug").glob(pattern)))).name
                for kind, pattern in (("NAMES", "names-*"), ("CORE", "core-*"))
            },
        }

    def _named(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    def faults(self, case: Case) -> tuple[list[str], dict[str, Any]]:
        """What is wrong with the answer of a case."""
        self.world.fresh()
        place = self.world.root / self._named(case.place)
        if place.name != CHECKSUMS:  # who damages a file leaves out its checksum
            for listed in self.world.here.glob(f"*/{CHECKSUMS}"):
                listed.unlink()
        put(case.kind, place, self.world.outside)
        before = everything(self.world.root)
        command = [self._named(part) for part in case.command]
        answer = self.ask(self.world.here, *command, seconds=LONGEST)
        after = everything(self.world.root)
        return list(self._judged(case, place, answer, before, after)), answer

    def _judged(
        self, case: Case, place: Path, answer: dict[str, Any], before: dict[str, str], after: dict[str, str]
    ) -> Iterator[str]:
        code, errors = answer["code"], answer["stderr"]
        printed = answer["stdout"] + errors
        if not isinstance(code, int):
            yield "hang" if code in ("killed: 14", "killed: 9", "killed: 24") else "killed"
            return
        if "Traceback" in printed:
            yield "traceback"
            return
        if answer["megabytes"] > MEGABYTES:
            yield "memory"
        if answer["seconds"] > SECONDS:
            yield "slow"
        if any(not (c.isprintable() or c == "\n") for c in printed):
            yield "unprintable"
        pages = [path for path in self.world.here.rglob("*.html") if path.is_file() and not path.is_symlink()]
        if MARK in printed or any(
            MARK in page.read_text(errors="replace") for page in pages if page.stat().st_mode & 0o400
        ):
            yield "secret"
        refusals = re.findall(r"^error: .*$", errors, re.MULTILINE)
        if code:
            if code not in (1, 2, 3):
                yield f"code {code}"
            if case.command[0] != "store" and len(refusals) != 1:
                yield "no single line"
            name = place.name[:12] if case.place.startswith("store/") else place.name
            parts = (name, place.parent.name[:12])
            if not any(part in printed for part in parts) and not self._is_whole(case, printed):
                yield "unnamed"
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        unexpected = [name for name in changed if not self._may_change(case, name)]
        if unexpected:
            yield f"changed {', '.join(unexpected[:3])}"

    def _is_whole(self, case: Case, printed: str) -> bool:
        """Whether a refusal has another reason than the file: an empty configuration is a whole one."""
        return "is finished" in printed or (case.kind == "empty" and case.place.endswith(".toml"))

    def _may_change(self, case: Case, name: str) -> bool:
        """Whether a command may change a place: outputs, what it is to go on with, and what it replaces as a whole."""
        place = self._named(case.place)
        if place.startswith(("cache", "trusted")) and name.startswith(("cache", "trusted", "outside/guideplug")):
            return True  # the user's own, where a link is the user's too
        if name.startswith("outside"):
            return False
        if name in OWN or name.startswith(("here/out", "cache")) or name == "trusted":
            return name != place or place == "here/out"
        if case.command[0] == "report":
            return name.endswith(("report.html", CHECKSUMS))
        if name.startswith("store"):
            return case.command[0] in ("run", "compare", "study") or case.command[:2] == ("store", "prune")
        return "--resume" in case.command and name.startswith(f"here/{case.command[2]}")

    def close(self) -> None:
        """End the warm process."""
        self.ask.close()


def everything(root: Path) -> dict[str, str]:
    """Every file and folder: what it is, with the hash of its content."""
    seen = {}
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place) / name
            status = path.lstat()
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = str(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest() if status.st_size < HASHED else "large"
            seen[path.relative_to(root).as_posix()] = f"{stat.filemode(status.st_mode)[0]} {content}"
    return seen


def main() -> int:
    """Try all cases; the faults by class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a pattern in the text of cases")
    parser.add_argument("--every", type=int, default=1, help="each N-th case")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--log", help="a file for a line of JSON per case")
    options = parser.parse_args()
    chosen = [case for case in cases() if re.search(options.only, str(case))][options.first :: options.every]
    by_class: Counter[str] = Counter()
    begin, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        matrix = Matrix(Path(folder))
        for number, case in enumerate(chosen):
            faults, answer = matrix.faults(case)
            failed += bool(faults)
            by_class.update({fault.split()[0] for fault in faults})
            if faults:
                sys.stdout.write(f"{case}: {'; '.join(faults)}\n   {' '.join(answer['stderr'].split())[-200:]}\n")
                sys.stdout.flush()
            if options.log:
                with Path(options.log).open("a") as log:
                    log.write(json.dumps({"case": str(case), "faults": faults, "number": number, **answer}) + "\n")
        matrix.close()
    seconds = time.monotonic() - begin
    sys.stdout.write(f"{len(chosen)} cases, {failed} failed, {seconds:.0f} s: {dict(by_class)}\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
