"""The error of every sampler per evaluation, on a mixture of Gaussians whose denoiser is exact.

    python tests/benchmarks/samplers.py [--samples 256]

Data: nine Gaussians of standard deviation 0.1 in the plane, sigma_data about 0.9; levels from 80 to 0.002. At equal
numbers of evaluations, 8 to 64:

    deterministic    the root mean square difference of the end from that of the probability-flow equation
    stochastic       the energy distance of 4,096 samples from the data; that of as many true samples is the floor

Unguided, and away from a wider mixture with weight 2, whose trajectories are the reference's too. Heun makes two
evaluations per step but the last, so that its steps are (evaluations + 1) / 2.
"""

import argparse
from itertools import product

import attrs
import torch
from torch import Tensor

from guideplug import Condition, Denoiser, Leaf, Registry, Sampler, SampleStreams, Space, energy_distance, per_row
from guideplug.config import Reader

EVALUATIONS = (8, 12, 16, 24, 32, 64)
DETERMINISTIC = ("euler", "heun", "dpm++2m", "unipc", "dpm++3m-sde(eta=0)")
STOCHASTIC = ("euler-ancestral", "dpm++2m-sde", "dpm++3m-sde", "heun(churn=40)", "dpm++2m")
SCHEDULES = ("edm", "log-linear")
COUNT = 4_096


class Mixture(Leaf):
    """The exact denoiser of Gaussians of one standard deviation about a grid of three by three."""

    def __init__(self, std: float) -> None:
        super().__init__(Space((2,), sigma_data=0.9))
        places = torch.tensor([-1.0, 0.1, 1.1], dtype=torch.float64)
        self.means = torch.cartesian_prod(places, places)
        self.std = std

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean sample, (B, 2)."""
        noise = per_row(sigma**2, x)
        off = x[:, None] - self.means.to(x)
        shares = (-off.square().sum(-1) / (2 * (self.std**2 + noise))).softmax(-1)[..., None]
        denoised: Tensor = (shares * (self.means.to(x) + (self.std**2 / (self.std**2 + noise))[..., None] * off)).sum(1)
        return denoised

    def draw(self, count: int) -> Tensor:
        """True samples, (count, 2)."""
        streams = SampleStreams(7, range(count))
        places = self.means[streams.integers(len(self.means), "place")]
        return places + self.std * streams.normal((2,), "spread").double()


def with_evaluations(reader: Reader, text: str, evaluations: int, schedule: str) -> Sampler:
    """A sampler of as many evaluations."""
    sampler = reader.expression(text, Sampler)
    steps = (evaluations + 1) // 2 if text.startswith("heun") else evaluations
    return attrs.evolve(sampler, num_steps=steps, schedule=schedule)  # type: ignore[misc]


def table(title: str, rows: dict[str, list[float]]) -> None:
    """The errors of samplers, one a row."""
    print(f"\n{title}\n\n| sampler | {' | '.join(map(str, EVALUATIONS))} |\n|---|{'---|' * len(EVALUATIONS)}")
    for name, errors in rows.items():
        print(f"| {name} | {' | '.join(f'{error:.2g}' for error in errors)} |")


def deterministic(reader: Reader, point: Denoiser, count: int) -> dict[str, list[float]]:
    """The errors of the ends of trajectories."""
    x = 80 * SampleStreams(0, range(count)).normal((2,), "start").double()
    exact = reader.expression("heun(num_steps=4000)", Sampler).sample(point, x)
    rows = {}
    for text, schedule in product(DETERMINISTIC, SCHEDULES):
        walks = [with_evaluations(reader, text, number, schedule) for number in EVALUATIONS]
        rows[f"`{text}`, {schedule}"] = [
            float((walk.sample(point, x) - exact).square().mean().sqrt()) for walk in walks
        ]
    return rows


def stochastic(reader: Reader, base: Mixture) -> dict[str, list[float]]:
    """The distances of samples from the data."""
    true, streams = base.draw(COUNT), SampleStreams(0, range(COUNT))
    x = 80 * streams.normal((2,), "start").double()
    floor = energy_distance(base.draw(2 * COUNT)[COUNT:], true)
    rows = {"true samples": [floor] * len(EVALUATIONS)}
    for text, schedule in product(STOCHASTIC, SCHEDULES):
        walks = [with_evaluations(reader, text, number, schedule) for number in EVALUATIONS]
        rows[f"`{text}`, {schedule}"] = [energy_distance(walk.sample(base, x, None, streams), true) for walk in walks]
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=256, help="trajectories of the deterministic tables")
    count = parser.parse_args().samples
    torch.set_num_threads(1)
    reader, base = Reader(Registry.installed()), Mixture(0.1)
    guided = base + (base - Mixture(0.3))
    for name, point in (("unguided", base), ("guided, weight 2", guided)):
        table(f"Root mean square error, {name}", deterministic(reader, point, count))
    table("Energy distance from the data, unguided", stochastic(reader, base))
