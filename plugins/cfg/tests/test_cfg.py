"""Classifier-free guidance: the laws, the textbook, and which unconditional model it takes."""

import math

import pytest
import torch

from guideplug.denoise import tally
from guideplug.errors import ConditionError
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_guider, example_condition
from guideplug_cfg import CFG


class Roles:
    """A task that has a recipe for some roles."""

    def __init__(self, **recipes):
        self.recipes, self.main = recipes, None

    def recipe(self, role, main):
        self.main = main
        return self.recipes.get(role)


def test_laws():
    check_guider(CFG)


def test_laws_without_a_network_of_its_own():
    def given(kind):
        return {"unconditional": GaussianDenoiser(0.3)} if kind == "none" else {}

    check_guider(CFG, models=given)


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("weight", [-1.0, 0.5, 2.0, 7.5])
def test_the_textbook_formula_with_a_network_of_its_own(kind, weight):
    base, other = GaussianDenoiser(0.1, conditioning=kind), GaussianDenoiser(0.4, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    guided = CFG(weight).guide(base, {"unconditional": other, "weak": GaussianDenoiser(9.0)})
    with tally() as counts:
        value = guided(x, 1.0, condition)
    main, null = base(x, 1.0, condition), other(x, 1.0, condition)
    torch.testing.assert_close(value, null + weight * (main - null))
    assert {net: (count.calls, count.outputs) for net, count in counts.counts.items()} == {base: (1, 3), other: (1, 3)}


@pytest.mark.parametrize("kind", CONDITIONS[1:])
@pytest.mark.parametrize("weight", [-1.0, 0.5, 2.0, 7.5])
def test_the_textbook_formula_with_the_null_condition(kind, weight):
    """Ho and Salimans' eq. 6: (1 + w') conditional - w' unconditional, with w' = weight - 1."""
    base = GaussianDenoiser(0.1, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    with tally() as counts:
        value = CFG(weight).guide(base, {})(x, 1.0, condition)
    assert (counts[base].calls, counts[base].outputs) == (1, 6)
    theirs = weight - 1
    torch.testing.assert_close(value, (1 + theirs) * base(x, 1.0, condition) - theirs * base(x, 1.0))


def test_another_role_can_be_named():
    base, other = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    x = torch.ones(3, 2)
    guided = CFG(3.0, model="marginal").guide(base, {"marginal": other, "unconditional": GaussianDenoiser(9.0)})
    torch.testing.assert_close(guided(x, 1.0), 3 * base(x, 1.0) - 2 * other(x, 1.0))


def test_without_either_it_says_what_to_do():
    with pytest.raises(ConditionError, match="--model unconditional=PATH"):
        CFG().guide(GaussianDenoiser(), {})


def test_it_needs_what_the_task_can_train():
    main, recipe = object(), object()
    task = Roles(unconditional=recipe)
    assert CFG().needs(task, main) == {"unconditional": recipe}
    assert task.main is main
    assert CFG(model="marginal").needs(task, main) == {"marginal": recipe}
    assert CFG(model="marginal").may_use() == ["marginal"]


def test_it_needs_nothing_where_the_task_has_no_network_for_it():
    assert CFG().needs(Roles(weak=object()), object()) == {}


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_weights_are_finite(weight):
    with pytest.raises(ValueError, match="weight"):
        CFG(weight)
