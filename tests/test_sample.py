"""What every sampler gets from the core, shown with the smallest one."""

import itertools
import math
from typing import final

import pytest
import torch
from attrs import frozen

from guideplug.config import option
from guideplug.denoise import Combine, Leaf, Space
from guideplug.errors import DivergenceError, GuideplugError
from guideplug.sample import Sampler, State, evaluation_levels
from guideplug.testing import GaussianDenoiser, check_sampler
from guideplug.weights import Gate


@final
@frozen
class Line(Sampler):
    """Euler steps on an even grid, with a second look in each step."""

    name = "line"
    num_steps: int = option(4, help="steps")
    again: bool = option(False, help="whether each step asks a second time, at the level it arrives at")

    def sigmas(self, denoiser):
        return [4.0 * (1 - i / self.num_steps) for i in range(self.num_steps + 1)]

    def steps(self, denoiser, x, condition=None, streams=None):
        denoiser, sigmas = denoiser.trajectory(), self.sigmas(denoiser)
        for i, (sigma, after) in enumerate(itertools.pairwise(sigmas)):
            x = x + (after - sigma) * (x - denoiser(x, sigma, condition, toward=after)) / sigma
            if self.again and after:
                x = x + 0 * denoiser(x, after, condition, toward=sigmas[i + 2])
            yield State(i + 1, self.num_steps, after, x)


def test_the_smallest_sampler_keeps_the_laws():
    check_sampler(Line(256))


def test_the_end_is_the_last_state_without_a_graph():
    denoiser = GaussianDenoiser()
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    states = list(Line().steps(denoiser, x))
    assert [(state.step, state.num_steps, state.sigma) for state in states] == [
        (1, 4, 3),
        (2, 4, 2),
        (3, 4, 1),
        (4, 4, 0),
    ]
    end = Line().sample(denoiser, x)
    assert torch.equal(end, states[-1].x)
    assert states[-1].x.requires_grad
    assert not end.requires_grad


def test_levels_of_evaluations_are_known_without_a_network():
    assert evaluation_levels(Line(), Space((2,))) == [(4, 3), (3, 2), (2, 1), (1, 0)]
    twice = [(4, 3), (3, 2), (3, 2), (2, 1), (2, 1), (1, 0), (1, 0)]
    assert evaluation_levels(Line(again=True), Space((3, 4))) == twice


class Broken(Leaf):
    """Not finite at levels below its end, or under label 1."""

    def __init__(self, below, value=math.nan, role="network", labels=False):
        super().__init__(Space((2,)))
        self.below, self.value, self.role, self.labels = below, value, role, labels

    def denoise(self, x, sigma, condition):
        bad = sigma < self.below
        if self.labels:
            bad = bad & (condition == 1)
        return torch.where(bad[:, None], self.value, 0.5 * x)


def failure(denoiser, sampler, condition=None):
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(DivergenceError) as caught:
        sampler.sample(denoiser, x, condition)
    assert isinstance(caught.value, GuideplugError)
    return str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_divergence_names_step_level_and_network(value):
    base, weak = Broken(0, role="main"), Broken(2.5, value, role="weak")
    message = failure(base + 2 * (base - weak), Line())
    assert (
        message
        == "sampling diverged in step 3 of 4, from sigma 2: the output of weak (Broken) at sigma 2 is not finite"
    )
    both = failure(weak + 2 * (weak - Broken(2.5, value, role="other")), Line())
    assert "weak (Broken) at sigma 2, other (Broken) at sigma 2" in both


def test_a_second_evaluation_in_a_step_is_named_by_its_own_level():
    message = failure(Broken(2.5, role="main"), Line(again=True))
    assert (
        message
        == "sampling diverged in step 2 of 4, from sigma 3: the output of main (Broken) at sigma 2 is not finite"
    )


def test_a_network_that_was_given_what_is_not_finite_is_not_blamed():
    base, weak = Broken(0, role="main"), Broken(9, role="weak")
    message = failure(base + 2 * (base - weak), Line(again=True))
    assert "weak (Broken) at sigma 4 is" in message
    assert "main" not in message


def test_a_failure_that_guidance_caught_is_not_blamed_for_a_later_one():
    class High(Leaf):
        def denoise(self, x, sigma, condition):
            return torch.where((sigma > 3.5)[:, None], math.nan, 0.5 * x)

    caught = Combine([High(Space((2,)))], lambda outputs, x, sigma: outputs[0].nan_to_num() / (0 if sigma < 2.5 else 1))
    message = failure(caught, Line())
    assert message == "sampling diverged in step 3 of 4, from sigma 2: the guided combination of finite outputs is not"


def test_the_condition_that_a_network_failed_under_is_the_one_that_it_was_asked_under():
    base, weak = Broken(0, role="main"), Broken(9, role="weak", labels=True)
    ones, zeros = torch.ones(3), torch.zeros(3)
    assert "weak (Broken) at sigma 4" in failure(base + (base - weak), Line(), ones)
    assert "weak (Broken) at sigma 4" in failure(base + (base - weak.under(ones)), Line(), zeros)


def test_a_network_that_was_not_called_is_not_blamed():
    base, gated = Broken(2.5, role="main"), Broken(9, role="gated")
    message = failure(base + Gate(3.5, 3.6) * (gated - base), Line())
    assert "gated" not in message
    assert "main (Broken) at sigma 2" in message


def test_finite_outputs_that_diverge_in_combination_are_said_so():
    base = Broken(0)
    bad = Combine([base], lambda outputs, x, sigma: outputs[0] / (0 if sigma < 2.5 else 1))
    message = failure(bad, Line())
    assert message == "sampling diverged in step 3 of 4, from sigma 2: the guided combination of finite outputs is not"


def test_a_failure_that_does_not_repeat_is_said_so():
    class Once(Leaf):
        num_calls = 0

        def denoise(self, x, sigma, condition):
            self.num_calls += 1
            return 0.5 * x if self.num_calls > 4 else x * math.nan

    assert (
        failure(Once(Space((2,))), Line())
        == "sampling diverged, and did not when repeated: a network is not deterministic"
    )


def test_no_hook_is_left_on_the_networks():
    base = Broken(2.5)
    failure(base, Line())
    assert not base._forward_hooks
