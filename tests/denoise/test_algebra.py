"""The affine space's rules, conditions put in place of the given one, functions of denoisers, and refusals."""

import pytest
import torch
from torch import nn

from guideplug.denoise import Affine, Combine, Gate, Leaf, Space, Weight, calls, tally
from guideplug.errors import ConditionError, DenoiserError
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition

CONDITIONAL = [kind for kind in CONDITIONS if kind != "none"]


def networks(kind="none"):
    return GaussianDenoiser(0.1, 0.5, conditioning=kind), GaussianDenoiser(0.4, 0.9, conditioning=kind)


def asked(kind, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, generator=generator), example_condition(kind, batch, generator)


class TestPointsAndDirections:
    def test_points_cannot_be_added(self):
        base, weak = networks()
        with pytest.raises(TypeError, match="two denoisers cannot be added"):
            base + weak
        with pytest.raises(TypeError, match="two denoisers cannot be added"):
            (base + 2 * (base - weak)) + weak

    @pytest.mark.parametrize("number", [2, 0.5, torch.tensor(2.0), True])
    def test_points_cannot_be_scaled(self, number):
        base, _ = networks()
        with pytest.raises(TypeError):
            number * base
        with pytest.raises(TypeError, match="a denoiser cannot be scaled"):
            base * number

    @pytest.mark.parametrize("wrong", [1, 0.0, "weak", None, torch.zeros(2)])
    def test_points_and_directions_add_to_nothing_else(self, wrong):
        base, weak = networks()
        for left, right in [(base, wrong), (wrong, base), (base - weak, wrong), (wrong, base - weak)]:
            with pytest.raises(TypeError):
                left + right
            with pytest.raises(TypeError):
                left - right

    @pytest.mark.parametrize("wrong", ["2", None, [1], True, torch.tensor(2.0)])
    def test_a_direction_is_scaled_by_numbers_and_weights_alone(self, wrong):
        base, weak = networks()
        with pytest.raises(TypeError):
            (base - weak) * wrong
        with pytest.raises(TypeError):
            wrong * (base - weak)

    def test_a_direction_minus_a_point_is_refused(self):
        base, weak = networks()
        with pytest.raises(TypeError):
            (base - weak) - base

    def test_directions_form_a_vector_space(self):
        base, weak = networks()
        x, _ = asked("none")
        a, b = base(x, 1.0), weak(x, 1.0)
        d = base - weak
        for direction, expected in [
            (2 * d, 2 * (a - b)),
            (d * 2, 2 * (a - b)),
            (-d, b - a),
            (d + d, 2 * (a - b)),
            (3 * d - d, 2 * (a - b)),
            (d - d, 0 * a),
            (Gate(2.0) * d, 0 * a),
            (Gate(0.0) * d * 2, 2 * (a - b)),
            ((0.5 * Gate(0.0) + 1) * d, 1.5 * (a - b)),
        ]:
            torch.testing.assert_close((base + direction)(x, 1.0), a + expected)
            torch.testing.assert_close((direction + base)(x, 1.0), a + expected)
            torch.testing.assert_close((weak - direction)(x, 1.0), b - expected)

    def test_shapes_must_match(self):
        base, other = GaussianDenoiser(), GaussianDenoiser(dimension=3)
        direction = other - GaussianDenoiser(0.3, dimension=3)
        for make in (
            lambda: base - other,
            lambda: base + direction,
            lambda: base - direction,
            lambda: (base - base) + direction,
            lambda: Combine([base, other], lambda outputs, x, sigma: outputs[0]),
        ):
            with pytest.raises(DenoiserError, match=r"shapes \(\d,\) and \(\d,\) cannot be combined"):
                make()

    def test_networks_and_weights_are_registered(self):
        class Learned(Weight):
            def __init__(self):
                super().__init__()
                self.omega = nn.Parameter(torch.tensor(0.5))

            def forward(self, at):
                return self.omega

        class Linear(Leaf):
            def __init__(self):
                super().__init__(Space((2,)))
                self.layer = nn.Linear(2, 2)

            def denoise(self, x, sigma, condition):
                return self.layer(x)

        base, weak, inner = Linear(), Linear(), Linear()
        omega = Learned()
        point = base + omega * (Combine([inner, weak], lambda outputs, x, sigma: outputs[0].tanh()) - base)
        assert isinstance(point, Affine)
        own = {id(p) for p in point.parameters()}
        assert own == {id(p) for module in (base, weak, inner, omega) for p in module.parameters()}
        point.to(torch.float64)
        assert {p.dtype for p in point.parameters()} == {torch.float64}
        assert not point.eval().sources[0].training
        assert point(torch.zeros(1, 2, dtype=torch.float64), 1.0).dtype == torch.float64
        assert point.leaves() == [base, inner, weak]


