"""What composing guiders costs beside the network calls that it makes: medians and ratios, side by side in one run.

    python tests/benchmarks/composition.py [--threads 2] [--rounds 30]

A blend of three guiders (classifier-free guidance with its null condition, autoguidance in an interval, SIMS) against
the bare calls of its three networks on the same inputs, the main one with both conditions in one batch.
"""

import argparse
from collections.abc import Callable

import torch
from timing import medians, show
from torch import Tensor, nn

from guideplug import Condition, Denoiser, Leaf, Space
from guideplug_autoguidance import Autoguidance
from guideplug_blend import Blend
from guideplug_cfg import CFG
from guideplug_edm import Heun
from guideplug_interval import Interval
from guideplug_sims import SIMS
from guideplug_tree import Tree
from guideplug_tree.denoisers import TreeMLPNetwork

BLEND = Blend((CFG(2.0), Interval(Autoguidance(2.0), 0.01, 100.0), SIMS(1.0)))


def compare(title: str, networks: dict[str, Leaf], x: Tensor, condition: Tensor, rounds: int) -> None:
    """One evaluation, and a trajectory of eight Heun steps."""
    main, weak, copy = networks["main"], networks["weak"], networks["synthetic"]
    guided = BLEND.guide(main, networks).trajectory()
    null = main.null_condition(len(x), x.device)
    assert isinstance(null, Tensor)
    both = torch.cat([condition, null])

    def bare(x: Tensor, sigma: float) -> None:
        levels = torch.full((len(x),), sigma)
        main.denoise(torch.cat([x, x]), torch.cat([levels, levels]), both)
        weak.denoise(x, levels, condition)
        copy.denoise(x, levels, condition)

    ways: dict[str, Callable[[], object]] = {
        "bare calls": lambda: bare(x, 0.4),
        "blend of three": lambda: guided(x, 0.4, condition),
    }
    show(f"one evaluation, {title}", medians(rounds, ways), "bare calls")

    calls: list[tuple[Tensor, float]] = []

    def note(leaf: nn.Module, inputs: tuple[Tensor, float], output: Tensor) -> None:
        calls.append((inputs[0].clone(), inputs[1]))

    heun, start = Heun(num_steps=8), 5.0 * x

    def walk(point: Denoiser) -> Callable[[], object]:
        return lambda: heun.sample(point, start, condition)

    watch = copy.register_forward_hook(note)
    walk(guided)()
    watch.remove()
    ways = {
        "bare calls": lambda: [bare(x, sigma) for x, sigma in calls],
        "blend of three": walk(BLEND.guide(main, networks)),
    }
    show(f"8 Heun steps, {title}", medians(max(rounds // 4, 5), ways), "bare calls")


def on_the_tree(rounds: int) -> None:
    """Both classes with labels, the paper's widths, batch 4096."""
    task = Tree("both", labels=True)
    networks = {
        role: TreeMLPNetwork(width).build(task).eval()
        for role, width in (("main", 64), ("weak", 32), ("synthetic", 64))
    }
    x = 0.5 * torch.randn(4096, 2, generator=torch.Generator().manual_seed(0))
    compare("the tree, batch 4096", networks, x, torch.zeros(4096, dtype=torch.int64), rounds)


class Wide(Leaf):
    """A residual network of 10 M parameters on 768 features with a label."""

    def __init__(self, width: int = 1280) -> None:
        super().__init__(Space((768,)))
        self.into, self.out = nn.Linear(768, width), nn.Linear(width, 768)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(5))
        self.labels = nn.Embedding(11, width)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """An answer of the right shape."""
        assert isinstance(condition, Tensor)
        hidden = self.into(x / (1 + sigma[:, None])) + self.labels(condition)
        for block in self.blocks:
            hidden = hidden + torch.nn.functional.silu(block(hidden))
        answer: Tensor = self.out(hidden)
        return answer

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), 10, device=device)


def on_a_large_network(rounds: int) -> None:
    """10 M parameters, batch 16."""
    networks: dict[str, Leaf] = {role: Wide().eval() for role in ("main", "weak", "synthetic")}
    million = sum(parameter.numel() for parameter in networks["main"].parameters()) / 1e6
    x = torch.randn(16, 768, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 10
    compare(f"{million:.1f} M parameters, batch 16", networks, x, labels, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, medians")
    with torch.no_grad():
        on_the_tree(4 * arguments.rounds)
        on_a_large_network(4 * arguments.rounds)
