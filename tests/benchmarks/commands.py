"""What a fixed set of commands prints and writes: a record of it, and the difference of two records.

For changes of the code that must change nothing.

    python tests/benchmarks/commands.py record FOLDER [GUIDEPLUG [NAME ...]]
    python tests/benchmarks/commands.py compare BEFORE AFTER

GUIDEPLUG is the command of the version to record, by default the one beside this Python. A record has its own store,
and every command runs with one thread; with names, these commands alone are recorded anew. What a clock, a machine or a
hash of sources decides is left out of the comparison: seconds, processes, hosts, versions, hashes. Files of samples and
of weights are compared byte by byte.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TOY = Path(__file__).parents[1] / "cli" / "toy.py"
SMALL = "--set threads=1 --device cpu --batch 128 --duration 24it --samples 96"
NAMES = (
    "run", "sample", "compare", "study", "evaluate", "explain", "plugins", "plugins list", "plugins show",
    "plugins check", "store", "store list", "store prune", "store verify", "cite", "report", "check", "watch", "new",
    "demo", "completion",
)  # fmt: skip
COMMANDS = {
    "help": "--help",
    **{f"help-{name.replace(' ', '-')}": f"{name} --help" for name in NAMES},
    "version": "--version",
    "plugins-list": "plugins list",
    "plugins-list-json": "plugins list --json",
    "plugins-show-autoguidance": "plugins show autoguidance",
    "plugins-show-jest": "plugins show jest",
    "plugins-show-train": "plugins show train",
    "explain-interval": "explain 'interval(autoguidance, low=0.1, high=2)' --steps 16",
    "explain-cfg-json": "explain 'cfg(weight=ramp(1, 3))' --task digits --sampler 'euler(num_steps=20)' --json",
    "dry-run": f"run --task tree {SMALL} --guider autoguidance --selector early-jest --dry-run --out dry",
    "run-tree": f"run --task tree {SMALL} --guider autoguidance --selector early-jest --out run-tree",
    "run-churn": f"run --task tree {SMALL} --guider 'interval(cfg(weight=3), low=0.05, high=2)' "
    "--selector 'jest(num_chunks=4)' --sampler 'heun(num_steps=12, churn=3)' --out run-churn",
    "run-digits": f"run --task digits {SMALL} --guider 'autoguidance(weight=cosine(1, 2))' --selector random "
    "--out run-digits",
    "run-blend": f"run --task mixture {SMALL} --guider 'blend([cfg(weight=2), apg(autoguidance(weight=2))], "
    "shares=[0.5, 0.5])' --json --out run-blend",
    "run-sims": f"run --task tree {SMALL} --guider sims --selector 'partial(loss)' --out run-sims",
    "run-learned": f"run --task mixture {SMALL} --guider 'learned(autoguidance)' --set models.weights.iterations=12 "
    "--out run-learned",
    "run-labels": f"run --task 'tree(classes=both, labels=true)' {SMALL} --guider 'cfg(weight=ramp(1, 3))' "
    "--selector 'jest(guider=cfg(weight=2))' --out run-labels",
    "run-model": f"run --task tree {SMALL} --guider autoguidance --model "
    "weak=run-tree/denoisers/weak.safetensors --out run-model",
    "run-finished": "run --resume run-tree",
    "sample": "sample run-tree --guider 'autoguidance(weight=3)' --sampler 'euler(num_steps=9)' --samples 64 --seed 5 "
    "--set threads=1 --device cpu --out sample",
    "sample-file": "sample --task tree --model main=run-tree/denoisers/main.safetensors --guider none --samples 64 "
    "--set threads=1 --device cpu --out sample-file",
    "compare-dry": f"compare --task tree {SMALL} --selector none --selector random --seeds 0,1 --dry-run",
    "compare": f"compare --task tree {SMALL} --guider none --guider autoguidance --selector none "
    "--selector 'jest(num_chunks=4)' --seeds 0,1 --snapshots 2 --out compare",
    "compare-resumed": "compare --resume compare",
    "study-list": "study",
    "study-dry": "study weights --dry-run --device cpu --set seeds=[0]",
    "study": f"study 'weights(task=toy, guiders=[autoguidance(weight=1.5:2.5:0.5)], seeds=[0, 1])' --plugin {TOY} "
    "--device cpu --out study",
    "study-resumed": "study --resume study",
    "evaluate": "evaluate run-tree/samples.npz --task tree",
    "evaluate-json": "evaluate run-digits/samples.npz --task digits --json",
    "cite": "cite run-tree",
    "cite-learned": "cite run-learned",
    "report-run": "report run-tree",
    "report-several": "report run-tree run-sims --out several.html",
    "report-compare": "report compare",
    "report-study": "report study",
    "store-list": "store list",
    "store-verify": "store verify",
    "new": "new mine --kind guider",
    "error-guider": "run --task tree --guider autogidance",
    "error-option": "run --task tree --guider 'autoguidance(wieght=2)'",
    "error-set": "run --task tree --set guidr.weight=2",
    "error-role": f"run --task tree {SMALL} --model strong=run-tree/denoisers/weak.safetensors",
    "error-file": "run nowhere.toml",
    "error-model": "run --task tree --model weak=nowhere.safetensors --guider autoguidance",
    "error-none": "run --task none",
    "error-sampler": "run --task tree --sampler 'heun(num_steps=0)'",
    "error-duration": "run --task tree --duration 3parsecs",
    "error-many": "run --task tree --samples 99999999999999",
    "error-folder": "sample nowhere --guider none",
    "error-evaluate": "evaluate nowhere.npz --task tree",
    "error-study": "study nothing",
    "error-compare": "compare --task tree --guider none --guider none --seeds 0,0",
    "error-explain": "explain 'cfg('",
    "error-show": "plugins show nothing",
}
"""The commands by name, in their order: later ones use what earlier ones wrote."""

BY_CLOCK = {
    "seconds", "time", "started", "process", "host", "phases", "platform", "versions", "busy", "git", "identity",
    "networks", "code", "sha256", "decides", "command", "plugins", "hidden_seconds", "at", "made",
}  # fmt: skip
"""Keys of JSON files whose values a clock, the machine or the sources decide."""


def record(folder: Path, guideplug: str, names: Sequence[str]) -> None:
    """Run commands in a folder; what they print is kept beside what they write."""
    if not names:
        shutil.rmtree(folder, ignore_errors=True)
    (folder / "printed").mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "GUIDEPLUG_STORE": str(folder / "store"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }
    for name in names or COMMANDS:
        line, begin = COMMANDS[name], time.perf_counter()
        done = subprocess.run(
            [guideplug, *shlex.split(line)], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        (folder / "printed" / f"{name}.json").write_text(
            json.dumps({"exit": done.returncode, "out": done.stdout, "error": done.stderr}, indent=1)
        )
        print(f"{name:<28} exit {done.returncode}  {time.perf_counter() - begin:6.1f} s", flush=True)


def plain(text: str) -> list[str]:
    """The lines of a text, without what a clock, the folder or a hash decides, and without lines of progress."""
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "HASH", text)
    text = re.sub(r"\bhelper [0-9a-f]{6}\b", "helper HASH", text)
    text = re.sub(r"\b[0-9a-f]{6,10}\b(?= |$)", "HASH", text)
    text = re.sub(r"/\S*/(?=\w)", "", text)
    text = re.sub(r"\b(about )?[\d.,]+ ?(s|ms|min|h|seconds?|minutes?|hours?|MB|kB|GB|it/s|steps/s)\b", "AMOUNT", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?\b", "DATE", text)
    text = re.sub(r" +", " ", text)
    return [line.rstrip() for line in text.splitlines() if not line.lstrip().startswith(("[", "seconds: "))]


def printed(text: str) -> Any:
    """What a command printed, JSON by its values; without sentences at equal time, which a clock decides."""
    with contextlib.suppress(ValueError):
        return settled(json.loads(text))
    return [line for line in plain(text) if "At equal" not in line and "more in tables.md" not in line]


def settled(value: Any) -> Any:
    """A value of a JSON file, without what a clock, the machine or the sources decide."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items() if key not in BY_CLOCK}
    if isinstance(value, list):
        return [settled(item) for item in value]
    return plain(value) if isinstance(value, str) else value


