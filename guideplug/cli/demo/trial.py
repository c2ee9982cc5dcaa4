"""The demo's trial: the algebra checked on exact denoisers, two small networks trained, and samples of both.

Guidance is written here as the algebra has it; the guiders of the plugins are these expressions with options:

    base + (w - 1) * (base - base.unconditional())      classifier-free (Ho and Salimans 2022, arXiv:2207.12598)
    base + (w - 1) * (base - weak)                      autoguidance (Karras et al. 2024, arXiv:2406.02507)
    base + (w - 1) * Gate(low, high) * (base - weak)    in an interval (Kynkäänniemi et al. 2024, arXiv:2404.07724)
"""

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from typing import final

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.nn import functional

from guideplug.cli.demo.spirals import NULL_LABEL, PIECES, SPACE, Spirals
from guideplug.denoise import Condition, Denoiser, Gate, Leaf, NetworkNode, formula, tally
from guideplug.noise import sigma_grid

__all__ = ["Checks", "Demo", "MLPDenoiser", "Row", "Schooling", "checked", "demonstrate", "sampled", "trained"]

LEVELS = sigma_grid(24, SPACE.sigma_min, SPACE.sigma_max)
BATCH = 1024
WEIGHT, INTERVAL = 2.0, (0.05, 1.0)
CFG_WEIGHT = 2.5


@frozen
class Schooling:
    """Width of a network's layers, and iterations of its training."""

    width: int
    iterations: int


MAIN, WEAK = Schooling(64, 2000), Schooling(32, 300)


@frozen
class Checks:
    """Measurements of classifier-free guidance on the exact denoiser, each in one evaluation of a batch.

    Args:
        formula: its normal form.
        error: the largest distance to the textbook formula, computed from two plain evaluations.
        calls, outputs: calls of the network, and outputs per sample.
        negative_calls, negative_outputs: the same with another label instead of none.
        same_at_one: whether weight 1 gives the bits of the base.
        outputs_at_one: outputs per sample at weight 1.
        gated: the levels of the sampler's grid at which guidance in an interval asked for the null condition.
        within: the levels of the grid that lie in the interval.
        levels: how many levels the grid has.
    """

    formula: str
    error: float
    calls: int
    outputs: float
    negative_calls: int
    negative_outputs: float
    same_at_one: bool
    outputs_at_one: float
    gated: Sequence[float]
    within: Sequence[float]
    levels: int


@frozen
class Row:
    """Samples in numbers.

    Args:
        name: what made them.
        inside: the share inside the outline that holds 99 % of the true density: fidelity.
        coverage: overlap of their shares of the spirals' pieces with the true ones; 1 is perfect.
        log_density: mean log p of the exact density, values below -20 counted as -20.
        calls: network calls along the trajectory, by role.
    """

    name: str
    inside: float
    coverage: float
    log_density: float
    calls: Mapping[str, int]


@frozen
class Demo:
    """The results of the demo; ``rows`` are true samples, weak, unguided, guided, guided in the interval."""

    checks: Checks
    cfg_weight: float
    formula: str
    rows: Sequence[Row]
    weight: float
    interval: tuple[float, float]
    outline: float
    networks: Mapping[str, Schooling]
    samples: int
    seconds: float


@final
class MLPDenoiser(Leaf):
    """A learned denoiser of three hidden layers, in EDM's preconditioning (arXiv:2206.00364, table 1)."""

    def __init__(self, width: int, role: str, generator: torch.Generator) -> None:
        super().__init__(SPACE)
        self.role = role
        sizes = [4, width, width, width, 2]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in itertools.pairwise(sizes):
            drawn = 2 * torch.rand(outputs, inputs + 1, generator=generator) - 1
            self.weights.append(drawn[:, :-1] / inputs**0.5)
            self.biases.append(drawn[:, -1] / inputs**0.5)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean points, (B, 2); the condition is ignored."""
        sigma = sigma[:, None]
        total = (sigma**2 + SPACE.sigma_data**2).sqrt()
        hidden = torch.cat([x / total, sigma.log() / 4, sigma / total], 1)
        *inner, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in inner:
            hidden = functional.silu(functional.linear(hidden, weight, bias))
        output = functional.linear(hidden, *last)
        denoised: Tensor = (SPACE.sigma_data / total) ** 2 * x + sigma * SPACE.sigma_data / total * output
        return denoised


def trained(schooling: Schooling, role: str, truth: Spirals, seed: int) -> MLPDenoiser:
    """A network taught to denoise points of the density; log sigma ~ N(-1.9, 1.4^2), EDM's weight of the loss."""
    generator = torch.Generator().manual_seed(seed)
    denoiser = MLPDenoiser(schooling.width, role, generator)
    optimizer = torch.optim.Adam(denoiser.parameters(), betas=(0.9, 0.99))
    for step in range(schooling.iterations):
        decay = 0.5 * (1 + math.cos(math.pi * step / schooling.iterations))
        optimizer.param_groups[0]["lr"] = 0.005 * min(1.0, (step + 1) / 20) * decay
        clean = truth.draw(BATCH, generator)
        sigma = (1.4 * torch.randn(BATCH, generator=generator) - 1.9).exp()
        x = clean + sigma[:, None] * torch.randn(BATCH, 2, generator=generator)
        weight = (sigma**2 + SPACE.sigma_data**2) / (sigma * SPACE.sigma_data) ** 2
        loss = ((denoiser(x, sigma) - clean).square().sum(1) * weight).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return denoiser


