"""Autoguidance: the laws, the textbook, and what it needs."""

import math

import pytest
import torch

from guideplug.denoise import tally
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_guider, example_condition
from guideplug_autoguidance import Autoguidance


class Roles:
    """A task that has a recipe for some roles."""

    def __init__(self, **recipes):
        self.recipes, self.main = recipes, None

    def recipe(self, role, main):
        self.main = main
        return self.recipes.get(role)


def test_laws():
    check_guider(Autoguidance)


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("weight", [-1.0, 0.5, 2.0, 3.0])
def test_the_textbook_formula(kind, weight):
    """D_0 + w (D_1 - D_0), each asked under the condition."""
    base, weak = GaussianDenoiser(0.1, 0.5, conditioning=kind), GaussianDenoiser(0.4, 0.9, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    guided = Autoguidance(weight).guide(base, {"weak": weak, "unconditional": GaussianDenoiser(9.0)})
    with tally() as counts:
        value = guided(x, 1.0, condition)
    main, poor = base(x, 1.0, condition), weak(x, 1.0, condition)
    torch.testing.assert_close(value, poor + weight * (main - poor))
    assert {net: (count.calls, count.outputs) for net, count in counts.counts.items()} == {base: (1, 3), weak: (1, 3)}


def test_weight_zero_is_the_weak_network_alone():
    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    x = torch.ones(3, 2)
    with tally() as counts:
        assert torch.equal(Autoguidance(0.0).guide(base, {"weak": weak})(x, 1.0), weak(x, 1.0))
    assert counts[base].calls == 0


def test_another_role_can_be_named():
    base, other = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    x = torch.ones(3, 2)
    guided = Autoguidance(3.0, model="worse").guide(base, {"worse": other, "weak": GaussianDenoiser(9.0)})
    torch.testing.assert_close(guided(x, 1.0), 3 * base(x, 1.0) - 2 * other(x, 1.0))


def test_a_model_that_is_missing_is_no_silent_default():
    with pytest.raises(KeyError, match="weak"):
        Autoguidance().guide(GaussianDenoiser(conditioning="labels"), {"unconditional": GaussianDenoiser()})


def test_it_needs_a_weak_network_under_the_name_of_its_role():
    main, recipe = object(), object()
    task = Roles(weak=recipe)
    assert Autoguidance().needs(task, main) == {"weak": recipe}
    assert task.main is main
    assert Autoguidance(model="worse").needs(task, main) == {"worse": recipe}
    assert Autoguidance().needs(Roles(), main) == {"weak": None}


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_weights_are_finite(weight):
    with pytest.raises(ValueError, match="weight"):
        Autoguidance(weight)