class Scaled(Leaf):
    """A latent model: people look at twice the latent."""

    def denoise(self, x, sigma, condition):
        return x / (1 + sigma[:, None] ** 2)

    def decode(self, x):
        return 2 * x


def test_a_guided_latent_model_decodes_as_its_networks_do():
    base, weak = Scaled(Space((2,))), Scaled(Space((2,)))
    x = torch.ones(1, 2)
    clipped = Combine([base], lambda outputs, x, sigma: outputs[0].clamp(-1, 1))
    for point in (base, base + 2 * (base - weak), base + (weak - base), clipped, clipped + 2 * (clipped - weak)):
        assert torch.equal(point.decode(x), 2 * x)


class TestConditionsInPlace:
    def test_without_a_null_condition_nothing_is_asked_unconditionally(self):
        base, weak = networks()
        for point in (base, base + 2 * (base - weak), Combine([base], lambda outputs, x, sigma: outputs[0])):
            with pytest.raises(ConditionError, match="has no null condition"):
                point.unconditional()

    @pytest.mark.parametrize("kind", CONDITIONAL)
    def test_a_negative_condition(self, kind):
        """base + 2 (base - base.under(negative)): one call of two outputs, by hand the same."""
        base, _ = networks(kind)
        (x, condition), (_, negative) = asked(kind), asked(kind, seed=1)
        guided = base + 2 * (base - base.under(negative))
        with tally() as counts:
            value = guided(x, 1.0, condition)
        assert (counts[base].calls, counts[base].outputs) == (1, 6)
        torch.testing.assert_close(value, 3 * base(x, 1.0, condition) - 2 * base(x, 1.0, negative))

    @pytest.mark.parametrize("kind", CONDITIONAL)
    def test_a_fixed_condition_of_one_row_is_for_every_sample(self, kind):
        base, _ = networks(kind)
        x, condition = asked(kind)
        _, negative = asked(kind, batch=1, seed=1)
        with tally() as counts:
            value = (base + 2 * (base - base.under(negative)))(x, 1.0, condition)
        assert counts[base].calls == 1
        rows = torch.cat([base(row, 1.0, negative) for row in x.split(1)])
        torch.testing.assert_close(value, 3 * base(x, 1.0, condition) - 2 * rows)

    def test_a_wrong_batch_names_both(self):
        base, _ = networks("labels")
        x, condition = asked("labels")
        with pytest.raises(ConditionError, match="batch 2, x has batch 3"):
            (base + 2 * (base - base.under(torch.tensor([0, 1]))))(x, 1.0, condition)
        for point in (base, base + (base - base.unconditional())):
            with pytest.raises(ConditionError, match="batch 2, x has batch 3"):
                point(x, 1.0, torch.tensor([0, 1]))
        masked, _ = networks("masked")
        parts = example_condition("masked", 4, torch.Generator().manual_seed(0))
        with pytest.raises(ConditionError, match="'text' has batch 4, x has batch 3"):
            masked(x, 1.0, parts)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [(torch.tensor(1), "no batch axis"), ([0, 1, 2], "'.0.' is 0: give")],
    )
    def test_a_condition_is_a_tensor_with_a_batch_axis(self, wrong, message):
        base, _ = networks("labels")
        with pytest.raises(ConditionError, match=message):
            (base + (base - base.unconditional()))(asked("labels")[0], 1.0, wrong)

    @pytest.mark.parametrize("kind", CONDITIONAL)
    def test_no_condition_is_the_null_condition_with_one_output(self, kind):
        base, weak = networks(kind)
        x, _ = asked(kind)
        null = base.null_condition(len(x), x.device)
        assert torch.equal(base(x, 1.0), base(x, 1.0, null))
        guided = base + 2 * (base - base.unconditional()) + 3 * (base - weak)
        with tally() as counts:
            value = guided(x, 1.0)
        assert all((counts[net].calls, counts[net].outputs) == (1, 3) for net in (base, weak))
        torch.testing.assert_close(value, guided(x, 1.0, null))
        assert calls(guided, 1.0, conditional=False)[base].outputs == 1
        assert calls(guided, 1.0, conditional=True)[base].outputs == 2

    @pytest.mark.parametrize("kind", CONDITIONAL)
    def test_conditions_that_become_equal_add_up(self, kind):
        """Of w D(given) + (1 - w) D(null), asked unconditionally, nothing but D(null) is left."""
        base, weak = networks(kind)
        (x, condition), (_, negative) = asked(kind), asked(kind, seed=1)
        guided = base + 2 * (base - base.unconditional()) + 3 * (base - weak)
        by_hand = 4 * base(x, 1.0) - 3 * weak(x, 1.0)
        torch.testing.assert_close(guided.unconditional()(x, 1.0, condition), by_hand)
        against = base + 2 * (base - base.under(negative)) + 3 * (base - weak)
        by_hand = 4 * base(x, 1.0, negative) - 3 * weak(x, 1.0, negative)
        torch.testing.assert_close(against.under(negative)(x, 1.0, condition), by_hand)

    def test_a_fixed_condition_stays_whatever_is_put_outside(self):
        base, _ = networks("labels")
        (x, condition), negative = asked("labels"), torch.tensor([2])
        inner = base.under(negative)
        for outer in (inner.unconditional(), inner.under(condition)):
            assert torch.equal(outer(x, 1.0, condition), base(x, 1.0, negative))


