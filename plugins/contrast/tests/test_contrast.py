"""Guidance of a network by another view of itself: the laws, the formulas, and what is refused."""

import math

import pytest
import torch
from torch import Tensor

from guideplug import DenoiserError, Guider, Leaf, Space, formula, perturbed, tally, wrap
from guideplug.config import Reader
from guideplug.denoise import Count, calls
from guideplug.errors import ConfigError, GuideplugError
from guideplug.registry.registry import Registry
from guideplug.run.preflight import preflight
from guideplug.run.resolve import Request, resolve
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_guider, example_condition
from guideplug_contrast import PerturbedAttention, SelfGuidance, SkipLayer, SlidingWindow, SmoothedEnergy

REGISTRY = Registry.installed()
PERTURBING = {PerturbedAttention: "identity-attention", SmoothedEnergy: "blurred-queries", SkipLayer: "skip-layer"}


class Images(Leaf):
    """A denoiser of images of any size: a blur, which sees neighbours, around a mean that the condition decides."""

    def __init__(self, conditioning="none", side=8):
        super().__init__(Space((2, side, side)))
        self.pixel = GaussianDenoiser(0.1, dimension=2, conditioning=conditioning)

    def denoise(self, x: Tensor, sigma: Tensor, condition) -> Tensor:
        smooth = torch.nn.functional.avg_pool2d(x, 7, stride=1, padding=3)
        mean = self.pixel.mean_of(condition, x[:, :, 0, 0])[:, :, None, None]
        return mean + smooth / (1 + sigma[:, None, None, None] ** 2)

    def null_condition(self, batch, device):
        return self.pixel.null_condition(batch, device)

    @property
    def has_null(self):
        return self.pixel.has_null

    def fits(self, shape):
        return len(shape) == 3 and shape[0] == 2


@pytest.mark.parametrize("compare", ["score", "noise", "denoised"])
def test_laws_of_self_guidance(compare):
    check_guider(lambda **options: SelfGuidance(compare=compare, **options))


@pytest.mark.parametrize("cls", list(PERTURBING))
def test_laws_of_perturbed_views(cls):
    check_guider(cls)


@pytest.mark.parametrize("options", [{}, {"masked": False}, {"size": 3, "count": 3}])
def test_laws_of_sliding_windows(options):
    check_guider(lambda **given: SlidingWindow(**options, **given), base=Images)