@torch.no_grad()
def sampled(denoiser: Denoiser, x: Tensor) -> Tensor:
    """The end of the probability-flow equation from x (B, 2), by Heun's method (arXiv:2206.00364, algorithm 1)."""
    for sigma, after in itertools.pairwise(LEVELS):
        slope = (x - denoiser(x, sigma, toward=after)) / sigma
        ahead = x + (after - sigma) * slope
        if after > 0:
            slope = (slope + (ahead - denoiser(ahead, after)) / after) / 2
            ahead = x + (after - sigma) * slope
        x = ahead
    return x


def demonstrate(
    main: Schooling = MAIN, weak: Schooling = WEAK, *, samples: int = 4096, seed: int = 0
) -> tuple[Demo, Mapping[str, Tensor]]:
    """The results of the demo, and the samples of each row, (N, 2)."""
    begin = time.perf_counter()
    truth = Spirals()
    base, guide = trained(main, "main", truth, seed), trained(weak, "weak", truth, seed + 1)
    names: dict[NetworkNode, str] = {base: "main", guide: "weak"}
    direction = (WEIGHT - 1) * (base - guide)
    denoisers: dict[str, Denoiser] = {
        "weak network alone": guide,
        "unguided": base,
        "guided": base + direction,
        "guided in the interval": base + Gate(*INTERVAL) * direction,
    }
    generator = torch.Generator().manual_seed(seed + 2)
    outline = float(truth.log_density(truth.draw(16384, generator)).quantile(0.01))
    drawn = {"truth": truth.draw(samples, generator)}
    rows = [_row("truth", drawn["truth"], truth, outline, {})]
    start = SPACE.sigma_max * torch.randn(samples, 2, generator=generator)
    for name, denoiser in denoisers.items():
        with tally() as counts:
            drawn[name] = sampled(denoiser, start)
        rows.append(_row(name, drawn[name], truth, outline, {role: counts[net].calls for net, role in names.items()}))
    demo = Demo(
        checks=checked(truth, start[:256]),
        cfg_weight=CFG_WEIGHT,
        formula=formula(denoisers["guided"], names),
        rows=rows,
        weight=WEIGHT,
        interval=INTERVAL,
        outline=outline,
        networks={"main": main, "weak": weak},
        samples=samples,
        seconds=time.perf_counter() - begin,
    )
    return demo, drawn


def _row(name: str, x: Tensor, truth: Spirals, outline: float, calls: Mapping[str, int]) -> Row:
    log_density = truth.log_density(x)
    return Row(
        name=name,
        inside=float((log_density >= outline).float().mean()),
        coverage=float(truth.shares(x).clamp(max=1 / PIECES).sum()),
        log_density=float(log_density.clamp(min=-20).mean()),
        calls=calls,
    )


@torch.no_grad()
def checked(base: Spirals, x: Tensor) -> Checks:
    """Measure classifier-free guidance on the exact denoiser."""
    label = torch.arange(len(x)) % 2
    negative = base.under(1 - label)
    guided = base + (CFG_WEIGHT - 1) * (base - base.unconditional())
    at_one = base + (1.0 - 1) * (base - base.unconditional())
    gated = base + (CFG_WEIGHT - 1) * Gate(*INTERVAL) * (base - base.unconditional())

    def counted(point: Denoiser, sigma: float) -> tuple[Tensor, int, float]:
        with tally() as counts:
            denoised = point(x, sigma, label)
        return denoised, counts[base].calls, counts[base].outputs / len(x)

    denoised, calls, outputs = counted(guided, 0.5)
    null = torch.full_like(label, NULL_LABEL)
    textbook = CFG_WEIGHT * base(x, 0.5, label) - (CFG_WEIGHT - 1) * base(x, 0.5, null)
    _, negative_calls, negative_outputs = counted(base + (CFG_WEIGHT - 1) * (base - negative), 0.5)
    plain, _, outputs_at_one = counted(at_one, 0.5)
    return Checks(
        formula=formula(guided, {base: "base"}),
        error=float((denoised - textbook).abs().max()),
        calls=calls,
        outputs=outputs,
        negative_calls=negative_calls,
        negative_outputs=negative_outputs,
        same_at_one=torch.equal(plain, base(x, 0.5, label)),
        outputs_at_one=outputs_at_one,
        gated=[sigma for sigma in LEVELS[:-1] if counted(gated, sigma)[2] > 1],
        within=[sigma for sigma in LEVELS[:-1] if INTERVAL[0] < sigma <= INTERVAL[1]],
        levels=len(LEVELS) - 1,
    )
