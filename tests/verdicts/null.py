"""How often a verdict is wrong where two arms are of one distribution, and how often it is right where they are not.

    python tests/verdicts/null.py --trials 200 --out null.jsonl        # goes on where it was stopped
    python tests/verdicts/null.py --table null.jsonl                   # what stands in docs/metrics.md

A trial draws two arms, measures the primary metrics of a task, and judges them as the end of a run does. Samples are
not drawn by networks but from a distribution that can be drawn without end: the data, a share of them *jittered*.

    independent      both arms from one distribution, a tenth jittered
    shared           the same, and 95 % of the samples are those of the other arm
    fidelity         10 % of one arm's samples are jittered, 15 % of the other's
    coverage         the largest group of the data has half of its weight in the other arm

    task      data                                              jitter   largest group            samples
    tree      the tree                                          .08      the trunk                2,048
    digits    training images, noise of .15 on each pixel       .5       the class with the most  449
    points    two half circles with noise of .1, 3,000 rows     .3       the upper half circle    600
    images    Fashion-MNIST, real images as they are            1        the first class          500

Of images none is jittered but in *fidelity*, 5 % there: both arms are real images, of disjoint halves of the 60,000,
and neither half holds an image that the task trains on or measures with, which are of the other 10,000. Where
Fashion-MNIST (Debian's dataset-fashion-mnist) is not installed, they are spots of light.
"""

import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from attrs import frozen
from scipy.stats import binomtest
from torch import Tensor

from guideplug import Arm, Context, Task
from guideplug.registry.registry import Registry
from guideplug.run.measure import measured
from guideplug.run.resolve import Request, resolve
from guideplug.run.verdict import Verdict, verdicts

Draw = Callable[[np.random.Generator, int, str], tuple[Tensor, Tensor, Tensor]]
"""Of an arm: clean samples (N, *), what is added to jittered ones (N, *), whether each is of the largest group (N,)."""

SHARE, MORE, KEPT = 0.10, 0.15, 0.95
SCENARIOS = ("independent", "shared", "fidelity", "coverage")
COUNTS = {"tree": 2048, "digits": 449, "points": 600, "images": 500}
FASHION = Path("/usr/share/datasets/fashion-mnist")


@frozen
class Bed:
    """A task and a distribution of samples for it."""

    task: Task
    context: Context
    draw: Draw
    share: float = SHARE
    """Of jittered samples in both arms."""

    def arm(self, generator: np.random.Generator, name: str, count: int, share: float, *, halved: bool = False) -> Arm:
        """Samples, a share of them jittered; where halved, half of those of the largest group are drawn anew."""
        clean, jitter, largest = self.draw(generator, 3 * count, name)
        if halved:
            kept = ~largest | torch.from_numpy(generator.random(len(clean)) < 0.5)
            clean, jitter = clean[kept], jitter[kept]
        moved = torch.from_numpy(generator.random(count) < share).reshape(-1, *[1] * (clean.ndim - 1))
        return Arm(name, torch.where(moved, clean[:count] + jitter[:count], clean[:count]))

    def trial(self, scenario: str, seed: int, count: int) -> list[Verdict]:
        """What is judged of two arms."""
        generator = np.random.default_rng([seed, SCENARIOS.index(scenario)])
        one = self.arm(generator, "unguided", count, self.share)
        share, halved = self.share + (MORE - SHARE) * (scenario == "fidelity"), scenario == "coverage"
        other = self.arm(generator, "guided", count, share, halved=halved)
        if scenario == "shared":
            own = torch.from_numpy(generator.random(count) < KEPT).reshape(-1, *[1] * (one.samples.ndim - 1))
            other = Arm("guided", torch.where(own, one.samples, other.samples))
        names = self.task.primary()
        metrics = [metric for metric in self.task.metrics() if metric.name in names]
        context = Context(
            self.task, self.context.references, self.context.sampler, self.context.seed, dict(self.context.cache)
        )
        arms = (*self.context.references.values(), one, other)
        values = {arm.name: measured(arm, metrics, context) for arm in arms if arm.name != "exact"}
        return verdicts(metrics, names, one, other, values, context)


def bed(task: Task, sampler: str, draw: Draw, registry: Registry, count: int, share: float = SHARE) -> Bed:
    config = resolve(Request(values={"task": task, "sampler": sampler, "device": "cpu"}), registry)
    references = {arm.name: arm for arm in task.truth(count, config.sampler, 0)}
    context = Context(task, references, config.sampler, 0)
    for metric in task.metrics():  # so that what references share is computed once
        if metric.name in task.primary():
            metric.measure(references["truth"], context)
    return Bed(task, context, draw, share)


def tree(registry: Registry, count: int) -> Bed:
    from guideplug_tree import Tree

    task = Tree()
    mixture = task.mixture
    weights = torch.zeros(int(mixture.component_branches.max()) + 1).index_add_(
        0, mixture.component_branches, mixture.component_weights.float()
    )
    largest = int(weights.argmax())

    def draw(generator: np.random.Generator, number: int, arm: str) -> tuple[Tensor, Tensor, Tensor]:
        own = torch.Generator().manual_seed(int(generator.integers(2**62)))
        clean, components = mixture.sample_components(number, own)
        return clean, 0.08 * torch.randn(clean.shape, generator=own), mixture.component_branches[components] == largest

    return bed(task, "heun(num_steps=2)", draw, registry, count)