# Self-guidance


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_self_guidance_is_the_difference_of_scores_of_noise_or_of_clean_samples(kind, weight):
    main = GaussianDenoiser(0.1, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    sigma, higher = 0.7, 0.7 * 1.3
    here, there = main(x, sigma, condition), main(x, higher, condition)

    def guided(compare):
        return SelfGuidance(weight, 0.3, compare).guide(main, {})(x, sigma, condition)

    score = (here - x) / sigma**2
    score = score + (weight - 1) * (score - (there - x) / higher**2)
    torch.testing.assert_close(guided("score"), x + sigma**2 * score)
    noise = (x - here) / sigma
    noise = noise + (weight - 1) * (noise - (x - there) / higher)
    torch.testing.assert_close(guided("noise"), x - sigma * noise)
    torch.testing.assert_close(guided("denoised"), here + (weight - 1) * (here - there))


def test_what_each_comparison_does_to_a_gaussian():
    """The score's contracts, that of clean samples spreads, and the noise's does one or the other."""
    main = GaussianDenoiser(0.0, 0.5)
    x = torch.ones(1, 2)
    for sigma in (0.1, 2.0):
        pulls = {
            compare: float((SelfGuidance(3.0, 0.1, compare).guide(main, {})(x, sigma) - main(x, sigma))[0, 0])
            for compare in ("score", "noise", "denoised")
        }
        assert pulls["score"] < 0 < pulls["denoised"]
        assert (pulls["noise"] < 0) == (sigma > 0.5)


def test_self_guidance_is_one_call_and_at_weight_0_asks_the_higher_level_alone():
    main = GaussianDenoiser(0.1)
    x = torch.ones(3, 2)
    with tally() as counts:
        SelfGuidance(2.0).guide(main, {})(x, 0.7)
    assert counts[main] == Count(1, 6)
    with tally() as counts:
        SelfGuidance(0.0, 0.3, "denoised").guide(main, {})(x, 0.7)
    assert counts[main] == Count(1, 3)


# Sliding windows


def test_windows_are_averaged_where_they_overlap():
    main = Images()
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    total, count = torch.zeros_like(x), torch.zeros(8, 8)
    for top in (0, 3):
        for left in (0, 3):
            total[..., top : top + 5, left : left + 5] += main(x[..., top : top + 5, left : left + 5], 0.7)
            count[top : top + 5, left : left + 5] += 1
    average, here = total / count, main(x, 0.7)
    with tally() as counts:
        found = SlidingWindow(2.5, masked=False).guide(main, {})(x, 0.7)
    torch.testing.assert_close(found, here + 1.5 * (here - average))
    assert counts[main] == Count(2, 3 + 12)
    masked = SlidingWindow(2.5).guide(main, {})(x, 0.7)
    torch.testing.assert_close(masked, here + 1.5 * (count > 1) * (here - average))
    torch.testing.assert_close(masked[..., :3, :3], here[..., :3, :3])
    torch.testing.assert_close(SlidingWindow(0.0, masked=False).guide(main, {})(x, 0.7), average)


def test_formulas_say_where_windows_count():
    main = Images()
    here, windows = "main(x, c)", "[main(x, c) in 4 windows of 5]"
    masked = formula(SlidingWindow(3.0).guide(main, {}), {main: "main"})
    assert masked.replace("(x)", "(x, c)") == f"3 {here} - 2 where-windows-overlap({here}, {windows})"
    everywhere = formula(SlidingWindow(3.0, masked=False).guide(main, {}), {main: "main"})
    assert everywhere.replace("(x)", "(x, c)") == f"3 {here} - 2 {windows}"


@pytest.mark.parametrize(("side", "multiple", "size"), [(64, 1, 40), (64, 8, 40), (32, 8, 24), (64, 16, 48), (8, 1, 5)])
def test_windows_fit_what_the_network_takes(side, multiple, size):
    """Of the sizes that cover the image, the nearest to 5/8 of its side."""
    network = wrap(lambda x, time: x, (3, side, side), predicts="denoised", resizable=multiple)
    assert SlidingWindow()._windows(network).size == size


def test_no_window_fits_a_network_of_too_few_sizes():
    network = wrap(lambda x, time: x, (3, 64, 64), predicts="denoised", resizable=64)
    with pytest.raises(DenoiserError, match=r"takes samples \(3, 64, 64\) only: .* or resizable=8 of one that halves"):
        SlidingWindow().guide(network, {})


def test_windows_cover_oblong_images():
    guider = SlidingWindow(count=3, size=4)
    network = Images()
    network.space = Space((2, 6, 11))
    windows = guider._windows(network)
    assert windows.tops == (0, 1, 2)
    assert windows.lefts == (0, 4, 7)
    assert windows.counts(torch.zeros(1, 1, 6, 11)).min() == 1
    assert guider.guide(network, {})(torch.randn(2, 2, 6, 11), 0.7).shape == (2, 2, 6, 11)


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        (GaussianDenoiser(), {}, r"sliding-window is for images \(channels, height, width\), and the samples have"),
        (Images(), {"size": 8}, "do not cover images"),
        (Images(), {"size": 3}, "2 windows of 3 along each side do not cover images"),
    ],
)
def test_windows_that_cannot_be_are_refused(network, options, said):
    with pytest.raises(DenoiserError, match=said) as caught:
        SlidingWindow(**options).guide(network, {})
    assert "\n" not in str(caught.value)


# Perturbed views


