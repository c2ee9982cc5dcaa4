"""What dispatching a job costs: empty jobs on each executor, side by side in one run, in ms per job.

python tests/benchmarks/dispatch.py [JOBS]
"""

import itertools
import statistics
import sys
import time

from guideplug.executors import Executor, Job, Processes, Serial, WorkerSource
from guideplug.experiments.engine import engine_on


class Idle:
    """A worker that returns what it gets."""

    def echo(self, number: int) -> int:
        """The number."""
        return number


def taken(executor: Executor, count: int) -> tuple[float, list[float]]:
    """Seconds until the first result, and ms between later results."""
    times = [time.perf_counter()]
    with engine_on(executor, WorkerSource(Idle(), Idle)) as engine:
        for _ in engine.run([Job(f"job {number}", "echo", (number,)) for number in range(count)]):
            times.append(time.perf_counter())
    gaps = [1000 * (after - before) for before, after in itertools.pairwise(times[1:])]
    return times[1] - times[0], gaps


def main() -> None:
    """Print a line per executor."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for name, executor in {"serial": Serial(), "processes(1)": Processes(1), "processes(2)": Processes(2)}.items():
        first, gaps = taken(executor, count)
        low, middle, high = statistics.quantiles(gaps, n=4)
        sys.stdout.write(
            f"{name:<13} first result after {first:5.2f} s, then {middle:.3f} ms per job ({low:.3f} to {high:.3f})\n"
        )


if __name__ == "__main__":
    main()