def digits(registry: Registry, count: int) -> Bed:
    from guideplug_digits import Digits
    from guideplug_digits.images import load_split

    images, labels = load_split().train
    largest = int(labels.bincount().argmax())

    def draw(generator: np.random.Generator, number: int, arm: str) -> tuple[Tensor, Tensor, Tensor]:
        own = torch.Generator().manual_seed(int(generator.integers(2**62)))
        rows = torch.randint(len(images), (number,), generator=own)
        clean = images[rows] + 0.15 * torch.randn(number, 1, 8, 8, generator=own)
        return clean, 0.5 * torch.randn(clean.shape, generator=own), labels[rows] == largest

    return bed(Digits(), "heun(num_steps=2)", draw, registry, count)


def points(registry: Registry, count: int) -> Bed:
    from guideplug_points import Points

    def draw(generator: np.random.Generator, number: int, arm: str) -> tuple[Tensor, Tensor, Tensor]:
        angle, upper = np.pi * generator.random(number), generator.random(number) < 0.5
        x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
        y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
        rows = np.stack([x, y], 1) + 0.1 * generator.standard_normal((number, 2))
        return (
            torch.from_numpy(rows).float(),
            torch.from_numpy(0.3 * generator.standard_normal((number, 2))).float(),
            torch.from_numpy(upper),
        )

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npy"
        np.save(file, draw(np.random.default_rng(0), 3000, "")[0].numpy())
        task = Points(path=str(file))
        task.table  # noqa: B018 # read while the file is there
        return bed(task, "heun(num_steps=2)", draw, registry, count)


def spots(folder: Path) -> Path:
    """Images of a spot of light in one of two halves, as files of IDX, in place of Fashion-MNIST."""
    generator = np.random.default_rng(0)
    rows = np.arange(28)
    for name, number in (("train", 60_000), ("t10k", 10_000)):
        labels = generator.integers(0, 2, number).astype(np.uint8)
        x, y, width = (generator.uniform(low, high, (number, 1)) for low, high in ((4, 10), (4, 24), (2, 5)))
        across, along = (np.exp(-(((rows - at) / width) ** 2)) for at in (x + 14 * labels[:, None], y))
        pixels = (255 * across[:, :, None] * along[:, None]).astype(np.uint8)
        for kind, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            with gzip.open(folder / f"{name}-{kind}-ubyte.gz", "wb", compresslevel=1) as file:
                file.write(head + values.tobytes())
    return folder


def images(registry: Registry, count: int) -> Bed:
    from guideplug_images import Images

    with tempfile.TemporaryDirectory() as place:
        folder = FASHION if FASHION.is_dir() else spots(Path(place))
        task = Images(path=str(folder / "t10k-images-idx3-ubyte.gz"), heldout=0.05)
        real = Images(path=str(folder / "train-images-idx3-ubyte.gz"), heldout=0.001).data
        task.data  # noqa: B018 # read while the files are there
    largest = torch.from_numpy(np.asarray(real.prepared.labels.numbers)) == 0

    def draw(generator: np.random.Generator, number: int, arm: str) -> tuple[Tensor, Tensor, Tensor]:
        half = len(largest) // 2
        rows = generator.choice(half, number, replace=False) + half * (arm == "guided")
        own = torch.Generator().manual_seed(int(generator.integers(2**62)))
        clean = real.images(rows)
        return clean, torch.randn(clean.shape, generator=own), largest[torch.from_numpy(rows)]

    return bed(task, "heun(num_steps=2)", draw, registry, count, share=0.0)


BEDS: Mapping[str, Callable[[Registry, int], Bed]] = {
    "tree": tree,
    "digits": digits,
    "points": points,
    "images": images,
}


def trials(task: str, scenario: str, seeds: range, count: int) -> Iterator[dict[str, object]]:
    """The verdicts of trials, a record each."""
    made = BEDS[task](Registry.installed(), count)
    for seed in seeds:
        gains = {one.metric: one.gain for one in made.trial(scenario, seed, count)}
        yield {"task": task, "scenario": scenario, "seed": seed, "gains": gains}


def table(records: list[dict[str, object]]) -> Iterator[str]:
    """Rates of one-way verdicts, with their 95 % intervals, as Markdown."""
    yield "| task | metric | " + " | ".join(SCENARIOS) + " |"
    yield "|---|---|" + "---|" * len(SCENARIOS)
    for task in COUNTS:
        own = [record for record in records if record["task"] == task]
        names = list(dict.fromkeys(name for record in own for name in dict(record["gains"])))  # type: ignore[call-overload]
        for name in names:
            cells = []
            for scenario in SCENARIOS:
                gains = [dict(record["gains"])[name] for record in own if record["scenario"] == scenario]  # type: ignore[call-overload]
                if not gains:
                    cells.append("")
                    continue
                said = sum(gain != 0 for gain in gains)
                low, high = binomtest(said, len(gains)).proportion_ci(method="wilson")
                cells.append(f"{100 * said / len(gains):.1f} % ({100 * low:.0f} to {100 * high:.0f})")
            yield f"| {task} | {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--task", choices=[*COUNTS], action="append")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.table is not None:
        sys.stdout.write("\n".join(table([json.loads(line) for line in options.table.read_text().splitlines()])) + "\n")
        return
    lines = options.out.read_text().splitlines() if options.out.is_file() else []
    done = {(one["task"], one["scenario"], one["seed"]) for one in map(json.loads, lines)}
    with options.out.open("a") as file:
        for task in options.task or COUNTS:
            for scenario in options.scenario or SCENARIOS:
                first = next(seed for seed in range(options.trials + 1) if (task, scenario, seed) not in done)
                for record in trials(task, scenario, range(first, options.trials), COUNTS[task]):
                    file.write(json.dumps(record) + "\n")
                    file.flush()


if __name__ == "__main__":
    main()
