"""Gradients inside views, maps, trajectories and each other, with gradients recorded and not."""

import pytest
import torch
from attrs import frozen
from gradients import Watched, bowl, by_differences, given, towards

from guideplug.denoise import (
    Change,
    Combine,
    Count,
    Gate,
    GradientGuided,
    View,
    perturbed,
    tally,
)
from guideplug.errors import DenoiserError
from guideplug.recipes.degraded import DegradedDenoiser
from guideplug.registry.registry import Registry
from guideplug.rng import SampleStreams
from guideplug.testing import CONDITIONS, GaussianDenoiser


@frozen
class Doubled(Change):
    """x and -x, at twice the level."""

    copies = 2

    def level(self, sigma):
        return 2 * sigma

    def inputs(self, x, sigma):
        return torch.cat([x, -x])

    def answer(self, denoised, x, sigma):
        there, back = denoised.chunk(2)
        return (there - back) / 2


def test_equal_ones_are_one():
    main = Watched()
    x, _ = given()
    point = main + (GradientGuided(main, bowl, through=True) - main) + (GradientGuided(main, bowl, through=True) - main)
    assert len(point.terms) == 2
    with tally() as counts:
        point(x, 0.7)
    assert counts[main] == Count(1, 4, 1)
    assert GradientGuided(main, bowl) != GradientGuided(main, bowl, through=True)
    assert GradientGuided(main, bowl) != GradientGuided(main, towards)


@pytest.mark.parametrize("through", [False, True])
def test_the_condition_is_the_one_that_the_point_is_asked_under(through):
    main = GaussianDenoiser(0.1, conditioning="labels")
    x, labels = given("labels")
    other = torch.tensor([2])
    point = GradientGuided(main, towards, through=through)
    assert not torch.allclose(point(x, 0.7, labels), point(x, 0.7, labels + 1))
    torch.testing.assert_close(point.under(other)(x, 0.7, labels), point(x, 0.7, other))
    torch.testing.assert_close(point.under(other).under(labels)(x, 0.7, labels), point(x, 0.7, other))
    torch.testing.assert_close(point.unconditional()(x, 0.7, labels), point(x, 0.7))
    both = point + 1.0 * (point - point.unconditional())
    torch.testing.assert_close(both(x, 0.7, labels), 2 * point(x, 0.7, labels) - point(x, 0.7))


def test_a_gradient_inside_a_view_is_taken_where_the_view_asks():
    main = Watched()
    x, _ = given()
    view = View(GradientGuided(main, bowl, through=True), Doubled())
    with torch.no_grad():
        found = (main + 1.0 * (main - view))(x, 0.7)
        there = GradientGuided(main, bowl, through=True)
        expected = (there(x, 1.4) - there(-x, 1.4)) / 2
        torch.testing.assert_close(found, 2 * main(x, 0.7) - expected)


@pytest.mark.parametrize("tensor", [False, True])
def test_a_gradient_goes_through_a_view(tensor):
    main = Watched().double()
    inner = main + 0.5 * (main - View(main, Doubled()))
    point = GradientGuided(inner, bowl, through=True)
    x = given()[0].double()
    levels = torch.full((4,), 0.7, dtype=torch.float64)
    with torch.no_grad():
        slope = by_differences(lambda at: bowl(inner(at, 0.7), levels, None), x)
        with tally() as counts:
            found = point(x, levels if tensor else 0.7)
        torch.testing.assert_close(found, inner(x, 0.7) + 0.49 * slope, rtol=1e-6, atol=1e-6)
    assert counts[main] == Count(1, 12, 1)


@pytest.mark.parametrize("inner_through", [False, True])
def test_a_gradient_goes_through_a_gradient(inner_through):
    main = Watched().double()
    inner = GradientGuided(main, bowl, through=inner_through)
    point = GradientGuided(inner, towards, through=True)
    x = given()[0].double()
    levels = torch.full((4,), 0.7, dtype=torch.float64)
    with torch.no_grad():
        slope = by_differences(lambda at: towards(inner(at, 0.7), levels, None), x)
        found = point(x, 0.7)
        torch.testing.assert_close(found, inner(x, 0.7) + 0.49 * slope, rtol=1e-6, atol=1e-6)
    assert not found.requires_grad


