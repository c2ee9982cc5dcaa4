"""Named outputs of a network: one call for all that are asked together, the same numbers as asked alone."""

import functools
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from guideplug.denoise import (
    Combine,
    Gate,
    GradientGuided,
    Leaf,
    PointOutput,
    Space,
    Value,
    ValueOutput,
    View,
    calls,
    evaluate_together,
    formula,
    per_row,
    perturbed,
    tally,
)
from guideplug.denoise.change import Change
from guideplug.denoise.skip import skip_layers
from guideplug.errors import ConditionError, DenoiserError

laws = settings(deadline=None, max_examples=40, derandomize=True)

NAMES = ["denoised", "head", "logvar", "logits"]


class Headed(Leaf):
    """A network with a head in the middle, a log-variance and logits."""

    outputs: ClassVar = {"head": PointOutput(), "logvar": ValueOutput(), "logits": ValueOutput((3,))}

    def __init__(self, seed=0):
        super().__init__(Space((2,)))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.middle, self.last = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(8, 2)
            self.block, self.of_level, self.of_classes = nn.Linear(8, 8), nn.Linear(1, 1), nn.Linear(8, 3)
        self.double()
        self.names = []

    def denoise(self, x, sigma, condition):
        return self.named_outputs(x, sigma, condition, ["denoised"])["denoised"]

    def named_outputs(self, x, sigma, condition, names):
        self.names.append(list(names))
        label = torch.zeros_like(sigma) if condition is None else condition.to(x.dtype)
        features = self.block(self.first(torch.cat([x, sigma[:, None], label[:, None]], 1)).tanh())
        level = self.of_level(sigma.log()[:, None]).flatten()
        values = {"head": self.middle(features), "logvar": level, "logits": self.of_classes(features)}
        return values | ({"denoised": self.last(features) + x} if "denoised" in names else {})

    def null_condition(self, batch, device):
        return torch.full((batch,), 9, device=device)

    def perturbations(self):
        return {"skip": functools.partial(skip_layers("block"), self)}


class Plain(Headed):
    outputs: ClassVar = {}


def named(network, name):
    return network if name == "denoised" else network.output(name)


@pytest.fixture
def network():
    return Headed()


class Question:
    """Where networks are evaluated."""

    def __init__(self, batch, sigma, per_row_levels, labelled, seed):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(batch, 2, generator=generator, dtype=torch.float64)
        self.sigma = torch.full((batch,), sigma, dtype=torch.float64) if per_row_levels else sigma
        self.condition = torch.arange(batch) % 3 if labelled else None

    def __call__(self, expression):
        return expression(self.x, self.sigma, self.condition)

    def together(self, expressions):
        return evaluate_together(expressions, self.x, self.sigma, self.condition)

    def __repr__(self):
        return f"Question({len(self.x)} samples, {self.sigma}, {self.condition})"


QUESTIONS = st.builds(
    Question, st.integers(1, 5), st.sampled_from([0.01, 1.0, 80.0]), st.booleans(), st.booleans(), st.integers(0, 9)
)