class TestCombine:
    def test_it_takes_points_and_one_of_function_and_begin(self):
        base, _ = networks()

        def first(outputs, x, sigma):
            return outputs[0]

        for inputs, function, begin in [([], first, None), ([base], None, None), ([base], first, lambda: first)]:
            with pytest.raises(ValueError, match="at least one denoiser"):
                Combine(inputs, function, begin=begin)

    def test_the_planner_sees_through_it(self):
        base, weak = networks("labels")
        x, condition = asked("labels")

        def norm_limited(outputs, x, sigma):
            main, null = outputs
            step = main - null
            return main + step / step.norm(dim=1, keepdim=True).clamp_min(1)

        projected = Combine([base, base.unconditional()], norm_limited)
        guided = base + 0.5 * (projected - base) + 0.5 * ((base + 2 * (base - weak)) - base)
        with tally() as counts:
            value = guided(x, 1.0, condition)
        assert (counts[base].calls, counts[base].outputs) == (1, 6)
        assert (counts[weak].calls, counts[weak].outputs) == (1, 3)
        main, null, other = base(x, 1.0, condition), base(x, 1.0), weak(x, 1.0, condition)
        limited = norm_limited([main, null], x, 1.0)
        torch.testing.assert_close(value, main + 0.5 * (limited - main) + (main - other))

    def test_under_and_unconditional_reach_its_inputs(self):
        base, weak = networks("labels")
        (x, condition), label = asked("labels"), torch.tensor([2])
        mean = Combine([base, weak], lambda outputs, x, sigma: (outputs[0] + outputs[1]).tanh())
        fixed, null = mean.under(label)(x, 1.0, condition), mean.unconditional()(x, 1.0, condition)
        torch.testing.assert_close(fixed, (base(x, 1.0, label) + weak(x, 1.0, label)).tanh())
        torch.testing.assert_close(null, (base(x, 1.0) + weak(x, 1.0)).tanh())

    def test_one_that_does_not_count_is_not_evaluated(self):
        base, _ = networks()
        weak = GaussianDenoiser(0.4)

        def never(outputs, x, sigma):
            raise AssertionError("evaluated")

        x, _ = asked("none")
        gated = base + Gate(2.0) * (Combine([weak], never) - base)
        with tally() as counts:
            assert torch.equal(gated(x, 1.0), base(x, 1.0))
        assert counts[weak].calls == 0
        with pytest.raises(AssertionError, match="evaluated"):
            gated(x, 3.0)

    def test_memory_is_fresh_for_each_trajectory(self):
        base, _ = networks()
        x, _ = asked("none")

        def momentum():
            seen = []

            def function(outputs, x, sigma):
                seen.append(outputs[0])
                return sum(seen)

            return function

        remembering = Combine([base], begin=momentum)
        for point in (remembering, base + 2 * (remembering - base), Combine([remembering], lambda o, x, s: o[0])):
            first = point.trajectory()
            assert first is not point
            once, twice = first(x, 1.0), first(x, 1.0)
            assert not torch.equal(once, twice)  # it remembers along one trajectory
            second = point.trajectory()
            assert torch.equal(second(x, 1.0), once)  # and nothing of another
            assert torch.equal(second(x, 1.0), twice)
            assert torch.equal(point(x, 1.0), once)  # and nothing outside of any
            assert torch.equal(point(x, 1.0), once)

    def test_memory_is_fresh_for_a_trajectory_of_a_trajectory(self):
        """A loop may begin one itself and hand it to a sampler, which begins another."""
        base, weak = networks()
        x, _ = asked("none")

        def begin():
            seen = []

            def function(outputs, x, sigma):
                seen.append(outputs[0])
                return sum(seen)

            return function

        for point in (Combine([base], begin=begin), Combine([base], begin=begin) + 2 * (base - weak)):
            first = point.trajectory()
            once, twice = first(x, 1.0), first(x, 1.0)
            second = first.trajectory()
            assert torch.equal(second(x, 1.0), once)
            assert torch.equal(second(x, 1.0), twice)
            assert not torch.equal(first(x, 1.0), once)

    def test_one_memory_in_two_places_is_one_memory(self):
        base, weak = networks()
        x, _ = asked("none")
        steps = []

        def begin():
            def function(outputs, x, sigma):
                steps.append(1)
                return outputs[0] + len(steps)

            return function

        remembering = Combine([base], begin=begin)
        outer = Combine([remembering, weak], lambda outputs, x, sigma: outputs[0])
        path = (outer + 2 * (remembering - outer)).trajectory()
        path(x, 1.0)
        assert len(steps) == 1

    def test_a_network_is_its_own_trajectory(self):
        base, _ = networks()
        assert base.trajectory() is base


class Wrong(Leaf):
    def denoise(self, x, sigma, condition):
        return x[:, :1]


def test_a_wrong_output_shape_is_refused():
    wrong, base = Wrong(Space((2,))), GaussianDenoiser()
    x, _ = asked("none")
    for point in (wrong, base + 2 * (base - wrong)):
        with pytest.raises(DenoiserError, match=r"Wrong returned shape \(3, 1\) for x of shape \(3, 2\)"):
            point(x, 1.0)


@pytest.mark.parametrize("shape", [(3, 1), (1, 2), (2,), ()])
def test_what_a_function_returns_is_not_broadcast_in_a_sum(shape):
    base = GaussianDenoiser(0.1)
    wrong = Combine([base], lambda outputs, x, sigma: torch.zeros(shape))
    for point in (base + 0.5 * (wrong - base), wrong + 2 * (base - wrong)):
        with pytest.raises(DenoiserError, match="gave denoised samples of shapes that differ: return x's"):
            point(torch.randn(3, 2), 1.0)
