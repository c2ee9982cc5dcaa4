"""Feedback guidance: the paper's update, the posterior it follows, steps taken twice, the drift."""

import itertools
import math

import numpy as np
import pytest
import torch

from guideplug import Guider, Leaf, Space, sigma_grid
from guideplug.config import Reader
from guideplug.registry.registry import Registry
from guideplug_shapes.feedback import Feedback, _Evidence

READER = Reader(Registry.installed())
SPACE = Space((3,), sigma_min=0.01, sigma_max=20.0)


class Normal(Leaf):
    """The denoiser of N(mean, std^2) in each coordinate, and its log density at a noise level."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__(SPACE)
        self.mean, self.std = mean, std

    def denoise(self, x, sigma, condition):
        variance = sigma[:, None] ** 2
        return (self.std**2 * x + variance * self.mean) / (self.std**2 + variance)

    def log_density(self, x, sigma):
        variance = self.std**2 + sigma**2
        return (-((x - self.mean) ** 2) / (2 * variance) - 0.5 * math.log(variance)).sum(1)


BASE, OTHER = Normal(0.6, 0.5), Normal(0.0, 0.8)
MODELS = {"weak": OTHER}


def feedback(options="", weight=2.0):
    return READER.expression(f"feedback(autoguidance(weight={weight}){options})", Guider)


def start(batch=4, sigma=20.0, seed=0):
    return sigma * torch.randn(batch, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def papers_weights(levels, states, purity, begin, temperature, most, steps):
    """lambda at each of the states x of one sample, by algorithm 1 of arXiv:2506.06085 with its means and variances."""
    delta = math.log((1 - purity) * 3 / 2) / ((1 - begin) * steps)
    lowest = math.log((1 - purity) * most / (most - 1))
    q, found = 0.0, []
    for i, (x, sigma) in enumerate(zip(states, levels, strict=True)):
        if i:
            before, old = states[i - 1], levels[i - 1]
            strong, weak = (net(torch.tensor(before)[None], old)[0].numpy() for net in (BASE, OTHER))
            variance = (old**2 - sigma**2) * sigma**2 / old**2
            means = [(sigma**2 * before + (old**2 - sigma**2) * denoised) / old**2 for denoised in (strong, weak)]
            with_condition, without = (((x - mean) ** 2).sum() for mean in means)
            q = q - temperature / (2 * variance) * (with_condition - without) + delta
            q = min(max(q, lowest), 3.0)
        found.append(math.exp(q) / (math.exp(q) - (1 - purity)))
    return found


@pytest.mark.parametrize("temperature", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("weight", [2.0, 3.5])
@pytest.mark.parametrize(("purity", "begin", "most"), [(0.999, 0.556, 10.0), (0.9, 0.8, 4.0), (0.5, 0.3, 6.0)])
def test_the_papers_weights_on_its_own_grid(temperature, weight, purity, begin, most):
    """On its grid, whose inner steps are equal in sigma^(1/7), the drift is its delta a step."""
    levels = sigma_grid(12, 0.01, 20.0)[:-1]
    guider = feedback(f", purity={purity}, start={begin}, temperature={temperature}, most={most}", weight)
    path = guider.guide(BASE, MODELS).trajectory()
    x, states, values = start(), [], []
    for sigma, after in zip(levels, [*levels[1:], 0.0], strict=True):
        states.append(x)
        values.append(path(x, sigma))
        x = x + (after - sigma) * (x - values[-1]) / sigma
    seen = set()
    for i in range(4):
        weights = papers_weights(levels, [s[i].numpy() for s in states], purity, begin, temperature, most, 11)
        seen |= {round(value, 3) for value in weights}
        for state, sigma, value, scale in zip(states, levels, values, weights, strict=True):
            strong, weak = BASE(state, sigma)[i], OTHER(state, sigma)[i]
            expected = strong + (weight - 1) * (scale - 1) * (strong - weak)
            torch.testing.assert_close(value[i], expected, rtol=1e-6, atol=1e-6)
    assert len(seen) >= (3 if temperature == 0 else 6)


def test_at_the_default_weight_it_is_the_papers_guidance_and_blends_are_its_combinations():
    """lambda in place of w; with classifier-free guidance on top, lambda + w - 1."""
    x, sigma = start(), 1.0
    strong, weak = BASE(x, sigma), OTHER(x, sigma)
    scale = 1 / 0.8  # at the first evaluation, where nothing is known
    value = feedback(", purity=0.8").guide(BASE, MODELS)(x, sigma)
    torch.testing.assert_close(value, weak + scale * (strong - weak))
    both = READER.expression("blend([feedback(autoguidance, purity=0.8), autoguidance(weight=2.5)])", Guider)
    torch.testing.assert_close(both.guide(BASE, MODELS)(x, sigma), weak + (scale + 1.5) * (strong - weak))


def evidence(**options):
    """What follows q, without drift and bounds."""
    found = _Evidence(Feedback(READER.expression("autoguidance", Guider), **options), SPACE)
    found._drift, found._lowest = 0.0, -1e9
    return found


def test_along_the_reverse_process_q_is_the_log_ratio_of_the_densities(monkeypatch):
    """Both processes have one forward process, so the ratio of paths is that of their ends; with many steps, Bayes."""
    monkeypatch.setattr("guideplug_shapes.feedback.HIGHEST", 1e9)
    levels = np.geomspace(200.0, 0.3, 4000).tolist()
    generator = torch.Generator().manual_seed(1)
    q, x = evidence(), start(256, 200.0)
    for sigma, after in itertools.pairwise(levels):
        strong, weak = BASE(x, sigma), OTHER(x, sigma)
        q.at(strong, weak, x, sigma)
        kept = (after / sigma) ** 2
        drawn = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = kept * x + (1 - kept) * strong + after * math.sqrt(1 - kept) * drawn
    found = q.at(BASE(x, levels[-1]), OTHER(x, levels[-1]), x, levels[-1])[:, 0]
    exact = BASE.log_density(x, levels[-1]) - OTHER.log_density(x, levels[-1])
    assert float(exact.std()) > 0.5
    assert float((found - exact).abs().max()) < 0.15


def test_along_a_deterministic_path_the_divergence_is_left_out(monkeypatch):
    """What the module says: q plus the integral of -div(D_c - D_u) / sigma is the log ratio there."""
    monkeypatch.setattr("guideplug_shapes.feedback.HIGHEST", 1e9)
    levels = np.geomspace(200.0, 0.3, 4000).tolist()
    q, x, left_out = evidence(), start(8, 200.0), 0.0
    for sigma, after in itertools.pairwise(levels):
        strong, weak = BASE(x, sigma), OTHER(x, sigma)
        q.at(strong, weak, x, sigma)
        slopes = [net.std**2 / (net.std**2 + sigma**2) for net in (BASE, OTHER)]
        left_out += 3 * (slopes[0] - slopes[1]) * (after - sigma) / sigma
        x = x + (after - sigma) * (x - strong) / sigma
    found = q.at(BASE(x, levels[-1]), OTHER(x, levels[-1]), x, levels[-1])[:, 0] + left_out
    exact = BASE.log_density(x, levels[-1]) - OTHER.log_density(x, levels[-1])
    assert abs(left_out) > 0.3
    torch.testing.assert_close(found, exact, rtol=0, atol=0.05)


@pytest.mark.parametrize("begin", [0.4, 0.8])
@pytest.mark.parametrize("steps", [9, 33, 129])
def test_without_evidence_guidance_is_three_at_the_start_whatever_the_steps(begin, steps):
    options = Feedback(READER.expression("autoguidance", Guider), start=begin, temperature=0.0)
    q, x = _Evidence(options, SPACE), start()
    low, high = 0.01 ** (1 / 7), 20.0 ** (1 / 7)
    for u in np.linspace(1.0, begin, steps):
        value = q.at(x, 0 * x, x, float((low + u * (high - low)) ** 7)).exp()
    torch.testing.assert_close(value / (value - 0.001), torch.full_like(value, 3.0), rtol=1e-3, atol=0)


def test_it_stays_between_no_guidance_and_the_most():
    for temperature, low in ((0.0, 4.0), (1e6, 1.0)):
        q = _Evidence(Feedback(READER.expression("autoguidance", Guider), temperature=temperature, most=4.0), SPACE)
        strong, x = start(), start(seed=1)
        for sigma in (20.0, 1.0, 0.1, 0.02):
            weight = 1 / (1 - 0.001 * (-q.at(x, x - strong, x if sigma > 0.5 else 5 * x, sigma)).exp())
        assert float(weight.max()) <= 4.0001
        assert float(weight.min()) >= low - 1e-3


def test_a_level_that_is_asked_twice_counts_once():
    """Heun's correction and the step after it are at one level: what counts is where the step ended."""
    heun, euler = (feedback(", purity=0.9").guide(BASE, MODELS).trajectory() for _ in range(2))
    for i, sigma in enumerate((5.0, 2.0, 0.7)):
        if i:
            heun(start(seed=10 + i), sigma)
        assert torch.equal(heun(start(seed=i), sigma), euler(start(seed=i), sigma))


