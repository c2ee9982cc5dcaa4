"""Views: the same network asked elsewhere, or perturbed; planned, counted and composed like anything else."""

import pytest
import torch
from attrs import frozen

from guideplug.denoise import Change, Combine, Count, Gate, Leaf, Space, View, calls, formula, perturbed, tally
from guideplug.errors import ConditionError, DenoiserError
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition


@frozen
class At(Change):
    """Told another level."""

    factor: float

    def level(self, sigma):
        return self.factor * sigma

    def __str__(self):
        return f"told {self.factor:g} sigma"


@frozen
class Mirrored(Change):
    """x and -x, the answers averaged after mirroring back, at the same level."""

    copies = 2

    def inputs(self, x, sigma):
        return torch.cat([x, -x])

    def answer(self, denoised, x, sigma):
        there, back = denoised.chunk(2)
        return (there - back) / 2


@frozen
class Half(Change):
    """The first coordinate alone, the others as they are."""

    def shape(self, shape):
        return (1,)

    def inputs(self, x, sigma):
        return x[:, :1]

    def answer(self, denoised, x, sigma):
        return torch.cat([denoised, x[:, 1:]], 1)


@frozen
class Same(Change):
    """No change."""


def main_and_weak(kind="labels"):
    return GaussianDenoiser(0.1, 0.5, conditioning=kind), GaussianDenoiser(0.4, 0.8, conditioning=kind)


def given(kind="labels", batch=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 2, generator=generator), example_condition(kind, batch, generator)


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("tensor", [False, True])
def test_a_view_is_asked_elsewhere_in_the_same_call(kind, tensor):
    main, _ = main_and_weak(kind)
    x, condition = given(kind)
    sigma = torch.linspace(0.3, 1.0, 4) if tensor else 0.7
    view = View(main, At(2.0))
    point = main + 0.5 * (main - view) + 0.1 * (main - View(main, Mirrored()))
    with tally() as counts:
        value = point(x, sigma, condition)
    assert counts[main] == Count(1, 4 * 4)
    elsewhere, mirrored = main(x, 2 * sigma, condition), (main(x, sigma, condition) - main(-x, sigma, condition)) / 2
    torch.testing.assert_close(value, 1.6 * main(x, sigma, condition) - 0.5 * elsewhere - 0.1 * mirrored)
    torch.testing.assert_close(view(x, sigma, condition), elsewhere)


def test_a_scalar_tensor_of_a_level_is_one_too():
    main, _ = main_and_weak()
    x, labels = given()
    point = main + 0.5 * (main - View(View(main, At(2.0)), Mirrored()))
    torch.testing.assert_close(point(x, torch.tensor(0.7), labels), point(x, 0.7, labels))


def test_a_view_of_no_change_changes_nothing():
    main, _ = main_and_weak()
    x, labels = given()
    torch.testing.assert_close((main + 3.0 * (main - View(main, Same())))(x, 0.7, labels), main(x, 0.7, labels))


def test_gates_inside_a_view_see_its_level():
    main, weak = main_and_weak()
    x, labels = given()
    inner = main + Gate(1.0, 2.0) * (main - weak)
    point = main + 0.5 * (main - View(inner, At(2.0)))
    for sigma, called in ((0.4, 0), (0.7, 1), (1.5, 0)):
        with tally() as counts:
            value = point(x, sigma, labels)
        assert counts[weak].calls == called
        torch.testing.assert_close(value, 1.5 * main(x, sigma, labels) - 0.5 * inner(x, 2 * sigma, labels))
        planned = {leaf: Count(count.calls, 4 * count.outputs) for leaf, count in calls(point, sigma).items()}
        assert planned == dict(counts.counts)
    torch.testing.assert_close(point(x, torch.full((4,), 0.7), labels), point(x, 0.7, labels))


def test_what_has_no_weight_is_not_called():
    main, weak = main_and_weak()
    x, labels = given()
    point = main + Gate(1.0) * (main - View(weak, At(2.0)))
    with tally() as counts:
        assert torch.equal(point(x, 0.5, labels), main(x, 0.5, labels))
    assert counts[weak].calls == 0
    assert main + 0.0 * (main - View(weak, At(2.0))) is main


def test_equal_views_are_one():
    main, _ = main_and_weak()
    x, labels = given()
    point = main + 0.5 * (main - View(main, At(2.0))) + 0.5 * (main - View(main, At(2.0)))
    assert len(point.terms) == 2
    with tally() as counts:
        point(x, 0.7, labels)
    assert counts[main] == Count(1, 8)
    assert View(main, At(2.0)) != View(main, At(3.0))


@pytest.mark.parametrize("kind", CONDITIONS[1:])
def test_conditions_reach_through_a_view(kind):
    main, weak = main_and_weak(kind)
    x, condition = given(kind)
    view = View(main + (main - weak), Mirrored())
    null = view.unconditional()
    torch.testing.assert_close(null(x, 0.7, condition), view(x, 0.7))
    other = example_condition(kind, 1, torch.Generator().manual_seed(9))
    torch.testing.assert_close(view.under(other)(x, 0.7, condition), view(x, 0.7, other))
    with tally() as counts:
        guided = view + 1.0 * (view - null)
        guided(x, 0.7, condition)
    assert counts[main] == Count(1, 16)  # both conditions, both ways round, as one batch
    with pytest.raises(ConditionError):
        View(GaussianDenoiser(), At(2.0)).unconditional()