@laws
@given(QUESTIONS, st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
def test_outputs_asked_together_equal_those_asked_alone_and_cost_one_call(question, names):
    network = Headed()
    alone = [question(named(network, name)) for name in names]
    with tally() as counts:
        together = question.together([named(network, name) for name in names])
    assert all(map(torch.equal, together, alone))
    assert (counts[network].calls, counts[network].outputs) == (1, len(question.x))
    assert set(network.names[-1]) == set(names)


@laws
@given(QUESTIONS, st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from(["labels", "null", "gate"]))
def test_a_head_guides_its_own_network_in_one_call(question, weight, kind):
    network = Headed()
    main, head = network, network.output("head")
    if kind == "null":
        main, head = main.unconditional(), head.unconditional()
    factor = Gate(0.5) * (weight - 1.0) if kind == "gate" else weight - 1.0
    guided = main + factor * (main - head)
    with tally() as counts:
        value = question(guided)
    assert (counts[network].calls, counts[network].outputs) == (1, len(question.x))
    open_gate = kind != "gate" or bool(torch.as_tensor(question.sigma).max() > 0.5)
    w = weight if open_gate else 1.0
    expected = question(main) + (w - 1) * (question(main) - question(head))
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_a_network_without_further_outputs_is_called_as_before(network):
    network(torch.zeros(3, 2, dtype=torch.float64), 1.0)
    guided = network + 2.0 * (network - network.unconditional())
    guided(torch.zeros(3, 2, dtype=torch.float64), 1.0, torch.arange(3))
    assert network.names == [["denoised"], ["denoised"]]  # of denoise: named_outputs is not asked by the pass


def test_only_what_is_needed_is_computed(network):
    x = torch.zeros(3, 2, dtype=torch.float64)
    network.output("logvar")(x, 1.0)
    (network + 0.0 * (network - network.output("head")))(x, 1.0)
    (network + (-1.0) * (network - network.output("head")))(x, 1.0)
    assert network.names == [["logvar"], ["denoised"], ["head"]]


def test_rows_under_several_conditions_are_one_batch_of_all_needed_outputs(network):
    x, labels = torch.randn(4, 2, dtype=torch.float64), torch.arange(4) % 3
    guided = network + 1.5 * (network - network.output("head").unconditional())
    with tally() as counts:
        value = guided(x, 1.0, labels)
    assert (counts[network].calls, counts[network].outputs) == (1, 8)
    weak = network.output("head")(x, 1.0, None)
    main = network(x, 1.0, labels)
    torch.testing.assert_close(value, main + 1.5 * (main - weak), rtol=1e-12, atol=1e-12)


def test_conditions_that_do_not_concatenate_take_a_call_each_with_what_each_needs(network):
    x, labels = torch.randn(3, 2, dtype=torch.float64), torch.arange(3)
    point = network + 1.0 * (network - network.output("head").under(labels.double()))
    point(x, 1.0, labels)
    assert network.names == [["denoised"], ["head"]]


def test_a_function_reads_values(network):
    x = torch.randn(3, 2, dtype=torch.float64)

    def scaled(outputs, x, sigma):
        denoised, logvar = outputs
        return denoised * per_row(logvar.exp(), x)

    point = Combine([network, network.output("logvar")], scaled, written="scaled({})")
    with tally() as counts:
        value = point(x, 2.0)
    assert counts[network].calls == 1
    assert torch.equal(value, scaled((network(x, 2.0), network.output("logvar")(x, 2.0)), x, 2.0))
    assert formula(point, {network: "main"}) == "scaled(main(x, c), main.logvar(x, c))"
    assert calls(point, 2.0)[network].calls == 1
    null = point.unconditional()
    assert torch.equal(null(x, 2.0, torch.arange(3)), value)
    assert point.leaves() == [network]


class Doubled(Change):
    copies = 2

    def level(self, sigma):
        return 2 * sigma

    def inputs(self, x, sigma):
        return torch.cat([x, -x])

    def answer(self, denoised, x, sigma):
        return denoised.reshape(2, *x.shape).mean(0)


def test_outputs_are_read_inside_views_at_the_level_of_the_view(network):
    x = torch.randn(3, 2, dtype=torch.float64)
    head = network.output("head")
    with tally() as counts:
        value = View(head, Doubled())(x, 1.0)
    assert (counts[network].calls, counts[network].outputs) == (1, 6)
    torch.testing.assert_close(value, (head(x, 2.0) + head(-x, 2.0)) / 2, rtol=1e-12, atol=1e-12)


def test_a_perturbed_network_has_perturbed_outputs(network):
    x = torch.randn(3, 2, dtype=torch.float64)
    weak = perturbed(network.output("head"), "skip")
    with tally() as counts:
        value = weak(x, 1.0)
        assert not torch.equal(value, network.output("head")(x, 1.0))
    assert counts[network].calls == 2
    assert torch.equal(value, perturbed(network, "skip").output("head")(x, 1.0))
    assert formula(weak, {network: "main"}) == "[main.head(x, c) skip]"


def test_a_gradient_of_logits_guides_in_one_call_and_one_backward(network):
    x, labels = torch.randn(4, 2, dtype=torch.float64), torch.arange(4) % 3

    def log_class(logits, sigma, condition):
        return logits.log_softmax(1).gather(1, condition[:, None]).flatten()

    guided = GradientGuided(network, log_class, value=network.output("logits"), name="log p(c|x)")
    with torch.no_grad(), tally() as counts:
        value = guided(x, 0.5, labels)
    assert (counts[network].calls, counts[network].gradients) == (1, 1)
    assert not value.requires_grad
    moving = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(log_class(network.output("logits")(moving, 0.5, labels), 0.5, labels).sum(), moving)
    torch.testing.assert_close(value, network(x, 0.5, labels) + 0.25 * slope, rtol=1e-12, atol=1e-12)
    assert formula(guided, {network: "main"}) == "[main(x, c) + sigma^2 grad log p(c|x)(main.logits(x, c))]"
    assert calls(guided, 0.5)[network].gradients == 1
    other = GradientGuided(network, log_class, value=network.output("logits"), name="log p(c|x)")
    assert guided == other
    assert network + 2.0 * (guided - other) is network


def test_gradients_reach_the_weights_of_each_output(network):
    x = torch.randn(4, 2, dtype=torch.float64)
    denoised, logvar = evaluate_together([network, network.output("logvar")], x, 2.0)
    (denoised.sum() + logvar.sum()).backward()
    used = [network.first.weight, network.last.weight, network.of_level.weight]
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in used)