@pytest.mark.parametrize("cls", list(PERTURBING))
@pytest.mark.parametrize("kind", CONDITIONS)
def test_away_from_the_perturbed_network(cls, kind):
    main, wide = GaussianDenoiser(0.1, 0.5, conditioning=kind), GaussianDenoiser(0.1, 0.75, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    for weight in (-1.0, 0.0, 2.5):
        with tally() as counts:
            found = cls(weight).guide(main, {})(x, 0.7, condition)
        expected = weight * main(x, 0.7, condition) + (1 - weight) * wide(x, 0.7, condition)
        torch.testing.assert_close(found, expected)
        assert counts[main] == (Count(1, 3) if weight == 0 else Count(2, 6))


def trained_digits(expression="digits-transformer(width=16, blocks=3, heads=2)"):
    """A network of the digits none of whose weights is 0."""
    config = resolve(Request({"task": "digits", "denoiser": expression, "device": "cpu"}), REGISTRY)
    network = config.main.build().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.mark.parametrize("guider", [PerturbedAttention(), SmoothedEnergy(), SmoothedEnergy(blur=1.0), SkipLayer()])
def test_on_the_digits(guider):
    network = trained_digits()
    network.role = "main"
    x, labels = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    before = network(x, 0.7, labels)
    point = guider.guide(network, {})
    with tally() as counts:
        value = point(x, 0.7, labels)
    assert counts[network] == Count(2, 8)
    assert calls(point, 0.7) == {network: Count(2, 2)}
    assert (value - before).abs().max() > 1e-4
    assert torch.equal(network(x, 0.7, labels), before)
    parts = torch.cat([point(x[:1], 0.7, labels[:1]), point(x[1:], 0.7, labels[1:])])
    torch.testing.assert_close(parts, value, atol=1e-5, rtol=1e-5)


def test_layers_of_the_digits_by_number():
    network = trained_digits()
    x, labels = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(2)
    middle = perturbed(network, "skip-layer")(x, 0.7, labels)
    assert torch.equal(perturbed(network, "skip-layer", layers=(1,))(x, 0.7, labels), middle)
    assert not torch.allclose(perturbed(network, "skip-layer", layers=(0, 2))(x, 0.7, labels), middle)
    with pytest.raises(DenoiserError, match="layers has 3: the network has 3 such layers"):
        SkipLayer(layers=(3,)).guide(network, {})


def test_perturbed_attention_of_the_digits_sees_no_other_patch():
    """With every layer's attention the identity, a change of the last patch stays there."""
    network = trained_digits()
    view = perturbed(network, "identity-attention", layers=(0, 1, 2))
    x, labels = torch.zeros(1, 1, 8, 8), torch.tensor([3])
    moved = x.clone()
    moved[..., 6:, 6:] += 1
    changed = (view(moved, 0.7, labels) - view(x, 0.7, labels)).abs()[0, 0] > 1e-6
    assert changed[6:, 6:].all()
    assert changed.sum() == 4


def test_windows_of_the_convolutional_digits():
    network = trained_digits("digits-convolutional(width=8, blocks=2)")
    x, labels = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    with tally() as counts:
        SlidingWindow().guide(network, {})(x, 0.7, labels)
    assert counts[network] == Count(2, 20)


def test_with_classifier_free_guidance_in_an_interval_and_blended():
    network = trained_digits()
    x, labels = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    text = "blend([cfg(weight=3), interval(perturbed-attention(weight=4), low=0.5), self-guidance])"
    point = Reader(REGISTRY).expression(text, Guider).guide(network, {})
    view = perturbed(network, "identity-attention")
    for sigma, count in ((0.7, Count(2, 16)), (0.3, Count(1, 12))):
        with tally() as counts:
            value = point(x, sigma, labels)
        assert counts[network] == count
        here = network(x, sigma, labels)
        expected = here + 2 * (here - network(x, sigma)) + SelfGuidance().guide(network, {})(x, sigma, labels) - here
        if sigma > 0.5:
            expected = expected + 3 * (here - view(x, sigma, labels))
        torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)


# Bad input


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"task": "tree", "guider": "perturbed-attention"}, "offers no view 'identity-attention': it offers dropout"),
        ({"task": "tree", "guider": "skip-layer"}, "the network 'main', a TreeDenoiser, offers no view 'skip-layer'"),
        ({"task": "tree", "guider": "sliding-window"}, "sliding-window is for images"),
        ({"task": "digits", "guider": "sliding-window"}, r"takes samples \(1, 8, 8\) only"),
        ({"task": "digits", "guider": "skip-layer(layers=[7])"}, "layers has 7: the network has 3 such layers"),
        (
            {"task": "digits", "guider": "smoothed-energy", "denoiser": "digits-convolutional"},
            "offers no view 'blurred-queries': it offers skip-layer, dropout",
        ),
    ],
)
def test_networks_that_cannot_are_refused_in_one_line_before_any_training(values, said):
    config = resolve(Request({"device": "cpu", **values}), REGISTRY)
    with pytest.raises(ConfigError, match=said) as caught:
        preflight(config, REGISTRY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("self-guidance(shift=0)", "shift is 0.0: it must be positive"),
        ("self-guidance(weight=inf)", "weight"),
        ("self-guidance(compare=velocity)", "compare"),
        ("sliding-window(count=1)", "count is 1: it must be at least 2"),
        ("sliding-window(size=0)", "size"),
        ("smoothed-energy(blur=0)", "blur"),
        ("perturbed-attention(layers=[0.5])", "layers"),
    ],
)
def test_bad_options_are_refused_in_one_line(expression, said):
    with pytest.raises(GuideplugError, match=said) as caught:
        Reader(REGISTRY).expression(expression, Guider)
    assert "\n" not in str(caught.value)


def test_weights_are_finite():
    for cls in (SelfGuidance, SlidingWindow, *PERTURBING):
        with pytest.raises(ValueError, match="weight"):
            cls(math.nan)
