"""The cost of importing a plugin, and what it changes: every command that looks at plugins imports all of them.

Each is imported in its own process, forked from one that has imported the core, so that costs are separate.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from guideplug.testing.law import Laws, must

__all__ = ["IMPORT", "SECONDS", "Imported", "imported"]

SECONDS = 0.5
"""Largest processor seconds of an import beyond the core's."""
HEAVY = (
    "datasets", "diffusers", "matplotlib.pyplot", "numba", "ot", "pandas", "scipy", "skimage", "sklearn", "tensorboard",
    "tensorflow", "timm", "torchvision", "transformers", "wandb",
)  # fmt: skip
"""Slow packages, to be imported where they are used."""

PROGRAM = """
import importlib, json, os, sys, time
import guideplug.registry.registry, guideplug.testing.toys
from pathlib import Path
from guideplug.errors import PluginError
from guideplug.files.code import Code
from guideplug.files.import_guard import ImportGuard
from guideplug.files.modules import Modules
heavy, targets = json.loads(sys.stdin.read())

def load(where):
    if not where.endswith(".py"):
        return importlib.import_module(where.partition(":")[0])
    return Modules(Code.of_file(Path(where)), "guideplug_imported").main()

def tried(where):
    guard, answer = ImportGuard(), {}
    before, begin = set(sys.modules), time.process_time()
    try:
        with guard.watch():
            module = load(where)
            answer["seconds"] = time.process_time() - begin
            for name, hook in list(vars(module).items()):
                if name.startswith("guideplug_") and callable(hook):
                    hook()
    except PluginError as error:
        answer["changes"] = str(error)
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {**answer, "heavy": [name for name in heavy if name in sys.modules and name not in before]}

answers = {}
for name, where in targets.items():
    if not hasattr(os, "fork"):
        answers[name] = tried(where)
        continue
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        os.write(writing, json.dumps(tried(where)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        answers[name] = json.loads(answer.read() or '{"error": "its import ended the process"}')
    os.waitpid(child, 0)
sys.__stdout__.write(json.dumps(answers))
"""


@frozen
class Imported:
    """The cost of an import, the slow packages that it imported, and what it changed for other code."""

    seconds: float = 0.0
    heavy: tuple[str, ...] = ()
    error: str = ""
    changes: str = ""


def imported(targets: Mapping[str, str]) -> dict[str, Imported]:
    """The cost of importing each module or file, by name."""
    request = json.dumps([HEAVY, dict(targets)])
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=request, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["the process ended"])[-1]
        return {name: Imported(error=reason) for name in targets}
    answers: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return {
        name: Imported(
            answer.get("seconds", 0.0),
            tuple(answer.get("heavy", ())),
            answer.get("error", ""),
            answer.get("changes", ""),
        )
        for name, answer in answers.items()
    }


IMPORT: Laws[Imported] = Laws()


@IMPORT.add("it can be imported by itself", "say in pyproject.toml what it needs", premise=True)
def _imports(module: Imported) -> None:
    must(not module.error, module.error)


@IMPORT.add(
    "its import and its hooks change nothing for other code", "do it inside of what it offers, and put it back there"
)
def _changes_nothing(module: Imported) -> None:
    must(not module.changes, module.changes)


@IMPORT.add("its import brings in nothing slow", "import it inside of the function that uses it")
def _light(module: Imported) -> None:
    must(not module.heavy, f"it imports {', '.join(module.heavy)}")


@IMPORT.add(f"its import takes less than {SECONDS:g} s", "do no work when the module is imported, but when it is used")
def _quick(module: Imported) -> None:
    must(module.seconds < SECONDS, f"{module.seconds:.1f} s")