def test_perturbed_mapped_and_renewed():
    main, other = GaussianDenoiser(0.1), GaussianDenoiser(0.5)
    x, _ = given()
    point = GradientGuided(main, bowl, through=True)
    wider = GradientGuided(GaussianDenoiser(0.1, 0.75), bowl, through=True)
    torch.testing.assert_close(perturbed(point, "skip-layer")(x, 0.7), wider(x, 0.7))
    torch.testing.assert_close(
        point.mapped(lambda leaf: other)(x, 0.7), GradientGuided(other, bowl, through=True)(x, 0.7)
    )
    assert point.leaves() == [main]
    begun = []

    def begin():
        begun.append(None)
        return lambda outputs, x, sigma: outputs[0]

    remembering = GradientGuided(Combine([main], begin=begin), bowl, through=True)
    path = (main + 2.0 * (remembering - main)).trajectory()
    assert len(begun) == 1
    with torch.no_grad():
        path(x, 1.0)
        path(x, 0.5)
    assert len(begun) == 1


def test_a_network_that_draws_draws_for_the_same_samples():
    main = DegradedDenoiser(GaussianDenoiser(0.1), noise=0.2)
    x, _ = given()
    with torch.no_grad():
        plain = main(x, 0.7)
        guided = (main + 1.0 * (GradientGuided(main, lambda x, sigma, condition: 0 * x.sum(1), through=True) - main))(
            x, 0.7
        )
    torch.testing.assert_close(guided, plain)


# Modes and trajectories


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("through", [False, True])
def test_a_trajectory_plans_once_and_gives_what_single_evaluations_give(kind, through):
    heun = Registry.installed().find("sampler", "heun")
    if isinstance(heun, str):
        pytest.skip("heun is not installed")
    main, weak = GaussianDenoiser(0.1, conditioning=kind), GaussianDenoiser(0.4, conditioning=kind)
    point = (
        main + Gate(0.2) * (main - weak) + 0.5 * Gate(0.1, 2.0) * (GradientGuided(main, bowl, through=through) - main)
    )
    x, condition = given(kind)
    path = point.trajectory()
    with torch.no_grad():
        for sigma in (5.0, 1.5, 1.0, 0.15, 0.05):
            for _ in range(2):
                value = path(x, sigma, condition)
                assert not value.requires_grad
                torch.testing.assert_close(value, point(x, sigma, condition), rtol=0, atol=0)
    sampler = heun(num_steps=6, sigma_max=5.0)
    end = sampler.sample(point, 5 * x, condition, SampleStreams(0, range(4)))
    assert bool(torch.isfinite(end).all())
    assert not end.requires_grad


@pytest.mark.parametrize("through", [False, True])
def test_without_parameters_nothing_is_recorded_with_gradients_on_either(through):
    main = GaussianDenoiser(0.1)
    x, _ = given()
    value = (main + 2.0 * (GradientGuided(main, bowl, through=through) - main))(x, 0.7)
    assert not value.requires_grad
    assert not x.requires_grad


@pytest.mark.parametrize("through", [False, True])
def test_a_caller_that_records_gets_the_gradient_of_the_whole(through):
    main = Watched().double()
    point = main + 2.0 * (GradientGuided(main, bowl, through=through) - main)
    x = given()[0].double()
    with torch.no_grad():
        expected = by_differences(lambda at: point(at, 0.7).square().sum(1), x)
    asked = x.clone().requires_grad_()
    point(asked, 0.7).square().sum().backward()
    torch.testing.assert_close(asked.grad, expected, rtol=1e-6, atol=1e-6)
    assert main.mean.grad is not None
    learned = torch.nn.Linear(2, 1).double()

    class Learned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = learned

        def forward(self, x, sigma, condition):
            return self.linear(x)[:, 0]

    frozen_main = GaussianDenoiser(0.1)
    GradientGuided(frozen_main, Learned(), through=through)(x, 0.7).sum().backward()
    assert learned.weight.grad is not None


def test_inference_mode_is_refused_in_one_line():
    main = GaussianDenoiser(0.1)
    x, _ = given()
    point = main + Gate(0.3) * (GradientGuided(main, bowl) - main)
    with torch.inference_mode():
        point(x, 0.2)
        with pytest.raises(DenoiserError, match=r"sigma\^2 grad log p\(x\) .* torch.no_grad instead") as caught:
            point(x, 0.7)
    assert "\n" not in str(caught.value)