def test_a_trajectory_plans_outputs_once_and_gives_the_same(network):
    x, labels = torch.randn(4, 2, dtype=torch.float64), torch.arange(4) % 3
    guided = network + 2.0 * (network - network.output("head"))
    along = guided.trajectory()
    with torch.no_grad():
        for sigma in (2.0, 1.0, 0.5):
            assert torch.equal(along(x, sigma, labels), guided(x, sigma, labels))


@torch.no_grad()
def test_under_torch_compile():
    network = Headed()
    x, labels = torch.randn(4, 2, dtype=torch.float64), torch.arange(4) % 3
    expressions = [network, network.output("head"), network.output("logvar")]
    expected = evaluate_together(expressions, x, 1.0, labels)
    for module in (network.first, network.last):
        module.compile(backend="eager")
    assert all(map(torch.equal, evaluate_together(expressions, x, 1.0, labels), expected))


# Refusals


def test_an_unknown_output_is_refused_with_near_names(network):
    with pytest.raises(
        DenoiserError, match=r"has no output 'logvars' \(did you mean 'logvar'\?\): it has head, logvar"
    ):
        network.output("logvars")
    with pytest.raises(DenoiserError, match="it has none besides the denoised samples"):
        Plain().output("logvar")
    with pytest.raises(DenoiserError, match="which is composed"):
        (network + 2.0 * (network - Headed(1))).output("head")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda network, value: network - value,
        lambda network, value: value - network,
        lambda network, value: network + value,
        lambda network, value: 2.0 * value,
        lambda network, value: network + 2.0 * (network - value),
        lambda network, value: View(value, Doubled()),
        lambda network, value: Combine([value], lambda outputs, x, sigma: outputs[0]),
        lambda network, value: GradientGuided(value, lambda x, sigma, condition: x.sum(1)),
        lambda network, value: value.trajectory(),
    ],
)
def test_a_value_is_refused_where_a_point_is_wanted(network, wrong):
    with pytest.raises(
        DenoiserError, match="the output 'logvar' of a Headed is a value, not denoised samples"
    ) as error:
        wrong(network, network.output("logvar"))
    assert "\n" not in str(error.value)


def test_a_point_is_refused_as_a_value(network):
    with pytest.raises(ValueError, match="value is a Affine"):
        GradientGuided(network, lambda x, sigma, condition: x.sum(1), value=network.output("head"))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({}, "returned nothing for its output 'logvar'"),
        ({"logvar": 3.0}, "returned a float"),
        ({"logvar": torch.zeros(4, 1)}, r"returned shape \(4, 1\) .* return a tensor of shape \(4,\)"),
    ],
)
def test_outputs_of_another_shape_are_refused(network, returned, message):
    network.named_outputs = lambda *_: returned
    with pytest.raises(DenoiserError, match=message) as error:
        network.output("logvar")(torch.zeros(4, 2, dtype=torch.float64), 1.0)
    assert "\n" not in str(error.value)


def test_a_network_that_declares_outputs_and_computes_none(network):
    class Empty(Headed):
        named_outputs = Leaf.named_outputs

    with pytest.raises(DenoiserError, match="does not implement named_outputs"):
        Empty().output("logvar")(torch.zeros(4, 2, dtype=torch.float64), 1.0)


def test_outputs_keep_what_networks_refuse(network):
    value = network.output("logvar")
    assert isinstance(value, Value)
    assert value == network.output("logvar") != network.output("logits")

    class Always(Plain):
        outputs = Headed.outputs
        null_condition = Leaf.null_condition

    with pytest.raises(ConditionError, match="has no null condition"):
        Always().output("logvar").unconditional()
    with pytest.raises(DenoiserError, match="of one space"):
        evaluate_together([], torch.zeros(1, 2), 1.0)