def unshared(lines: Any, others: Any) -> str:
    """What two outputs do not share, its beginning."""
    if not (isinstance(lines, list) and isinstance(others, list)):
        return "other values"
    return str([line for line in [*lines, *others] if (line in lines) != (line in others)][:6])


def different(before: Path, after: Path) -> Iterator[str]:
    """What differs between two records, a line for each file."""
    for name in COMMANDS:
        old, new = (json.loads((folder / "printed" / f"{name}.json").read_text()) for folder in (before, after))
        if old["exit"] != new["exit"]:
            yield f"{name}: exit {old['exit']}, then {new['exit']}"
        for stream in ("out", "error"):
            lines, others = printed(old[stream]), printed(new[stream])
            if lines != others:
                yield f"{name}, {stream}: {unshared(lines, others)}"
    skipped = {"printed", "store", "cache"}
    files = {
        path.relative_to(folder)
        for folder in (before, after)
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in skipped
    }
    for path in sorted(files):
        if "cells" in path.parts and not ((before / path).is_file() and (after / path).is_file()):
            continue  # at which steps equal time is measured, the clock decides
        if not ((before / path).is_file() and (after / path).is_file()):
            yield f"{path}: {'gone' if (before / path).is_file() else 'new'}"
        elif not same(before / path, after / path):
            yield f"{path}: differs"


def same(before: Path, after: Path) -> bool:
    """Whether two files of one name say the same."""
    if before.name in ("costs.json", "compare.json", "checksums.sha256", "tables.md", "values.csv"):
        return True  # what equal time is, the clock decides; the cells are compared
    if before.suffix == ".json":
        old, new = (json.loads(path.read_text()) for path in (before, after))
        return bool(settled(old) == settled(new))
    if before.suffix == ".jsonl":
        return events(before) == events(after)
    if before.suffix in (".html", ".svg", ".png", ".gif", ".pdf"):
        return True  # they hold seconds
    if before.suffix in (".npz", ".npy", ".safetensors"):
        return before.read_bytes() == after.read_bytes()
    return plain(before.read_text()) == plain(after.read_text())


def events(path: Path) -> list[Any]:
    """The events of a log but those that come when the clock says."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [settled(line) for line in lines if line.get("event") not in ("checkpoint", "sample", "wait")]


def main() -> None:
    if sys.argv[1:2] == ["record"] and len(sys.argv) > 2:
        beside = str(Path(sys.executable).with_name("guideplug"))
        record(Path(sys.argv[2]).resolve(), sys.argv[3] if len(sys.argv) > 3 else beside, sys.argv[4:])
    elif sys.argv[1:2] == ["compare"] and len(sys.argv) == 4:
        lines = list(different(Path(sys.argv[2]), Path(sys.argv[3])))
        print("\n".join(lines) or f"{len(COMMANDS)} commands: nothing differs")
        sys.exit(1 if lines else 0)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
