"""What each shape of guidance costs beside its network calls, at batch 16 on a network of 10 M parameters.

    python tests/benchmarks/shapes.py [--threads 1] [--rounds 200]

Classifier-free guidance in each shape, on images of 3 x 16 x 16. One evaluation along a trajectory, with a network
whose answers are at hand, so that what is timed is all but the network. Medians, and the least of all rounds, which
other programs disturb less.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from composition import Wide
from torch import Tensor

from guideplug import Condition, Denoiser, Guider, Leaf, Registry, Space
from guideplug.config import Reader

SHAPE = (3, 16, 16)
GUIDERS = (
    "cfg",
    "cfg(weight=ramp(1, 4))",
    "blend([cfg, interval(cfg, low=0.1)], shares=[0.5, cosine(0, 1)])",
    "apg(cfg, threshold=5)",
    "cfg-zero(cfg)",
    "tangential(cfg)",
    "magnitude-aware(cfg)",
    "feedback(cfg)",
    "rescale(cfg)",
    "dynamic-threshold(cfg)",
    "frequency(cfg)",
    "frequency(cfg, factors=[1, 0.7, 0.4])",
)


class AtHand(Leaf):
    """A network that has answered already."""

    def __init__(self, answers: Tensor) -> None:
        super().__init__(Space(SHAPE))
        self.answers = answers

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The answers, in no time."""
        return self.answers

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), 10, device=device)


def main(rounds: int) -> None:
    """One evaluation of each."""
    reader, network, generator = Reader(Registry.installed()), Wide().eval(), torch.Generator().manual_seed(0)
    x = torch.randn(16, *SHAPE, generator=generator)
    weak = 0.7 * x + 0.3 * torch.randn(16, *SHAPE, generator=generator)
    known = AtHand(torch.cat([x, weak]))
    labels = torch.arange(16) % 10
    both = torch.cat([labels, torch.full((16,), 10)])

    def bare() -> object:
        return network.denoise(torch.cat([x, x]).flatten(1), torch.full((32,), 0.4), both)

    def asked(point: Denoiser) -> Callable[[], object]:
        levels = iter(range(10**9))
        return lambda: point(x, 40.0 / (1 + next(levels)), labels)

    ways = {"bare call": bare}
    ways |= {text: asked(reader.expression(text, Guider).guide(known, {}).trajectory()) for text in GUIDERS}
    times: dict[str, list[float]] = {}
    for text, way in ways.items():
        for _ in range(rounds):
            begin = time.perf_counter()
            way()
            times.setdefault(text, []).append(1e6 * (time.perf_counter() - begin))
    million = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    network_takes = [statistics.median(times["bare call"]), min(times["bare call"])]
    print(f"\none evaluation, {million:.1f} M parameters, batch 16: median and least, as a share of the bare call's")
    for text, values in times.items():
        both_ways = zip((statistics.median(values), min(values)), network_takes, strict=True)
        print(f"  {text:<40}", *(f"{value:9.0f} us {100 * value / against:6.2f} %" for value, against in both_ways))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, medians")
    with torch.no_grad():
        main(arguments.rounds)
