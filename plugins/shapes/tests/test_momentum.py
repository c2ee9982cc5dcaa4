"""Momentum guidance: the laws, the paper's rule on velocities, and what it is where a closed form says so."""

import itertools

import attrs
import pytest
import torch

from guideplug import Guider, Leaf, Registry, SampleStreams
from guideplug.config import Reader
from guideplug.sample import Sampler
from guideplug.testing import GaussianDenoiser, check_guider
from guideplug_shapes import Momentum

torch.set_num_threads(1)
READER = Reader(Registry.installed())
X = 80 * torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEAK = {"weak": GaussianDenoiser(0.6, 0.9)}
BASE = GaussianDenoiser(0.3, 0.5)


def read(text):
    return READER.expression(text, Guider)


def test_laws():
    check_guider(lambda: read("momentum(autoguidance(weight=2))"))


def even_times(num_steps):
    """Levels even in t = sigma / (1 + sigma), from 80 to 0."""
    times = torch.linspace(80 / 81, 0, num_steps + 1, dtype=torch.float64).tolist()
    return [time / (1 - time) for time in times]


def along(guider, levels):
    walk = attrs.evolve(READER.expression("euler", Sampler), levels=tuple(levels))
    return list(walk.steps(guider.guide(BASE, WEAK), X, None, SampleStreams(0, range(3))))


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.6), (1.0, 0.0), (-0.3, 1.0)])
def test_the_rule_on_velocities(alpha, beta):
    """In the flow's own coordinates, x_t = (1 - t) x, by Euler's method over even times."""
    levels = even_times(12)
    states = along(read(f"momentum(autoguidance(weight=2), alpha={alpha}, beta={beta})"), levels)
    guided = read("autoguidance(weight=2)").guide(BASE, WEAK)
    times = [level / (1 + level) for level in levels]
    x_t, mean = (1 - times[0]) * X, None
    for (time, after), state in zip(itertools.pairwise(times), states, strict=True):
        velocity = (x_t - guided(x_t / (1 - time), time / (1 - time))) / time
        mean = velocity if mean is None else mean
        pushed = velocity + alpha * (velocity - mean)
        mean = (1 - beta) * velocity + beta * mean
        x_t = x_t + (after - time) * pushed
        torch.testing.assert_close(state.x * (1 - after), x_t)


def test_half_without_memory_is_adams_and_bashforths_second_order():
    exact = BASE.end_point(X, 80.0)
    guider = read("momentum(truncation(weight=1), alpha=0.5, beta=0)")
    errors = []
    for num_steps in (64, 128, 256):
        end = along(guider, even_times(num_steps))[-1].x
        errors.append(float((end - exact).abs().max()))
    plain = float((along(read("truncation(weight=1)"), even_times(256))[-1].x - exact).abs().max())
    assert 3.5 < errors[0] / errors[1] < 4.6
    assert 3.5 < errors[1] / errors[2] < 4.6
    assert errors[-1] < plain / 10


class Constant(Leaf):
    def denoise(self, x, sigma, condition):
        return torch.full_like(x, 0.3)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm++2m"])
def test_a_constant_answer_is_exact(sampler):
    guided = Momentum(read("truncation(weight=1)")).guide(Constant(BASE.space), {})
    end = READER.expression(f"{sampler}(num_steps=7)", Sampler).sample(guided, X)
    torch.testing.assert_close(end, torch.full_like(X, 0.3))


def test_off_it_is_its_guider():
    guider = read("autoguidance(weight=2)")
    assert torch.equal(
        read("momentum(autoguidance(weight=2), alpha=0)").guide(BASE, WEAK)(X, 2.0), guider.guide(BASE, WEAK)(X, 2.0)
    )


def test_a_level_counts_once():
    """Asked again at a level, as a Heun step does, the velocity of the evaluation before is replaced."""
    guided = read("momentum(autoguidance(weight=2))").guide(BASE, WEAK)
    once, twice = guided.trajectory(), guided.trajectory()
    for level in (80.0, 5.0, 1.0):
        twice(3 - X, level) if level < 80 else None
        x = level / 80 * X
        torch.testing.assert_close(twice(x, level), once(x, level))


def test_levels_of_rows_are_as_levels_of_floats():
    guided = read("momentum(autoguidance(weight=2))").guide(BASE, WEAK)
    floats, rows = guided.trajectory(), guided.trajectory()
    for level in (80.0, 5.0, 5.0, 1.0):
        x = level / 80 * X
        torch.testing.assert_close(rows(x, torch.full((3,), level, dtype=torch.float64)), floats(x, level))
