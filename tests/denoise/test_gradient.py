"""Points uphill: gradients of log-densities, in the same pass, and no graph but for what lies beneath them."""

import math

import pytest
import torch
from gradients import Watched, bowl, by_differences, given, towards

from guideplug.denoise import (
    Combine,
    Count,
    Gate,
    GradientGuided,
    Leaf,
    Space,
    calls,
    formula,
    taken,
    tally,
)
from guideplug.errors import DenoiserError
from guideplug.testing import GaussianDenoiser

LEVELS = [0.05, 0.7, 6.0]


# The equation


@pytest.mark.parametrize("sigma", LEVELS)
def test_a_gradient_of_the_noisy_sample_is_added_with_the_variance_of_the_noise(sigma):
    main = GaussianDenoiser(0.1)
    x, _ = given()
    expected = main(x, sigma) + sigma**2 * (1 - x) / (1 + sigma**2)
    torch.testing.assert_close(GradientGuided(main, bowl)(x, sigma), expected)
    guided = main + 3.0 * (GradientGuided(main, bowl) - main)
    torch.testing.assert_close(guided(x, sigma), main(x, sigma) + 3 * sigma**2 * (1 - x) / (1 + sigma**2))


@pytest.mark.parametrize("sigma", LEVELS)
@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_a_gradient_through_the_prediction_is_that_of_the_whole(sigma, weight):
    main, weak = Watched().double(), Watched(0.6, 0.9).double()
    point = main + weight * (main - weak)
    x = given()[0].double()
    levels = torch.full((4,), sigma, dtype=torch.float64)
    with torch.no_grad():
        slope = by_differences(lambda at: bowl(point(at, sigma), levels, None), x)
        expected = point(x, sigma) + sigma**2 * slope
        found = GradientGuided(point, bowl, through=True)(x, sigma)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("through", [False, True])
def test_each_row_has_its_own_level(through):
    main = Watched()
    x, _ = given()
    sigma = torch.tensor([0.1, 0.5, 1.0, 4.0])
    point = main + 2.0 * (GradientGuided(main, bowl, through=through) - main)
    rows = torch.cat([point(x[i : i + 1], float(sigma[i])) for i in range(4)])
    torch.testing.assert_close(point(x, sigma), rows)
    torch.testing.assert_close(point(x, torch.tensor(0.5)), point(x, 0.5))


@pytest.mark.parametrize("through", [False, True])
def test_a_row_knows_nothing_of_the_others(through):
    main = Watched()
    x, _ = given()
    point = GradientGuided(main, bowl, through=through)
    other = x.clone()
    other[1:] = 9.0
    torch.testing.assert_close(point(x, 0.7)[0], point(other, 0.7)[0], rtol=0, atol=0)


# One pass, and graphs only beneath


def test_a_gradient_through_the_network_costs_no_further_call():
    main, weak = Watched(), Watched(0.4)
    x, _ = given()
    point = main + 1.0 * (main - weak) + 2.0 * (GradientGuided(main, bowl, through=True) - main)
    with torch.no_grad(), tally() as counts:
        value = point(x, 0.7)
    assert counts[main] == Count(1, 4, 1)
    assert counts[weak] == Count(1, 4, 0)
    assert main.modes == [(True, True)]
    assert weak.modes == [(False, False)]
    assert calls(point, 0.7) == {main: Count(1, 1, 1), weak: Count(1, 1)}
    assert not value.requires_grad


def test_a_gradient_of_the_noisy_sample_alone_evaluates_no_network_with_a_graph():
    main = Watched()
    x, _ = given()
    with torch.no_grad(), tally() as counts:
        value = (main + 2.0 * (GradientGuided(main, bowl) - main))(x, 0.7)
    assert main.modes == [(False, False)]
    assert counts[main] == Count(1, 4)
    assert not value.requires_grad
    assert not x.requires_grad


def test_classifier_free_guidance_beside_a_gradient_is_one_call():
    main = GaussianDenoiser(0.1, conditioning="labels")
    x, labels = given("labels")
    point = main + 1.0 * (main - main.unconditional()) + 1.0 * (GradientGuided(main, bowl, through=True) - main)
    with torch.no_grad(), tally() as counts:
        value = point(x, 0.7, labels)
    assert counts[main] == Count(1, 8, 1)
    uphill = GradientGuided(main, bowl, through=True)(x, 0.7, labels)
    torch.testing.assert_close(value, uphill + main(x, 0.7, labels) - main(x, 0.7))


def test_two_gradients_through_one_call():
    main = Watched()
    x, _ = given()
    one, two = GradientGuided(main, bowl, through=True), GradientGuided(main, towards, through=True)
    point = main + (one - main) + 0.5 * (two - main)
    with torch.no_grad(), tally() as counts:
        value = point(x, 0.7)
        assert counts[main] == Count(1, 4, 2)
        torch.testing.assert_close(value, one(x, 0.7) + 0.5 * (two(x, 0.7) - main(x, 0.7)))
    assert {leaf: count.gradients for leaf, count in calls(point, 0.7).items()} == {main: 2}


def test_a_function_of_both_sees_values_without_a_graph():
    """A function that leaves torch would stumble over a graph that it did not ask for."""
    main = Watched()
    x, _ = given()
    seen = []

    def numpy(outputs, x, sigma):
        seen.append((outputs[0].requires_grad, x.requires_grad))
        return torch.from_numpy(outputs[0].numpy() + x.numpy())

    combined = Combine([main], numpy)
    with torch.no_grad():
        value = (combined + 1.0 * (GradientGuided(main, bowl, through=True) - main))(x, 0.7)
    assert seen == [(False, False)]
    assert not value.requires_grad


