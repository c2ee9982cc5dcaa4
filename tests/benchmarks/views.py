"""What views cost beside the network calls that they make: medians and ratios, side by side in one run.

    python tests/benchmarks/views.py [--threads 2] [--rounds 20] [--share 0.05]

A transformer of 10 M parameters on 64 tokens, and a convolutional network of as many for sliding windows, at batch 16:
each guider along a planned trajectory against the bare calls on the same inputs, hooks put on beforehand.
"""

import argparse
import contextlib
import copy
import functools
from collections.abc import Callable, Mapping

import torch
from timing import medians, show
from torch import Tensor, nn

from guideplug import (
    Condition,
    Guider,
    Leaf,
    Perturbation,
    Space,
    blurred_queries,
    dropped_units,
    identity_attention,
    skip_layers,
)
from guideplug.recipes.degraded import DegradedDenoiser
from guideplug.rng import KeyedRandom, SampleKeys
from guideplug_contrast import PerturbedAttention, SelfGuidance, SkipLayer, SlidingWindow, SmoothedEnergy


class Attention(nn.Module):
    """Self-attention by torch's function."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, width) in and out."""
        q, k, v = self.into(tokens).unflatten(-1, (3, 8, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.out(mixed)
        return out


class Block(nn.Module):
    """Attention and an MLP, residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, width) in and out."""
        tokens = tokens + self.attention(tokens)
        after: Tensor = tokens + self.mlp(tokens)
        return after


class Transformer(Leaf):
    """On 2 x 2 patches of images (3, 16, 16)."""

    def __init__(self, width: int = 320, blocks: int = 8) -> None:
        super().__init__(Space((3, 16, 16)))
        self.into, self.out = nn.Conv2d(3, width, 2, stride=2), nn.ConvTranspose2d(width, 3, 2, stride=2)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """An answer of the right shape."""
        tokens = self.into(x / (1 + sigma[:, None, None, None])).flatten(2).transpose(1, 2)
        answer: Tensor = self.out(self.blocks(tokens).transpose(1, 2).unflatten(2, (8, 8)))
        return answer

    def perturbations(self) -> Mapping[str, Perturbation]:
        """All kinds."""
        blocks = [f"blocks.{number}" for number in range(len(self.blocks))]
        offers = {
            "skip-layer": skip_layers(*blocks),
            "identity-attention": identity_attention(*(f"{block}.attention" for block in blocks)),
            "blurred-queries": blurred_queries(*(f"{block}.attention" for block in blocks)),
            "dropout": dropped_units(*(f"{block}.mlp.1" for block in blocks)),
        }
        return {kind: functools.partial(offer, self) for kind, offer in offers.items()}


class Convolutional(Leaf):
    """On images of any size."""

    def __init__(self, width: int = 256, layers: int = 17) -> None:
        super().__init__(Space((3, 16, 16)))
        hidden = [nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.SiLU()) for _ in range(layers)]
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), *hidden, nn.Conv2d(width, 3, 3, padding=1))

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """An answer of the right shape."""
        answer: Tensor = self.layers(x / (1 + sigma[:, None, None, None]))
        return answer

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[0] == 3


def compare(title: str, guider: Guider, network: Leaf, bare: Callable[[Tensor, Tensor], object], rounds: int) -> None:
    """One evaluation of a guider against the bare calls."""
    x = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    levels, path = torch.full((16,), 0.4), guider.guide(network, {}).trajectory()
    ways: dict[str, Callable[[], object]] = {"bare calls": lambda: bare(x, levels), title: lambda: path(x, 0.4)}
    show(title, medians(rounds, ways), "bare calls")


def twice(
    network: Leaf, kind: str | None, **options: object
) -> tuple[Callable[[Tensor, Tensor], object], contextlib.ExitStack]:
    """The network's call, and the perturbed one."""
    other = copy.deepcopy(network)
    stack = contextlib.ExitStack()
    if kind is not None:
        stack.enter_context(other.perturbations()[kind](**options))

    def bare(x: Tensor, levels: Tensor) -> None:
        network.denoise(x, levels, None)
        other.denoise(x, levels, None)

    return bare, stack


def main(rounds: int, share: float) -> None:
    """Every view."""
    network, images = Transformer(8 * round(40 * share)).eval(), Convolutional(round(256 * share)).eval()
    for leaf in (network, images):
        print(f"{type(leaf).__name__}: {sum(p.numel() for p in leaf.parameters()) / 1e6:.1f} M parameters")

    def doubled(x: Tensor, levels: Tensor) -> None:
        network.denoise(torch.cat([x, x]), torch.cat([levels, 1.1 * levels]), None)

    compare("self-guidance", SelfGuidance(), network, doubled, rounds)
    for guider, kind in (
        (PerturbedAttention(), "identity-attention"),
        (SmoothedEnergy(), "blurred-queries"),
        (SmoothedEnergy(blur=1.0), "blurred-queries"),
        (SkipLayer(), "skip-layer"),
    ):
        options = {"blur": guider.blur} if isinstance(guider, SmoothedEnergy) else {}
        bare, stack = twice(network, kind, **options)
        with stack:
            compare(f"{guider.name}{options or ''}", guider, network, bare, rounds)

    def windows(x: Tensor, levels: Tensor) -> None:
        images.denoise(x, levels, None)
        pieces = [x[..., i : i + 10, j : j + 10] for i in (0, 6) for j in (0, 6)]
        images.denoise(torch.cat(pieces), levels.repeat(4), None)

    compare("sliding-window", SlidingWindow(), images, windows, max(rounds // 4, 5))
    x, levels = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.full((16,), 0.4)
    for options in ({"noise": 0.1}, {"dropout": 0.1}):
        path = DegradedDenoiser(network, **options).trajectory()
        ways: dict[str, Callable[[], object]] = {
            "bare calls": lambda: network.denoise(x, levels, None),
            f"degraded {options}": lambda path=path: path(x, 0.4),  # type: ignore[misc]
        }
        show(f"degraded {options}", medians(rounds, ways), "bare calls")
    draws = KeyedRandom(SampleKeys(x), 16, 0)
    show(
        "draws",
        medians(rounds, {"normal (16, 3, 16, 16)": lambda: draws.normal((3, 16, 16))}),
        "normal (16, 3, 16, 16)",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--share", type=float, default=1.0, help="of the width; a small network shows the milliseconds")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, medians")
    with torch.no_grad():
        main(arguments.rounds, arguments.share)
