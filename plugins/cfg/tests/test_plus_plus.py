"""CFG++: the published step under each sampler that has it, and a refusal everywhere else."""

import itertools

import attrs
import pytest
import torch

from guideplug import Guider, Leaf, LinearStep, Registry, SampleStreams, tally
from guideplug.config import Reader
from guideplug.errors import DenoiserError
from guideplug.sample import Sampler, State
from guideplug.testing import GaussianDenoiser, check_guider
from guideplug_cfg import CFG, CFGPlusPlus

torch.set_num_threads(1)
REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
LABELS = torch.tensor([0, 1, 2])
X = 80 * torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
STREAMS = SampleStreams(0, range(3))
LINEAR = {"euler", "flow", "flow-euler", "ddim", "euler-ancestral", "ddpm"}
"""The samplers whose end is linear in one evaluation."""


def main():
    return GaussianDenoiser(0.3, 0.5, conditioning="labels")


def sampler_of(text, **options):
    sampler = READER.expression(text, Sampler)
    grid = {"schedule": "edm"} if hasattr(sampler, "schedule") else {}
    return attrs.evolve(sampler, num_steps=6, **grid, **options)


def test_laws():
    check_guider(CFGPlusPlus)


@pytest.mark.parametrize("strength", [0.0, 0.6, 1.0])
def test_eulers_step_is_the_published_one(strength):
    base, sampler = main(), sampler_of("euler")
    levels, x = sampler.sigmas(base), X
    for state, (sigma, after) in zip(
        sampler.steps(CFGPlusPlus(strength).guide(base, {}), X, LABELS), itertools.pairwise(levels), strict=True
    ):
        conditional, unconditional = base(x, sigma, LABELS), base(x, sigma)
        guided = unconditional + strength * (conditional - unconditional)
        x = guided + after / sigma * (x - unconditional)
        torch.testing.assert_close(state.x, x)


@pytest.mark.parametrize("text", ["ddim(eta=0.5)", "euler-ancestral"])
def test_with_fresh_noise_the_unconditional_step_is_moved_by_the_share(text):
    base, sampler = main(), sampler_of(text)
    levels = sampler.sigmas(base)
    x = X
    for number, state in enumerate(sampler.steps(CFGPlusPlus(0.6).guide(base, {}), X, LABELS, STREAMS)):
        here = State(number, 6, levels[number], x)
        unguided = next(sampler.steps_from(here, base.unconditional(), None, STREAMS))
        difference = base(x, levels[number], LABELS) - base(x, levels[number])
        torch.testing.assert_close(state.x, unguided.x + 0.6 * difference)
        x = state.x


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_at_strength_0_it_is_the_unconditional_network(name):
    base = main()
    guided = CFGPlusPlus(0.0).guide(base, {})
    sampler = sampler_of(name)
    assert torch.equal(
        sampler.sample(guided, X, LABELS, STREAMS), sampler.sample(base.unconditional(), X, LABELS, STREAMS)
    )


def test_a_constant_difference_moves_the_end_by_its_share():
    """Where both answers are constant, x' = D_u + lambda difference + e (x - D_u) at every level, so at the end."""

    class Constant(Leaf):
        def denoise(self, x, sigma, condition):
            return torch.full_like(x, self.value)

    base, other = Constant(main().space), Constant(main().space)
    base.value, other.value = 1.0, 0.2
    end = sampler_of("euler").sample(CFGPlusPlus(0.6).guide(base, {"unconditional": other}), X)
    torch.testing.assert_close(end, torch.full_like(X, 0.2 + 0.6 * 0.8))


def test_each_step_calls_the_network_once_with_two_outputs():
    base, sampler = main(), sampler_of("euler")
    with tally() as counts:
        sampler.sample(CFGPlusPlus().guide(base, {}), X, LABELS)
    assert (counts[base].calls, counts[base].outputs) == (6, 36)


def test_the_strength_may_be_a_schedule():
    guider = READER.expression("cfg++(strength=ramp(0.2, 0.8))", Guider)
    base = main()
    guided = guider.guide(base, {})
    step = LinearStep(80.0, 20.0)
    value = guided(X, 80.0, LABELS, toward=20.0, step=step)
    torch.testing.assert_close(value, CFG(0.2 / 0.75).guide(base, {})(X, 80.0, LABELS))


REFUSED = [name for name in REGISTRY.names("sampler") if name not in LINEAR]


@pytest.mark.parametrize("text", [*REFUSED, "euler(clip=[-1, 1])"])
def test_samplers_without_that_step_are_refused_in_ones_own_call(text):
    with pytest.raises(DenoiserError, match="which is said by euler, flow-euler, ddim and euler-ancestral"):
        sampler_of(text).sample(CFGPlusPlus().guide(main(), {}), X, LABELS, STREAMS)


@pytest.mark.parametrize("place", [{}, {"toward": 20.0}, {"toward": 20.0, "step": (80.0, 20.0)}])
def test_ones_own_loop_is_refused_unless_it_says_its_step(place):
    guided = CFGPlusPlus().guide(main(), {})
    with pytest.raises(DenoiserError, match=r"pass toward=after, step=guideplug.LinearStep\(sigma, after\)") as refusal:
        guided(X, 80.0, LABELS, **place)
    assert "\n" not in str(refusal.value)
    assert guided(X, 80.0, LABELS, toward=20.0, step=LinearStep(80.0, 20.0)).isfinite().all()
