"""A training step of edm2 with EDM2's objective, beside a bare loop on the same network: data in memory, CPU.

    python tests/benchmarks/edm2_step.py [ROUNDS] [SEEDS]

The bare loop does what a training owes: draws of items, levels and noise, the loss, Adam, forced weight normalisation,
and one average of the weights. Both take turns of 32 steps, the distance of two checks for finite values. Ratios are of
processor seconds, which other processes change least, and of wall-clock seconds; each is the median over rounds, with
the smallest and the largest.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from guideplug import Duration, FiniteData, LogNormal, NoiseDomain, Space, TrainOptions
from guideplug.task import seeded_build
from guideplug.train import CHECK_EVERY, Training
from guideplug_edm_networks import EDM2, EDM2Denoiser, EDM2Uncertainty

ITEMS, BATCH, SPACE = 512, 8, Space((3, 16, 16), sigma_data=0.5)
NETWORK = EDM2(channels=32, channel_mult=(1, 2), blocks=1, attention=(8,), channels_per_head=32, logvar_channels=64)
OPTIONS = TrainOptions(
    duration=Duration(10**6, "it"), batch=BATCH, lr=0.01, noise=LogNormal(-0.4, 1.0), objective=EDM2Uncertainty()
)


def network(seed: int) -> EDM2Denoiser:
    """The network of a seed; both ways start from the same."""
    built = seeded_build(NETWORK, NoiseDomain(SPACE, num_labels=10), seed)
    assert isinstance(built, EDM2Denoiser)
    return built.train()


def bare(images: Tensor, labels: Tensor, seed: int) -> Callable[[], None]:
    """Steps of a loop by hand."""
    net = network(seed)
    weights = list(net.parameters())
    optimizer = torch.optim.Adam(weights, lr=0.01, betas=(0.9, 0.99), fused=True)
    averages = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(seed)
    done = 0

    def steps() -> None:
        nonlocal done
        for _ in range(CHECK_EVERY):
            done += 1
            rows = torch.randint(ITEMS, (BATCH,), generator=generator)
            sigma = (torch.randn(BATCH, generator=generator) - 0.4).exp()
            clean = images[rows]
            x = clean + sigma[:, None, None, None] * torch.randn(clean.shape, generator=generator)
            weight = (sigma**2 + 0.25) / (0.5 * sigma) ** 2
            logvar = net.logvar(sigma)
            error = (net.denoise(x, sigma, labels[rows]) - clean).square().mean((1, 2, 3))
            optimizer.zero_grad(set_to_none=True)
            (weight / logvar.exp() * error + logvar).mean().backward()
            optimizer.step()
            net.after_step()
            with torch.no_grad():
                torch._foreach_lerp_(averages, weights, 17.0 / (done + 17.0))

    return steps


def ours(images: Tensor, labels: Tensor, seed: int) -> Callable[[], None]:
    """Steps of a training."""
    training = Training(network(seed), FiniteData(TensorDataset(images, labels)), OPTIONS, seed=seed)

    def steps() -> None:
        training.run(until=Duration(training.step + CHECK_EVERY, "it"))

    return steps


def main(rounds: int, seeds: int) -> None:
    """Print milliseconds per step and ratios."""
    torch.set_num_threads(1)
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        images = 0.5 * torch.randn(ITEMS, *SPACE.shape, generator=generator)
        labels = torch.randint(10, (ITEMS,), generator=generator)
        ways = {"bare": bare(images, labels, seed), "guideplug": ours(images, labels, seed)}
        for way in ways.values():
            way()
        clocks = {"processor": time.process_time, "wall clock": time.perf_counter}
        spent: dict[str, dict[str, list[float]]] = {name: {way: [] for way in ways} for name in clocks}
        for number in range(rounds):
            for way in list(ways) if number % 2 else reversed(ways):
                begin = {name: clock() for name, clock in clocks.items()}
                ways[way]()
                for name, clock in clocks.items():
                    spent[name][way].append(1000 * (clock() - begin[name]) / CHECK_EVERY)
        for name, times in spent.items():
            ratios = [b / a for a, b in zip(times["bare"], times["guideplug"], strict=True)]
            medians = {way: statistics.median(values) for way, values in times.items()}
            print(
                f"seed {seed}, {name}: bare {medians['bare']:.2f} ms, guideplug {medians['guideplug']:.2f} ms a step, "
                f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            )


if __name__ == "__main__":
    main(*(int(text) for text in [*sys.argv[1:], *["9", "3"][len(sys.argv) - 1 :]]))
