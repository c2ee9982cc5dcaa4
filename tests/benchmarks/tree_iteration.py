"""What an iteration on the 2D tree costs: each fast formula beside the textbook one, measured in turns in one run.

    python tests/benchmarks/tree_iteration.py [--repeats 30] [--threads 2]

Turns matter: on shared cores the speed drifts, and only neighbours in time compare. Medians and the fastest tenth are
printed, with the ratio of the medians; with two threads on a busy machine both are the scheduler's more than ours.
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from guideplug_tree.mixture import TreeMixture, tree_mixture
from guideplug_tree.network import TreeMLP

BATCH = 4096


def textbook_score(mixture: TreeMixture, x: Tensor, sigma: Tensor) -> Tensor:
    """All components at once: (B, 1016) weights, (B, 1016, 2, 2) inverses and einsum."""
    a, b, c = (mixture.component_covariances[:, i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
    variance = sigma.square()[:, None]
    determinant = (a + variance) * (c + variance) - b.square()
    rows = (c + variance, -b.expand_as(determinant), -b.expand_as(determinant), a + variance)
    inverse = torch.stack(rows, dim=-1).reshape(*determinant.shape, 2, 2) / determinant[..., None, None]
    difference = mixture.component_means - x[:, None]
    solved = torch.einsum("bkij,bkj->bki", inverse, difference)
    exponent = mixture.component_weights.log() - 0.5 * (difference * solved).sum(-1) - 0.5 * determinant.log()
    return torch.einsum("bk,bki->bi", exponent.softmax(dim=1), solved)


class AutogradMLP(TreeMLP):
    """The same network with its score by `torch.autograd.grad`, twice differentiated in training."""

    def forward(self, x: Tensor, sigma: Tensor, label_embedding: Tensor | None = None) -> Tensor:
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            scaled = x / (sigma.square() + self.sigma_data**2).sqrt()[:, None]
            features = torch.cat([scaled, sigma.log()[:, None] / 4, torch.ones_like(sigma)[:, None]], dim=1)
            features = features @ torch.nn.functional.normalize(self.input_weight).T
            for weight in torch.nn.functional.normalize(self.hidden_weights, dim=-1):
                features = (torch.nn.functional.silu(features) / 0.596) @ weight.T
            log_prob = self.gain * features.square().mean(1) / sigma - scaled.square().sum(1) / 2
            (score,) = torch.autograd.grad(log_prob.sum(), x, create_graph=create_graph)
        return x + sigma.square()[:, None] * score


def training_step(network: TreeMLP, x: Tensor, sigma: Tensor, target: Tensor) -> Callable[[], None]:
    """One step of score matching with Adam."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, betas=(0.9, 0.99))

    def step() -> None:
        optimizer.zero_grad()
        ((network(x, sigma) - target) / sigma[:, None]).square().mean().backward()
        optimizer.step()
        network.normalize_weights_()

    return step


def in_turns(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each call, sorted; after three unmeasured rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-3, repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= 0:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: sorted(seconds) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    generator = torch.Generator().manual_seed(0)
    mixture = tree_mixture("A")
    sigma = (1.5 * torch.randn(BATCH, generator=generator) - 2.3).exp().clamp(0.002, 5)
    clean = mixture.sample(BATCH, generator)
    x = torch.addcmul(clean, sigma[:, None], torch.randn(BATCH, 2, generator=generator))
    target = mixture.denoise(x, sigma)
    learned, baseline = (kind(64, generator=torch.Generator().manual_seed(0)) for kind in (TreeMLP, AutogradMLP))
    for network in (learned, baseline):
        torch.nn.init.constant_(network.gain, 0.5)

    def sampling(network: TreeMLP) -> Callable[[], Tensor]:
        return torch.no_grad()(lambda: network(x, sigma))

    rows: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "exact score": (lambda: textbook_score(mixture, x, sigma), lambda: mixture.score(x, sigma)),
        "exact score, one sigma": (lambda: textbook_score(mixture, x, sigma[:1]), lambda: mixture.score(x, 0.1)),
        "training step": (training_step(baseline, x, sigma, target), training_step(learned, x, sigma, target)),
        "network without gradients": (sampling(baseline), sampling(learned)),
    }
    exact = textbook_score(mixture.to(dtype=torch.float64), x.double(), sigma.double())
    error = ((mixture.score(x, sigma) - exact).norm(dim=1) * sigma).max().item()
    print(f"batch {BATCH}, {arguments.threads} threads; sigma-scaled error of the fast score {error:.1e}")
    print(f"{'milliseconds: median (fastest tenth)':40}{'textbook':>20}{'ours':>20}{'ratio':>8}")
    for name, (slow, fast) in rows.items():
        times = in_turns({"slow": slow, "fast": fast}, arguments.repeats)
        middle, tenth = arguments.repeats // 2, math.floor(arguments.repeats / 10)
        cells = [f"{seconds[middle]:.2f} ({seconds[tenth]:.2f})" for seconds in times.values()]
        ratio = times["slow"][middle] / times["fast"][middle]
        print(f"{name:40}{cells[0]:>20}{cells[1]:>20}{ratio:>8.1f}")


if __name__ == "__main__":
    main()