def test_the_base_alone_comes_out_without_the_graph_that_its_neighbour_needed():
    main = Watched()
    x, _ = given()
    kept = []
    point = Combine(
        [main, GradientGuided(main, bowl, through=True)], lambda outputs, x, sigma: kept.append(outputs) or outputs[0]
    )
    with torch.no_grad():
        value = point(x, 0.7)
    assert not value.requires_grad
    assert [output.requires_grad for output in kept[0]] == [False, False]


@pytest.mark.parametrize("through", [False, True])
def test_what_is_off_takes_no_gradient(through):
    main = Watched()
    x, _ = given()

    def never(x, sigma, condition):
        raise AssertionError("asked for a gradient that does not count")

    point = main + 2.0 * Gate(0.3, 1.0) * (GradientGuided(main, never, through=through) - main)
    assert main + 0.0 * (GradientGuided(main, never, through=through) - main) is main
    with torch.no_grad():
        for sigma in (0.3, 1.1):
            main.modes.clear()
            assert torch.equal(point(x, sigma), main(x, sigma))
            assert main.modes[0] == (False, False)
            assert calls(point, sigma) == {main: Count(1, 1)}
            assert taken(point, sigma) == []
    assert taken(point, 0.7) == [f"sigma^2 grad log p({'x0' if through else 'x'})"]


# What is refused


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize(("function", "said"), [
    (lambda x, sigma, condition: x.sum(), r"float32 of shape \(\) for 4 samples"),
    (lambda x, sigma, condition: x, r"float32 of shape \(4, 2\) for 4 samples"),
    (lambda x, sigma, condition: x.sum(1).long(), "int64 of shape"),
    (lambda x, sigma, condition: 3.0, "a float for 4 samples"),
    (lambda x, sigma, condition: x.detach().sum(1), "has no gradient"),
    (lambda x, sigma, condition: torch.zeros(4, requires_grad=True) * 2, "has no gradient"),
])  # fmt: skip
def test_a_function_that_is_no_log_density_is_refused(through, function, said):
    main = Watched()
    with torch.no_grad(), pytest.raises(DenoiserError, match=said) as caught:
        GradientGuided(main, function, through=through, name="log mine")(given()[0], 0.7)
    assert str(caught.value).startswith("the log-density log mine ")
    assert "\n" not in str(caught.value)


def test_a_network_that_hides_its_graph_is_refused():
    class Hidden(Leaf):
        @torch.no_grad()
        def denoise(self, x, sigma, condition):
            return 0.5 * x

    main = Hidden(Space((2,)))
    x, _ = given()
    torch.testing.assert_close(GradientGuided(main, bowl)(x, 1.0), 0.5 * x + (1 - x) / 2)
    with pytest.raises(DenoiserError, match=r"grad log p\(x0\) cannot go through the prediction"):
        GradientGuided(main, bowl, through=True)(x, 1.0)


# Words


def test_formulas():
    main = GaussianDenoiser(0.1, conditioning="labels")
    names = {main: "main"}
    assert formula(GradientGuided(main, bowl), names) == "[main(x, c) + sigma^2 grad log p(x)]"
    point = main + 2.0 * (GradientGuided(main, bowl, through=True, name="log p_y") - main)
    assert formula(point, names) == "-main(x, c) + 2 [main(x, c) + sigma^2 grad log p_y(x0)]"


# Closed form: a mixture of two Gaussians


class Mixture(Leaf):
    """The denoiser of a N(m_0, s_0^2) + (1 - a) N(m_1, s_1^2), or of one of the two."""

    share, means, stds = 0.3, torch.tensor([[-0.6, 0.2], [0.5, -0.1]]).double(), torch.tensor([0.3, 0.5]).double()

    def __init__(self, only=None):
        super().__init__(Space((2,)))
        self.only = only

    def log_parts(self, x, sigma):
        """log of weight times density of each component at a level, (B, 2)."""
        variance = self.stds**2 + sigma[:, None] ** 2
        squares = ((x[:, None] - self.means) ** 2).sum(2)
        weights = torch.tensor([self.share, 1 - self.share]).double().log()
        return weights - squares / (2 * variance) - variance.log() - math.log(2 * math.pi)

    def denoise(self, x, sigma, condition):
        level = sigma[:, None, None] ** 2
        variances = (self.stds**2)[:, None]
        each = (variances * x[:, None] + level * self.means) / (variances + level)
        if self.only is not None:
            return each[:, self.only]
        return (self.log_parts(x, sigma).softmax(1)[..., None] * each).sum(1)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("sigma", [0.01, 0.3, 1.0, 10.0, "each"])
def test_the_true_classifier_makes_the_class_of_the_mixture(label, sigma):
    base, wanted = Mixture(), Mixture(only=label)

    def log_responsibility(x, sigma, condition):
        return base.log_parts(x, sigma).log_softmax(1)[:, label]

    x = given(batch=6)[0].double()
    sigma = torch.linspace(0.05, 4.0, 6).double() if sigma == "each" else sigma
    with torch.no_grad():
        guided = base + 1.0 * (GradientGuided(base, log_responsibility) - base)
        torch.testing.assert_close(guided(x, sigma), wanted(x, sigma), rtol=1e-9, atol=1e-9)
