"""What every sampler gets from the core, shown with the smallest one."""

import itertools
import math
from typing import final

import pytest
import torch
from attrs import frozen

from guideplug.config import option
from guideplug.denoise import Combine, Count, Gate, Leaf, Space, tally
from guideplug.errors import DivergenceError, GuideplugError
from guideplug.sample import Sampler, State, planned_evaluations
from guideplug.testing import GaussianDenoiser, check_sampler


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
            x = x + (after - sigma) * (x - denoiser(x, sigma, condition, toward=after, step=(sigma, after))) / sigma
            if self.again and after:
                x = x + 0 * denoiser(x, after, condition, toward=sigmas[i + 2], step=(sigma, after))
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


class Silent(Leaf):
    """A network that must not be asked."""

    def denoise(self, x, sigma, condition):
        raise AssertionError("asked")


def planned(sampler, denoiser, x=None, condition=None):
    return planned_evaluations(sampler, denoiser, torch.ones(1, *denoiser.space.shape) if x is None else x, condition)


def test_levels_of_evaluations_are_known_without_a_network():
    def levels(sampler, shape):
        return [(one.sigma, one.toward) for one in planned(sampler, Silent(Space(shape)))]

    assert levels(Line(), (2,)) == [(4, 3), (3, 2), (2, 1), (1, 0)]
    twice = [(4, 3), (3, 2), (3, 2), (2, 1), (2, 1), (1, 0), (1, 0)]
    assert levels(Line(again=True), (3, 4)) == twice


def test_what_evaluations_call_is_known_without_a_network():
    main, weak = Silent(Space((2,))), Silent(Space((2,)))
    found = planned(Line(), main + Gate(1.5, 3.5) * (main - weak))
    one = Count(1, 1)
    assert [item.counts for item in found] == [{main: one}, {main: one, weak: one}, {main: one, weak: one}, {main: one}]
    assert [list(item.off) for item in found] == [["[1.5 < sigma <= 3.5]"], [], [], ["[1.5 < sigma <= 3.5]"]]
    inner = Combine([main + Gate(2.5) * (main - weak)], lambda outputs, x, sigma: outputs[0])
    assert [weak in item.counts for item in planned(Line(), inner)] == [True, True, False, False]
    assert [list(item.off) for item in planned(Line(), inner)] == [[], [], ["[sigma > 2.5]"], ["[sigma > 2.5]"]]


class Tall(Leaf):
    """A network whose null condition is longer than the given one, so that the two make no batch."""

    def denoise(self, x, sigma, condition):
        return 0.5 * x

    def null_condition(self, batch, device):
        return torch.zeros(batch, 3)


@final
@frozen
class Unusual(Sampler):
    """Steps that ask for mirror images in the same batch, at levels in tensors, or without the condition."""

    name = "unusual"
    tensors: bool = option(False, help="levels as tensors")
    mirrored: bool = option(False, help="both in one batch")
    unconditional: bool = option(False, help="no condition")

    def sigmas(self, denoiser):
        return [4.0, 2.0, 0.0]

    def steps(self, denoiser, x, condition=None, streams=None):
        denoiser = denoiser.trajectory()
        for i, (sigma, after) in enumerate(itertools.pairwise(self.sigmas(denoiser))):
            rows = torch.cat([x, -x]) if self.mirrored else x
            asked = None if self.unconditional or condition is None else torch.cat([condition] * (len(rows) // len(x)))
            level = torch.full((len(rows),), sigma) if self.tensors else sigma
            x = denoiser(rows, level, asked, toward=after)[: len(x)]
            yield State(i + 1, 2, after, x)


@pytest.mark.parametrize(
    "options", [{}, {"tensors": True}, {"mirrored": True}, {"unconditional": True}, {"tensors": True, "mirrored": True}]
)
def test_the_plan_is_what_is_counted_however_a_sampler_asks(options):
    main, other = Tall(Space((2,))), GaussianDenoiser(0.3)
    guided = main + 2.0 * (main - main.unconditional()) + Gate(0.0, 3.0) * (main - other)
    x, condition, sampler = torch.randn(3, 2), torch.zeros(3, 2), Unusual(**options)
    with tally() as counts:
        sampler.sample(guided, x, condition)
    found = planned(sampler, guided, x[:1], condition[:1])
    assert [one.sigma for one in found] == [4, 2]
    for network in (main, other):
        calls = [one.counts.get(network, Count()) for one in found]
        assert counts[network] == Count(sum(one.calls for one in calls), 3 * sum(one.outputs for one in calls))
    assert counts[other].calls == (2 if "tensors" in options else 1)
    assert counts[main].calls == (2 if "unconditional" in options else 4)


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
