"""Two versions of guideplug timed in turn: each round starts a process of each, on the same work.

    python tests/benchmarks/before_after.py PYTHON_BEFORE PYTHON_AFTER [ROUNDS]

The arguments are the Pythons of two virtual environments. Milliseconds are medians over rounds, of the whole process
for commands, and of the median within a process for the rest; the ratio is the median of the rounds' ratios.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "guideplug --help": ["--help"],
    "guideplug plugins list": ["plugins", "list"],
    "guideplug explain cfg": ["explain", "cfg"],
    "guideplug run --dry-run": ["run", "--task", "mixture", "--guider", "cfg", "--duration", "8it", "--dry-run"],
}
WORK = """
import json, statistics, time
import torch
from torch import nn
torch.set_num_threads(1)
from guideplug import Duration, Registry, wrap
from guideplug.config import Reader
from guideplug.guide import Guider
from guideplug.task import Task
from guideplug.train.training import Training

def median(call, count):
    call()
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)

registry = Registry.installed()
task = Reader(registry).expression("tree", Task, "task")
main = task.recipe("main", None)
weak = task.recipe("weak", main)
training = Training(main.build(), task, main.options, seed=0)
training.run(until=Duration(5, "it"))
begin = time.perf_counter()
training.run(until=Duration(45, "it"))
times = {"tree iteration": 1000 * (time.perf_counter() - begin) / 40}
guider = Reader(registry).expression("autoguidance(weight=2)", Guider, "guider")
point = guider.guide(main.build().eval(), {"weak": weak.build().eval()})
x = torch.randn(4096, 2)
with torch.no_grad():
    times["guided evaluation, 4096 x tree"] = median(lambda: point(x, 0.5), 30)
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            layers = nn.Linear(64, 3072), nn.SiLU(), nn.Linear(3072, 3072), nn.SiLU(), nn.Linear(3072, 64)
            self.layers = nn.Sequential(*layers)
        def forward(self, x, sigma):
            return self.layers(x)
    nets = [wrap(Net(), (64,), predicts="denoised") for _ in range(2)]
    big = guider.guide(nets[0], {"weak": nets[1]})
    y = torch.randn(16, 64)
    times["guided evaluation, 10 M parameters x 16"] = median(lambda: big(y, 0.5), 30)
print(json.dumps(times))
"""


def once(python: str) -> dict[str, float]:
    """Milliseconds of each way of one version."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    times = {}
    for name, arguments in COMMANDS.items():
        begin = time.perf_counter()
        command = [str(Path(python).with_name("guideplug")), *arguments]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        times[name] = 1000 * (time.perf_counter() - begin)
    done = subprocess.run([python, "-c", WORK], env=environment, capture_output=True, text=True, check=True)
    return {**times, **json.loads(done.stdout)}


def main() -> None:
    before, after = sys.argv[1:3]
    rounds = [(once(before), once(after)) for _ in range(int(sys.argv[3]) if len(sys.argv) > 3 else 5)]
    for name in rounds[0][0]:
        pairs = [(old[name], new[name]) for old, new in rounds]
        old, new = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(new / old for old, new in pairs)
        spread = f"({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"{name:<42} {old:9.2f} ms {new:9.2f} ms   ratio {statistics.median(ratios):.3f} {spread}")


if __name__ == "__main__":
    main()
