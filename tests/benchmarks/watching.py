"""What `guideplug watch --once` costs on a long log: seconds of the whole process, and the most memory that it held.
On Linux.

    python tests/benchmarks/watching.py [--events 1000000]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from guideplug.testing import events_of_a_run

WATCH = (
    "import sys, time\nfrom guideplug.cli import main\nmain(['watch', sys.argv[1], '--once'], standalone_mode=False)\n"
    "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
    "print('COST', int(peak) // 1024, 'MiB,', round(time.process_time(), 2), 's of the processor')"
)


def training_log(folder: Path, events: int) -> Iterator[dict[str, object]]:
    """A run whose training tells of so many steps and states; it has not ended."""
    for number, (event, data) in enumerate(events_of_a_run(folder, last=events // 2)):
        if event == "trained":
            return
        yield {"event": event, "time": 1000.0 + number, **data, **({"process": os.getpid()} if event == "run" else {})}


def study_log(folder: Path, events: int) -> Iterator[dict[str, object]]:
    """A study of so many trials."""
    yield {"event": "run", "time": 0.0, "kind": "study", "study": "figure1", "resumed": False, "process": os.getpid()}
    for done in range(1, events + 1):
        which = {"which": f"width {done}", "axes": {"width": done}, "metrics": {"distance": 0.5}, "seconds": 1.0}
        yield {"event": "trial", "time": float(done), "done": done, "total": events + 1, **which}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    for write in (training_log, study_log):
        with tempfile.TemporaryDirectory() as place:
            log = Path(place) / "events.jsonl"
            with log.open("w") as file:
                for event in write(Path(place), arguments.events):
                    file.write(json.dumps(event) + "\n")
            begin = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", WATCH, place], capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - begin
            cost = done.stdout.rpartition("COST ")[2].strip()
            print(f"{write.__name__}: {log.stat().st_size / 2**20:.0f} MiB, {seconds:.2f} s, at most {cost}")
            print("\n".join(done.stdout.splitlines()[:6]))


if __name__ == "__main__":
    main()
