"""The table of wrong plugins, and what the command line answers to each.

A case is a strategy in ``tests/safety/wrong`` that breaks one rule of its kind, and a word that the answer must hold.
As a script it prints how each is answered now: ``python tests/safety/wrong_plugins.py [KIND...]``.
"""

import importlib.util
import json
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from click.testing import CliRunner

HERE = Path(__file__).parent / "wrong"
TOY = Path(__file__).parents[1] / "cli" / "toy.py"
SMALL = ("--device", "cpu", "--set", "threads=1", "--set", "train.duration=4it", "--samples", "16")
LONGEST = 60.0
"""Seconds until a command that does not end is interrupted."""


@attrs.frozen
class Case:
    """A wrong plugin.

    Args:
        kind: of its strategy.
        name: of the strategy.
        file: the plugin file that offers it.
        word: a word of the answer, for the contract that it breaks.
    """

    kind: str
    name: str
    file: Path
    word: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def command(self) -> list[str]:
        """The command that uses it."""
        options: dict[str, list[str]] = {
            "sampler": ["run", "--task", "toy", "--sampler", self.name],
            "guider": ["run", "--task", "toy", "--guider", self.name],
            "weight": ["run", "--task", "toy", "--guider", f"autoguidance(weight={self.name})"],
            "denoiser": ["run", "--task", "toy", "--denoiser", self.name, "--guider", "autoguidance",
                         "--set", f"models.weak.denoiser={self.name}"],
            "selector": ["run", "--task", "toy", "--selector", self.name],
            "task": ["run", "--task", self.name],
            "metric": ["run", "--task", "toy", "--guider", "autoguidance"],
            "observer": ["run", "--task", "toy", "--observer", self.name],
            "recipe": ["run", "--task", "toy", "--model", f"main={self.name}"],
            "reward": [
                "run", "--task", "toy", "--guider", "learned(autoguidance)",
                "--set", f"models.weights.reward={self.name}", "--set", "models.weights.iterations=2",
            ],
            "executor": ["compare", "--task", "toy", "--selector", "none", "--selector", "random", "--snapshots", "2",
                         "--no-curves", "--duration", "4it", "--samples", "16", "--executor", self.name],
            "study": ["study", self.name],
        }  # fmt: skip
        words = options[self.kind]
        small = SMALL if words[0] == "run" else ("--device", "cpu") if words[0] == "study" else SMALL[:4]
        return [*words, *small, "--plugin", str(TOY), "--plugin", str(self.file)]


def _listed(name: str) -> Any:
    """The module of a file of wrong plugins; the toy is imported under the name that it has as a plugin."""
    for path, module in ((TOY, "guideplug_local_toy"), (HERE / f"{name}.py", f"guideplug_local_{name}")):
        if module not in sys.modules:
            spec = importlib.util.spec_from_file_location(module, path)
            assert spec is not None
            assert spec.loader is not None
            sys.modules[module] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[module])
    return sys.modules[f"guideplug_local_{name}"]


def cases() -> list[Case]:
    """The table."""
    tables = {
        "samplers": {"sampler": "WRONG"}, "guiders": {"guider": "WRONG", "weight": "WEIGHTS"},
        "networks": {"denoiser": "WRONG"}, "selectors": {"selector": "WRONG"}, "tasks": {"task": "WRONG"},
        "descriptions": {"task": "WRONG"},
        "metrics": {"metric": "WRONG"}, "observers": {"observer": "WRONG"},
        "recipes": {"recipe": "WRONG", "reward": "REWARDS"},
        "experiments": {"executor": "EXECUTORS", "study": "STUDIES"},
    }  # fmt: skip
    return [
        Case(kind, cls.name, HERE / f"{file}.py", word)
        for file, kinds in tables.items()
        for kind, table in kinds.items()
        for cls, word in getattr(_listed(file), table)
    ]


@attrs.frozen
class Answer:
    """What a command answered to a case.

    Args:
        case: the case.
        code: its exit code.
        lines: its lines on standard error.
        status: of the run, the comparison or the study; empty where none was begun.
        trace: the class of what it raised through; empty for none.
        out: its lines on standard output.
        folder: where its results would be.
    """

    case: Case
    code: int
    lines: Sequence[str]
    status: str
    trace: str
    out: str
    folder: Path

    @property
    def verdict(self) -> str:
        """In a word how it was answered."""
        errors = [line for line in self.lines if line.startswith("error: ")]
        if self.trace:
            return f"traceback of {self.trace}"
        if self.case.kind == "observer":
            warnings = [line for line in self.lines if self.case.name in line]
            word = self.case.word
            if self.code == 0 and self.status != "finished":
                return f"exit 0, {self.status}"
            if self.code != 0 and self.status == "finished":
                return "exit not 0, and finished"
            if word and not any(word in line for line in warnings):
                return "finished, and says nothing"
            return "right"
        if self.code == 0:
            return "finished" if self.status == "finished" else f"exit 0, {self.status}"
        if len(errors) != 1 or len(self.lines) != 1:
            return f"{len(self.lines)} lines"
        if self.status == "finished":
            return "exit not 0, and finished"
        line = errors[0]
        if self.case.file.name not in line:
            return "without the plugin"
        if self.case.name not in line or self.case.kind not in line:
            return "without the strategy"
        return "right" if self.case.word in line else "without the contract"


def asked(case: Case, folder: Path) -> Answer:
    """The answer of a command, in process and in a new folder; the store is that of the environment."""
    from guideplug.cli.main import main

    out = folder / "out"
    before = Path.cwd()
    os.chdir(folder)
    os.environ["WRONG_METRIC"] = case.name if case.kind == "metric" else ""
    watchdog = threading.Timer(LONGEST, lambda: os.kill(os.getpid(), 2))
    watchdog.start()
    try:
        result = CliRunner().invoke(main, [*case.command, "--out", str(out)], prog_name="guideplug")
    except BaseException as error:  # what CliRunner lets pass ends the process
        return Answer(case, 1, [], _status(out), type(error).__name__, "", out)
    finally:
        watchdog.cancel()
        os.chdir(before)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        os.environ.pop("WRONG_METRIC")
    error = result.exception
    trace = "" if error is None or isinstance(error, SystemExit) else type(error).__name__
    return Answer(
        case, result.exit_code, [line for line in result.stderr.splitlines() if not line.startswith("note: ")],
        _status(out), trace, result.stdout, out,
    )  # fmt: skip


def _status(out: Path) -> str:
    for name in ("run.json", "compare.json", "study.json"):
        if (out / name).is_file():
            return str(json.loads((out / name).read_text()).get("status", "written"))
    return ""


def _main() -> None:
    counts: dict[str, dict[str, int]] = {}
    kinds = sys.argv[1:]
    for case in cases():
        if kinds and case.kind not in kinds and str(case) not in kinds:
            continue
        with tempfile.TemporaryDirectory() as folder:
            answer = asked(case, Path(folder))
        of_kind = counts.setdefault(case.kind, {})
        of_kind[answer.verdict] = of_kind.get(answer.verdict, 0) + 1
        last = answer.lines[-1][:400] if answer.lines else ""
        sys.stdout.write(f"{case!s:40} {answer.verdict:34} {answer.code:3} {answer.status:11} {last}\n")
        sys.stdout.flush()
    for kind, verdicts in counts.items():
        sys.stdout.write(f"{kind} {sum(verdicts.values())} {verdicts}\n")


if __name__ == "__main__":
    _main()