def test_a_raised_level_keeps_what_is_known():
    q, x = evidence(), start(sigma=1.0)
    strong = 0.05 * x
    q.at(strong, 0 * x, x, 2.0)
    known = q.at(strong, 0 * x, 0.5 * x, 1.0)
    assert 0 < float(known.abs().min()) <= float(known.abs().max()) < 2
    raised = q.at(strong, 0 * x, x, 1.4)
    assert torch.equal(raised, known)
    assert not torch.equal(q.at(strong, 0 * x, 0.5 * x, 1.0), known)


@pytest.mark.parametrize("levels", [(5.0, 2.0, 2.0, 2.5, 0.7, 0.7, 0.1)])
def test_levels_may_be_tensors_a_level_a_sample(levels):
    """Each row's memory is its own: rows at other stages give what they give alone."""
    guided = feedback(", purity=0.9").guide(BASE, MODELS)
    floats, tensors = guided.trajectory(), guided.trajectory()
    shifted = guided.trajectory()
    others = (4.0, *levels[:-1])
    for i, sigma in enumerate(levels):
        x = start(seed=i)
        value = floats(x, sigma)
        torch.testing.assert_close(
            tensors(x, torch.full((4,), sigma, dtype=torch.float64)), value, rtol=1e-9, atol=1e-9
        )
        mixed = shifted(x, torch.tensor([sigma, others[i]] * 2, dtype=torch.float64))
        torch.testing.assert_close(mixed[::2], value[::2], rtol=1e-9, atol=1e-9)
