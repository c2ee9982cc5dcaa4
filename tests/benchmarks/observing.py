"""What watching and checkpointing cost: whole training iterations on the 2D tree, in paired blocks in one process.

    python tests/benchmarks/observing.py [--rounds 12] [--steps 160] [--threads 1]

One training goes on throughout; in each block of steps other listeners are told, as `guideplug run` tells them: a step
event in every 32nd step. Blocks of all ways follow each other in an order that is drawn anew in each round, so that a
machine that is shared slows all of them alike. What each way adds is printed twice: the median ratio of its blocks to
those of the same round without listeners, which on a busy machine is mostly the machine's noise; and what was spent in
listeners as a share of the block, in processor time of this thread, so that no other process counts. Drawing the bars
is done in a thread of its own, and is clocked apart. A checkpoint's price is that of one in every 20 s.
"""

import argparse
import io
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from guideplug import Duration, Registry
from guideplug.config import Reader
from guideplug.observe import Listener, Observer, Observers, RunInfo
from guideplug.recipes import Train
from guideplug.recipes.training_recipe import _details
from guideplug.run.builder import StoreBuilder
from guideplug.run.folder import EventLog
from guideplug.run.making import SECONDS_BETWEEN_STATES, Making
from guideplug.run.progress import REFRESHES, ProgressBars
from guideplug.run.resolve import Request, resolve
from guideplug.store import Store
from guideplug.train import CHECK_EVERY, Training


class Clock:
    """Seconds of the processor spent in a function."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, call: Callable[[], object]) -> None:
        begin = time.thread_time()
        call()
        self.seconds += time.thread_time() - begin


def listeners(folder: Path, registry: Registry) -> dict[str, Observers]:
    """The ways of watching, each with all of those before it but W&B, which is by itself."""

    def log(name: str) -> Listener:
        return EventLog(folder / f"{name}.jsonl")

    def bars() -> Listener:
        return ProgressBars(Console(file=io.StringIO(), force_terminal=True, width=120))

    reader = Reader(registry)
    kinds = {
        "nobody": Observers(),
        "event log": Observers([log("one")]),
        "event log, progress bars": Observers([log("two"), bars()]),
        "event log, progress bars, tensorboard": Observers([log("three"), bars()]),
        "event log, wandb (offline)": Observers([log("four")]),
    }
    for way, name in (
        ("event log, progress bars, tensorboard", "tensorboard"),
        ("event log, wandb (offline)", "wandb"),
    ):
        if name in registry.names("observer"):
            chosen: Observer = reader.expression(name, Observer)
            kinds[way].open([chosen], RunInfo(folder))
        else:
            kinds.pop(way)
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=160, help="in each block; a multiple of 32")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    registry = Registry.installed()
    recipe = resolve(Request({"task": "tree", "device": "cpu", "duration": "1000000it"}), registry).main
    assert isinstance(recipe, Train)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        shop = StoreBuilder(Store(folder / "store"), torch.device("cpu"), Observers())
        training = shop.begin(recipe)
        measure(
            training,
            listeners(folder, registry),
            folder,
            arguments.rounds,
            arguments.steps,
        )


def measure(training: Training, ways: dict[str, Observers], place: Path, rounds: int, steps: int) -> None:
    blocks: dict[str, list[float]] = {name: [] for name in ways}
    clocks = {name: Clock() for name in ways}
    worked = dict.fromkeys(ways, 0.0)
    makings = {name: Making(training.role, tell, lambda: None) for name, tell in ways.items()}

    def block(name: str) -> float:
        def each(now: Training) -> None:
            if now.step % CHECK_EVERY == 0:
                clocks[name](lambda: makings[name].progress(now.step, 1e6, now.last_loss, **_details(now)))

        begin, computed = time.perf_counter(), time.thread_time()
        training.run(until=Duration(training.step + steps, "it"), each=each)
        worked[name] += time.thread_time() - computed
        return time.perf_counter() - begin

    for name in ways:
        makings[name].progress(0, 1e6)
        block(name)
        clocks[name].seconds = worked[name] = 0.0
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(ways), len(ways)):
            blocks[name].append(block(name))
    alone = statistics.median(blocks["nobody"]) / steps
    lines = [f"tree, batch 4096, {torch.get_num_threads()} threads; an iteration takes {1000 * alone:.1f} ms (median)"]
    lines.append(f"{'who watches':40}{'ratio of blocks':>22}{'spent in listeners':>20}{'a step event':>16}")
    for name, seconds in blocks.items():
        ratios = sorted(block / base for block, base in zip(seconds, blocks["nobody"], strict=True))
        quarter = len(ratios) // 4
        spread = f"{statistics.median(ratios):.3f} ({ratios[quarter]:.3f}-{ratios[-1 - quarter]:.3f})"
        event = clocks[name].seconds / (rounds * steps / CHECK_EVERY)
        share = clocks[name].seconds / worked[name]
        lines.append(f"{name:40}{spread:>22}{share:>19.3%}{1e6 * event:>13.0f} us")
    bars = ProgressBars(Console(file=io.StringIO(), force_terminal=True, width=120))
    bars.on_event("train", {"role": "main", "total": 100, "step": 0, "unit": "it"})
    drawing = []
    for _ in range(20):
        begin = time.thread_time()
        bars._progress.refresh()
        drawing.append(time.thread_time() - begin)
    bars.close()
    drawn = statistics.median(drawing)
    lines.append(f"drawing the bars takes {1000 * drawn:.1f} ms, {REFRESHES:g} times a second: {REFRESHES * drawn:.2%}")
    for tell in ways.values():
        tell.close()  # progress bars catch what is printed while they are there
    keeper = Making(training.role, Observers(), lambda: None, place)
    keeper.checkpoint(training)
    saves = []
    for _ in range(rounds):
        training.run(until=Duration(training.step + 1, "it"))
        begin = time.perf_counter()
        keeper._save()
        saves.append(time.perf_counter() - begin)
    price = statistics.median(saves)
    lines.append(
        f"a checkpoint takes {1000 * price:.1f} ms (median; {1000 * max(saves):.1f} at most); one in every "
        f"{SECONDS_BETWEEN_STATES:g} s is {price / SECONDS_BETWEEN_STATES:.3%} of the time"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