def test_another_shape_is_a_call_of_its_own():
    main, _ = main_and_weak("none")
    x, _ = given()
    point = main + 0.5 * (main - View(main, Half()))
    with tally() as counts:
        value = point(x, 0.7)
    assert counts[main] == Count(2, 8)
    assert calls(point, 0.7) == {main: Count(2, 2)}
    expected = 1.5 * main(x, 0.7) - 0.5 * torch.cat([main(x[:, :1], 0.7), x[:, 1:]], 1)
    torch.testing.assert_close(value, expected)


def test_a_trajectory_is_planned_once_and_says_the_same():
    main, weak = main_and_weak()
    x, labels = given()
    point = main + Gate(0.5) * (main - View(main + Gate(0.0, 2.0) * (main - weak), At(2.0)))
    path = point.trajectory()
    view = View(main, At(2.0))
    with torch.no_grad():
        for sigma in (3.0, 0.9, 0.3, 0.9):
            assert torch.equal(path(x, sigma, labels), point(x, sigma, labels))
            assert torch.equal(view.trajectory()(x, sigma, labels), view(x, sigma, labels))
    assert view.trajectory()._plan is not None


def test_a_memory_in_a_view_is_its_own():
    main, _ = main_and_weak("none")
    seen = []

    def begin():
        memory = []
        seen.append(memory)

        def remember(outputs, x, sigma):
            memory.append(sigma)
            return outputs[0]

        return remember

    remembering = Combine([main], begin=begin)
    path = (remembering + 0.5 * (remembering - View(remembering, At(2.0)))).trajectory()
    x, _ = given()
    with torch.no_grad():
        for sigma in (1.0, 0.5):
            path(x, sigma)
    assert sorted(memory for memory in seen if memory) == [[1.0, 0.5], [2.0, 1.0]]


def test_gradients_reach_x_and_the_parameters():
    main, _ = main_and_weak("none")
    scale = torch.nn.Parameter(torch.tensor(0.3))

    class Scaled(Leaf):
        def __init__(self):
            super().__init__(Space((2,)))
            self.scale = scale

        def denoise(self, x, sigma, condition):
            return self.scale * x

    network = Scaled()
    x = given()[0].requires_grad_()
    (network + 2.0 * (network - View(network, Mirrored())) + 1.0 * (network - main))(x, 0.7).sum().backward()
    torch.testing.assert_close(scale.grad, 2 * x.detach().sum())
    assert x.grad is not None


def test_words():
    main, weak = main_and_weak("none")
    names = {main: "main", weak: "weak"}
    point = main + 0.5 * (main - View(main + (main - weak), At(2.0))) + (main - perturbed(main, "skip-layer"))
    assert formula(point, names) == "2.5 main(x) - 0.5 [2 main(x) - weak(x) told 2 sigma] - [main(x) skip-layer]"


# Perturbed networks


@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_perturbed_network_is_another_answer_of_the_same_one(kind):
    main, weak = main_and_weak(kind)
    x, condition = given(kind)
    wide = GaussianDenoiser(0.1, 0.75, conditioning=kind)
    view = perturbed(main, "skip-layer")
    torch.testing.assert_close(view(x, 0.7, condition), wide(x, 0.7, condition))
    assert main.std == 0.5
    point = main + 0.5 * (main - view) + 0.25 * (main - perturbed(main, "skip-layer")) + (main - weak)
    assert point.leaves() == [main, weak]
    with tally() as counts:
        point(x, 0.7, condition)
    assert counts[main] == Count(2, 8)
    assert counts[weak] == Count(1, 4)
    assert calls(point, 0.7)[main] == Count(2, 2)
    assert len(point.terms) == 3


def test_every_network_of_a_composed_one_is_perturbed():
    main, weak = main_and_weak()
    x, labels = given()
    base = main + 0.5 * (main - weak) + (main - main.unconditional())
    clipped = Combine([base], lambda outputs, x, sigma: outputs[0].clamp(-1, 1))
    view = perturbed(clipped, "skip-layer")
    wide = GaussianDenoiser(0.1, 0.75, conditioning="labels"), GaussianDenoiser(0.4, 1.2, conditioning="labels")
    expected = 2.5 * wide[0](x, 0.7, labels) - 0.5 * wide[1](x, 0.7, labels) - wide[0](x, 0.7)
    torch.testing.assert_close(view(x, 0.7, labels), expected.clamp(-1, 1))
    inside = perturbed(View(main, At(2.0)), "skip-layer")
    torch.testing.assert_close(inside(x, 0.7, labels), wide[0](x, 1.4, labels))
    twice = perturbed(perturbed(main, "skip-layer"), "dropout")
    wider = GaussianDenoiser(0.1, 1.125, conditioning="labels")
    torch.testing.assert_close(twice(x, 0.7, labels), wider(x, 0.7, labels))


class Bare(Leaf):
    def __init__(self):
        super().__init__(Space((2,)))

    def denoise(self, x, sigma, condition):
        return x


class Offering(Bare):
    def perturbations(self):
        return {"skip-layer": GaussianDenoiser()._wider}


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Bare(), "the network 'network', a Bare, offers no view 'skip-layers': it offers none; guide another"),
        (Offering(), r"offers no view 'skip-layers' \(did you mean 'skip-layer'\?\): it offers skip-layer;"),
    ],
)
def test_a_view_that_is_not_offered_is_refused_in_one_line(network, said):
    with pytest.raises(DenoiserError, match=said) as caught:
        perturbed(network + (network - GaussianDenoiser()), "skip-layers")
    assert "\n" not in str(caught.value)
