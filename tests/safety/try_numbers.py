"""Every numeric option at extreme values, tried: a right result, or one line that names option, value and what to give.

    python tests/safety/try_numbers.py [--every N] [--from K] [--only TEXT] [--quick N] [--out FILE.jsonl]

A forked child runs cases one after another, until one kills it: it may take `SECONDS` of a processor for each, and a
gigabyte of addresses more than its parent. What is printed decides the class of a case:

    result      exit code 0, nothing on standard error
    refused     exit code 2, one line with the option, the value, and advice
    unnamed     one line, but without one of these, or another exit code
    memory      refused memory
    traceback   an exception that reached the user
    hang        killed

The tests try one case of 40. All of them take about twenty minutes of a processor: run them before a release, in
slices such as --every 10 --from 3.
"""

import argparse
import collections
import contextlib
import io
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

os.environ["OMP_STACKSIZE"] = "256k"  # a thousand threads in a gigabyte of addresses
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from children import ROOM, command
from extremes import Case, cases, prepare_folder

from guideplug.recipes import training_recipe

SECONDS = 10
BATCH = 50
ADVICE = re.compile(
    r"must|give|write|choose|choice|between|at least|at most|expected|shorten|quote|one of|leave|keep|too large a|"
    r"takes|range|are whole numbers|the columns are|counted from|has no group|no column is called|training ends at|"
    r"lower lr|leave it out|such as|is above|is the label"
)
OTHERWISE = (
    "characters, more than", "has no trial", "at least one", "a multiple of 2 heads", "which is the label",
    "a lower lr",
)  # fmt: skip
"""Messages in which a value is shown as what it leads to."""
GOOD = ("result", "refused")


@attrs.frozen
class Outcome:
    """A case and what came of it."""

    case: Case
    kind: str
    line: str


def tried(chosen: Sequence[Case], folder: Path) -> Iterator[Outcome]:
    """The outcome of each case, in a folder made by `warm`."""
    left = list(chosen)
    while left:
        batch, left = left[:BATCH], left[BATCH:]
        results = _batch(batch, folder)
        for case, answer in zip(batch, results, strict=False):
            yield Outcome(case, *_class_of(case, answer))
        if len(results) < len(batch):
            yield Outcome(batch[len(results)], "hang", "killed")
            left = [*batch[len(results) + 1 :], *left]


def _batch(chosen: Sequence[Case], folder: Path) -> list[dict[str, Any]]:
    """What a child answers for the cases until one kills it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _work(chosen, folder, writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answers:
        results = [json.loads(line) for line in answers]
    os.waitpid(child, 0)
    return results


def _work(chosen: Sequence[Case], folder: Path, writing: int) -> None:
    os.chdir(folder)
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (addresses + ROOM, addresses + ROOM))
    training_recipe.TRIED, training_recipe.TIMED = 1, 1  # estimates of time need no accuracy here
    for case in chosen:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(20 * SECONDS)
        answer = json.dumps(_answer(case)) + "\n"
        signal.setitimer(signal.ITIMER_PROF, 0)
        os.write(writing, answer.encode())


def _answer(case: Case) -> dict[str, Any]:
    if case.file:
        Path("case.toml").write_text(case.file, encoding="utf-8")
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code = command(list(case.arguments))
        except BaseException:
            code = 70
            traceback.print_exc(file=errors)
    return {"code": code, "stderr": errors.getvalue()[-20000:]}


def _class_of(case: Case, answer: dict[str, Any]) -> tuple[str, str]:
    """The class of an outcome, and the last line of what was said."""
    code, lines = answer["code"], answer["stderr"].splitlines()
    line = lines[-1] if lines else ""
    if "Traceback" in answer["stderr"]:
        return "traceback", " | ".join(lines[-3:])[-400:]
    if code == 0:
        return ("result" if not [line for line in lines if not line.startswith("note: ")] else "unnamed"), line
    if "not enough memory" in line:
        return "memory", line
    refused = code == 2 and len(lines) == 1 and line.startswith("error: ")
    return ("refused" if refused and _names(case, line) else "unnamed"), line


def _names(case: Case, line: str) -> bool:
    """Whether a line names the option and the value, and says what to give."""
    text = line.lower().replace("_", "-")
    option = case.option.rpartition(".")[2].lower().replace("_", "-").removesuffix("s")
    named = option in text or "expression" in text or "toml" in text or f" {option[0]} " in text
    otherwise = any(words in text for words in OTHERWISE)
    shown = any(spelling.lower() in text for spelling in _spellings(case.typed))
    return bool(ADVICE.search(line)) and (otherwise or (named and shown))


def _spellings(typed: str) -> set[str]:
    """How a value may be shown in a message."""
    bare = typed.strip()
    number, unit = re.fullmatch(r"(.*?)(it|s)?", bare, re.DOTALL).groups("")  # type: ignore[union-attr]
    spellings = {bare[:12], repr(typed), bare.encode("unicode_escape").decode()}
    with contextlib.suppress(ValueError, OverflowError):
        value = float(number)
        spellings |= {
            f"{value:g}",
            f"{value:.3g}",
            f"{value:.15g}",
            repr(value),
            f"{value:,.0f}" if abs(value) < 1e30 else "inf",
        }
    with contextlib.suppress(ValueError):
        spellings |= {f"{int(number):,}", str(int(number))}
    return {spelling.replace("_", "-") for spelling in spellings} | ({"empty", "''"} if not bare else set()) - {unit}


def warm(folder: Path, commands: Sequence[list[str]]) -> None:
    """Run commands in this process, so that what they make is there and what they import is imported."""
    os.environ |= {"GUIDEPLUG_STORE": str(folder / "store"), "GUIDEPLUG_TRUSTED": str(folder / "trusted")}
    here = Path.cwd()
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()):
        for arguments in commands:
            assert command(arguments) == 0, arguments
    os.chdir(here)


def quick(case: Case) -> bool:
    """Whether a case needs no file of another command, and no network that takes long to build."""
    text = " ".join(case.arguments) + case.file
    slow = ("digits", "tree", "one", "table.csv", "study")
    return case.arguments[0] in ("explain", "run", "compare", "store") and not any(word in text for word in slow)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="one case of so many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first case")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--quick", type=int, default=0, help="so many quick cases, chosen by a fixed seed")
    parser.add_argument("--out", help="a file of a line of JSON for each case")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "here"
        folder.mkdir()
        chosen = [case for case in cases(Path(name)) if options.only in case.name][options.first :: options.every]
        if options.quick:
            chosen = random.Random(0).sample([case for case in chosen if quick(case)], options.quick)
        warm(folder, [] if options.quick else prepare_folder(folder))
        counts: collections.Counter[str] = collections.Counter()
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(Path(options.out or os.devnull).open("w", encoding="utf-8"))
            for outcome in tried(chosen, folder):
                counts[outcome.kind] += 1
                log.write(json.dumps({"case": outcome.case.name, "kind": outcome.kind, "line": outcome.line}) + "\n")
                log.flush()
                if outcome.kind not in GOOD:
                    print(f"{outcome.kind:10} {outcome.case.name}: {outcome.line[:300]}", flush=True)
        print(f"{len(chosen)} cases: {', '.join(f'{count} {kind}' for kind, count in counts.most_common())}")
        sys.exit(int(any(kind not in GOOD for kind in counts)))


if __name__ == "__main__":
    _main()
