"""What selection and guidance cost beside the network calls they make: medians and ratios, side by side in one run.

    python tests/benchmarks/selection_and_sampling.py [--threads 2] [--rounds 30]

Each row times several ways of doing one thing in turn, round after round, so that a busy machine slows all alike.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from attrs import evolve
from timing import medians, show

from guideplug import Duration, Losses, SampleStreams, Selector, Task, Train
from guideplug.denoise import Denoiser, Leaf
from guideplug.files.tensors import write_tensors
from guideplug.train import Training
from guideplug_autoguidance import Autoguidance
from guideplug_cfg import CFG
from guideplug_digits import Digits
from guideplug_early import Early
from guideplug_edm import Heun
from guideplug_jest import JEST
from guideplug_partial import Partial
from guideplug_random import Random
from guideplug_tree import Tree


def training(task: Task, selector: Selector | None, streams: int = 0) -> Training:
    """A training of a task at its own scale, with the reference it selects against; perhaps with known losses."""
    main = task.recipe("main", None)
    assert isinstance(main, Train)
    weak = task.recipe("weak", main)
    assert isinstance(weak, Train)
    return Training(
        main.build(),
        task,
        evolve(main.options, noise_streams=streams),
        seed=0,
        selector=selector,
        references={"weak": weak.build().eval()},
        tables={"weak": torch.rand(task.size() or 0, streams)} if streams else {},
        role="main",
    )


def advance(loop: Training) -> Callable[[], object]:
    """One more iteration."""
    return lambda: loop.run(until=Duration(loop.step + 1, "it"))


def iterations(rounds: int) -> None:
    """Whole training iterations: data, targets, scoring, selection, step, EMA."""
    for title, task, jest in (
        ("the tree, super-batch 4096, h 64", Tree(), JEST()),
        ("digits, super-batch 128", Digits(), JEST(num_chunks=8)),
    ):
        arms: dict[str, tuple[Selector | None, int]] = {
            "no selection": (None, 0),
            "random": (Random(), 0),
            "full jest": (jest, 0),
            "jest of a half": (Partial(jest), 0),
            "early-jest, switched off": (Early(jest, until="1it"), 0),
        }
        if task.size() is not None:
            arms["full jest, the reference's losses known"] = (jest, 16)
        trainings = {name: training(task, selector, streams) for name, (selector, streams) in arms.items()}
        for loop in trainings.values():
            loop.run(until=Duration(5, "it"))
        seconds = medians(rounds, {name: advance(loop) for name, loop in trainings.items()})
        show(f"one training iteration of {title}", seconds, "no selection")


def snapshots(rounds: int) -> None:
    """Keeping the averaged weights at every hundredth of a training of the tree: 41 iterations, with and without."""
    task, main = Tree(), Tree().recipe("main", None)
    assert isinstance(main, Train)
    recipe = main
    loop = training(task, None)
    with tempfile.TemporaryDirectory() as folder:

        def iterations(count: int = 41) -> None:
            loop.run(until=Duration(loop.step + count, "it"))

        def and_a_snapshot() -> None:
            iterations()
            write_tensors(Path(folder) / "snapshot.safetensors", loop.weights(recipe.options.ema[0]))

        seconds = medians(rounds, {"41 iterations": iterations, "and a snapshot": and_a_snapshot})
    show("a hundredth of the tree's training", seconds, "41 iterations")


def selection(rounds: int) -> None:
    """The choice alone."""
    for batch in (4096, 163_840):
        generator = torch.Generator().manual_seed(0)
        losses = Losses(batch, torch.rand(batch, generator=generator), torch.rand(batch, generator=generator))
        jest = JEST()

        def choose(losses: Losses = losses, jest: JEST = jest, generator: torch.Generator = generator) -> object:
            return jest.select(losses, {}, generator)

        show(f"selection of 20 % from {batch:,} in 16 chunks", medians(rounds, {"jest": choose}), "jest")


def labelled(hidden: int) -> Leaf:
    """A network of both classes with labels."""
    task = Tree("both", labels=True)
    main = task.recipe("main", None)
    assert isinstance(main, Train)
    return main.build().eval()


@torch.no_grad()
def guidance(rounds: int) -> None:
    """A guided evaluation against the bare network calls it makes, batch 4096."""
    task = Tree()
    main = task.recipe("main", None)
    assert isinstance(main, Train)
    weak = task.recipe("weak", main)
    assert isinstance(weak, Train)
    strong, small = main.build().eval(), weak.build().eval()
    x = 0.5 * torch.randn(4096, 2, generator=torch.Generator().manual_seed(0))
    sigma = torch.full((4096,), 0.4)
    guided = Autoguidance(weight=3.0).guide(strong, {"weak": small})
    ways: dict[str, Callable[[], object]] = {
        "bare calls": lambda: (strong.denoise(x, sigma, None), small.denoise(x, sigma, None)),
        "autoguidance": lambda: guided(x, 0.4),
    }
    show("one evaluation, batch 4096: autoguidance", medians(20 * rounds, ways), "bare calls")

    both = labelled(64)
    labels = torch.zeros(4096, dtype=torch.int64)
    doubled, twice = torch.cat([x, x]), torch.cat([sigma, sigma])
    conditions = torch.cat([labels, torch.full_like(labels, 2)])
    cfg = CFG(weight=2.0).guide(both, {})
    ways = {
        "bare call of both conditions": lambda: both.denoise(doubled, twice, conditions),
        "cfg": lambda: cfg(x, 0.4, labels),
        "two calls, one a condition": lambda: (
            both.denoise(x, sigma, labels), both.denoise(x, sigma, torch.full_like(labels, 2))
        ),
    }  # fmt: skip
    show("one evaluation, batch 4096: cfg", medians(20 * rounds, ways), "bare call of both conditions")

    heun = Heun()
    start = 5.0 * torch.randn(4096, 2, generator=torch.Generator().manual_seed(0))
    calls: list[tuple[torch.Tensor, torch.Tensor]] = []  # the inputs of the main network along the guided trajectory

    def note(leaf: Leaf, inputs: tuple[torch.Tensor, float], output: torch.Tensor) -> None:
        calls.append((inputs[0].clone(), torch.full((4096,), inputs[1])))

    watch = strong.register_forward_hook(note)
    heun.sample(guided, start)
    watch.remove()

    def bare() -> None:
        for x, levels in calls:
            strong.denoise(x, levels, None)
            small.denoise(x, levels, None)

    ways = {"bare calls": bare, "guided heun": lambda: sampled(guided, start)}

    def sampled(point: Denoiser, x: torch.Tensor) -> object:
        return heun.sample(point, x)

    show("32 Heun steps, batch 4096: autoguidance", medians(max(rounds // 2, 5), ways), "bare calls")


def streams(rounds: int) -> None:
    """Random streams of 163,840 samples."""
    many = SampleStreams(0, np.arange(163_840))
    seconds = medians(
        rounds,
        {"two normals a sample": lambda: many.normal((2,), "noise"), "one uniform": lambda: many.uniform((), "u")},
    )
    show("a draw from 163,840 streams", seconds, "two normals a sample")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, medians of {arguments.rounds} rounds or more")
    iterations(arguments.rounds)
    snapshots(max(arguments.rounds // 3, 5))
    selection(arguments.rounds)
    guidance(arguments.rounds)
    streams(arguments.rounds)
