"""The laws of the algebra (docs: DESIGN, "The algebra"), over weights, levels, batches and every kind of condition."""

import functools
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug.denoise import Gate, Leaf, Space, select_rows, tally
from guideplug.registry.registry import Registry
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition

laws = settings(deadline=None, max_examples=30, derandomize=True)

NO_GUIDE = [1.0, 1, 1.0000000002, 1 - 2e-10]
NO_BASE = [0.0, 0, 2e-10]
WEIGHTS = st.sampled_from([0.0, 1.0, 2.0]) | st.floats(-3, 5, width=32, allow_subnormal=False)
SIGMAS = st.sampled_from([0.002, 1.0, 80.0]) | st.floats(0.002, 80)


class Case:
    """A network, two guides, and what they are asked: in float64, so that tolerances can be small."""

    def __init__(self, kind, batch, sigma, seed):
        generator = torch.Generator().manual_seed(seed)
        self.base, self.weak, self.other = (
            GaussianDenoiser(mean, std, conditioning=kind) for mean, std in [(0.1, 0.5), (0.4, 0.9), (-0.3, 0.7)]
        )
        self.kind, self.batch, self.sigma = kind, batch, sigma
        self.x = torch.randn(batch, 2, generator=generator, dtype=torch.float64) * (0.5 + sigma)
        self.condition = example_condition(kind, batch, generator)

    def __repr__(self):
        return f"Case({self.kind!r}, batch {self.batch}, sigma {self.sigma!r})"

    def __call__(self, point, **given):
        return point(self.x, given.pop("sigma", self.sigma), given.pop("condition", self.condition))

    def counted(self, point):
        with tally() as counts:
            return self(point), counts


def cases(kinds=CONDITIONS):
    return st.builds(Case, st.sampled_from(kinds), st.integers(1, 5), SIGMAS, st.integers(0, 99))


CONDITIONAL = [kind for kind in CONDITIONS if kind != "none"]


def autoguided(base, weak, weight):
    return base + (weight - 1) * (base - weak)


def assert_close(value, expected, *, tolerance=1e-6):
    scale = 1 + float(expected.abs().max())
    assert float((value - expected).abs().max()) <= tolerance * scale


@laws
@given(cases(), st.sampled_from(NO_GUIDE))
def test_weight_one_is_the_base_bit_for_bit_and_calls_no_guide(case, weight):
    value, counts = case.counted(autoguided(case.base, case.weak, weight))
    assert torch.equal(value, case(case.base))
    assert counts[case.weak].calls == 0
    assert (counts[case.base].calls, counts[case.base].outputs) == (1, case.batch)


@laws
@given(cases(CONDITIONAL), st.sampled_from(NO_GUIDE))
def test_cfg_of_weight_one_asks_for_no_null_output(case, weight):
    value, counts = case.counted(autoguided(case.base, case.base.unconditional(), weight))
    assert torch.equal(value, case(case.base))
    assert (counts[case.base].calls, counts[case.base].outputs) == (1, case.batch)


@laws
@given(cases(), st.sampled_from(NO_BASE))
def test_weight_zero_is_the_guide_bit_for_bit_and_costs_no_main_call(case, weight):
    value, counts = case.counted(autoguided(case.base, case.weak, weight))
    assert torch.equal(value, case(case.weak))
    assert counts[case.base].calls == 0


@laws
@given(cases(CONDITIONAL), st.sampled_from(NO_BASE))
def test_cfg_of_weight_zero_has_null_outputs_only(case, weight):
    value, counts = case.counted(autoguided(case.base, case.base.unconditional(), weight))
    assert torch.equal(value, case(case.base, condition=None))
    assert (counts[case.base].calls, counts[case.base].outputs) == (1, case.batch)


@laws
@given(cases(), WEIGHTS, WEIGHTS, st.floats(-1, 2))
def test_guidance_is_affine_in_the_weight(case, first, second, share):
    def at(weight):
        return case(autoguided(case.base, case.weak, weight))

    assert_close(at((1 - share) * first + share * second), (1 - share) * at(first) + share * at(second))


@laws
@given(cases(), WEIGHTS, WEIGHTS)
def test_guiding_by_oneself_does_nothing(case, weight, other):
    assert autoguided(case.base, case.base, weight) is case.base
    guided = autoguided(case.base, case.weak, other)
    value, counts = case.counted(autoguided(guided, guided, weight))
    assert_close(value, case(guided))
    assert max(count.calls for count in counts.counts.values()) == 1


@laws
@given(cases(CONDITIONAL), WEIGHTS)
def test_without_a_condition_cfg_guides_by_oneself(case, weight):
    guided = autoguided(case.base, case.base.unconditional(), weight)
    with tally() as counts:
        value = case(guided, condition=None)
    assert torch.equal(value, case(case.base, condition=None))
    assert (counts[case.base].calls, counts[case.base].outputs) == (1, case.batch)


@functools.cache
def guider(name):
    cls = Registry.installed().find("guider", name)
    if isinstance(cls, str):
        pytest.skip(f"{name} is not installed")
    return cls


@laws
@given(cases(CONDITIONAL), WEIGHTS)
def test_cfg_is_autoguidance_by_the_unconditional_model(case, weight):
    cfg, autoguidance = guider("cfg")(weight=weight), guider("autoguidance")(weight=weight)
    one, costs = case.counted(cfg.guide(case.base, {}))
    other, also = case.counted(autoguidance.guide(case.base, {"weak": case.base.unconditional()}))
    assert torch.equal(one, other)
    assert costs.counts == also.counts


@laws
@given(cases(), WEIGHTS, WEIGHTS)
def test_stacked_weights_against_one_guide_multiply(case, inner, outer):
    stacked = autoguided(autoguided(case.base, case.weak, inner), case.weak, outer)
    value, counts = case.counted(stacked)
    assert_close(value, case(autoguided(case.base, case.weak, inner * outer)))
    assert all(count.calls == 1 for count in counts.counts.values())


LEVELS = [0.0, 0.1, 0.2, 1.0, 3.0, math.inf]
INTERVALS = st.sampled_from(list(itertools.combinations(LEVELS, 2)))


@laws
@given(st.builds(Case, st.sampled_from(CONDITIONS), st.integers(1, 5), st.sampled_from([0.05, *LEVELS[1:5], 9.0]),
                 st.integers(0, 99)), INTERVALS, INTERVALS)  # fmt: skip
def test_nested_gates_intersect(case, inner, outer):
    guided = autoguided(case.base, case.weak, 2.5)
    gated = case.base + Gate(*inner) * (guided - case.base)
    nested = case.base + Gate(*outer) * (gated - case.base)
    low, high = max(inner[0], outer[0]), min(inner[1], outer[1])
    value, counts = case.counted(nested)
    inside = low < case.sigma <= high
    assert torch.equal(value, case(guided if inside else case.base))
    assert counts[case.weak].calls == inside
    levels = torch.full((case.batch,), case.sigma, dtype=torch.float64)
    assert_close(case(nested, sigma=levels), value)


@laws
@given(cases(), WEIGHTS, WEIGHTS)
def test_guiding_clean_samples_scores_noise_and_velocity_agree(case, weight, other):
    """The combination of predictions of any parametrisation, converted, is the guided denoiser."""
    sigma, x = case.sigma, case.x
    signal, noise = 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)  # variance-preserving, for v
    to_and_back = {
        "score": (lambda d: (d - x) / sigma**2, lambda s: x + sigma**2 * s),
        "epsilon": (lambda d: (x - d) / sigma, lambda e: x - sigma * e),
        "v": (lambda d: signal * (x - d) / sigma - noise * d, lambda v: signal**2 * x - noise * v),
    }
    guided = autoguided(case.base, case.weak, weight) + other * (case.base - case.other)
    parts = case(case.base), case(case.weak), case(case.other)
    for name, (convert, back) in to_and_back.items():
        main, weak, third = (convert(part) for part in parts)
        assert_close(back(convert(parts[0])), parts[0])
        combined = main + (weight - 1) * (main - weak) + other * (main - third)
        assert_close(back(combined), case(guided), tolerance=1e-5), name


class Moved(Leaf):
    """The denoiser of y = scale Q x + shift, for one of x."""

    def __init__(self, inner, scale, rotation, shift):
        super().__init__(Space(inner.space.shape))
        self.inner, self.scale, self.rotation, self.shift = inner, scale, rotation, shift
        self.conditioning = inner.conditioning

    def forth(self, x):
        return self.scale * x @ self.rotation.T + self.shift

    def back(self, y):
        return (y - self.shift) @ self.rotation / self.scale

    def denoise(self, x, sigma, condition):
        return self.forth(self.inner.denoise(self.back(x), sigma / self.scale, condition))

    def null_condition(self, batch, device):
        return self.inner.null_condition(batch, device)


@laws
@given(cases(CONDITIONAL), WEIGHTS, st.floats(0.1, 10), st.floats(-math.pi, math.pi), st.floats(-5, 5))
def test_guidance_is_equivariant_to_affine_changes_of_data_space(case, weight, scale, angle, shift):
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    moved = [Moved(inner, scale, rotation, shift) for inner in (case.base, case.weak)]

    def guided(base, weak, unit):
        both = autoguided(base, weak, weight) + 0.7 * (base - base.unconditional())
        return base + Gate(0.2 * unit, 30.1 * unit) * (both - base)

    expected = moved[0].forth(case(guided(case.base, case.weak, 1.0)))
    value = guided(*moved, scale)(moved[0].forth(case.x), scale * case.sigma, case.condition)
    assert_close(value, expected)


@laws
@given(cases(), WEIGHTS, st.randoms(use_true_random=False), st.integers(0, 5), st.booleans())
def test_the_order_and_split_of_a_batch_do_not_matter(case, weight, random, cut, tensor):
    guided = autoguided(case.base, case.weak, weight)
    if case.base.has_null:
        guided = guided + 0.7 * (case.base - case.base.unconditional())
    sigma = torch.linspace(0.5, 2, case.batch, dtype=torch.float64) if tensor else case.sigma

    def rows(index):
        level = sigma[index] if tensor else sigma
        return guided(case.x[index], level, select_rows(case.condition, index))

    whole = case(guided, sigma=sigma)
    order = torch.tensor(random.sample(range(case.batch), case.batch))
    assert_close(rows(order), whole[order], tolerance=1e-12)
    parts = [rows(part) for part in (slice(0, cut), slice(cut, None)) if len(case.x[part])]
    assert_close(torch.cat(parts), whole, tolerance=1e-12)


@laws
@given(cases(), WEIGHTS)
def test_guided_gaussians_have_the_textbook_formula(case, weight):
    """(s^2 x + sigma^2 m) / (s^2 + sigma^2), once each, in plain arithmetic."""

    def textbook(net):
        mean = net.mean_of(case.condition, case.x)
        return (net.std**2 * case.x + case.sigma**2 * mean) / (net.std**2 + case.sigma**2)

    main, weak = textbook(case.base), textbook(case.weak)
    assert_close(case(autoguided(case.base, case.weak, weight)), weak + weight * (main - weak))


@laws
@given(cases(), st.floats(-3, 5))
def test_the_guided_score_is_that_of_the_product_density(case, weight):
    """grad log (p^w q^(1 - w)), differentiated by torch, of the smoothed densities p and q."""
    x = case.x.clone().requires_grad_()

    def log_density(net):
        spread = math.sqrt(net.std**2 + case.sigma**2)
        return torch.distributions.Normal(net.mean_of(case.condition, x.detach()), spread).log_prob(x).sum()

    (weight * log_density(case.base) + (1 - weight) * log_density(case.weak)).backward()
    guided = case(autoguided(case.base, case.weak, weight))
    assert_close((guided - case.x) / case.sigma**2, x.grad, tolerance=1e-5 * (1 + 1 / case.sigma**2))


@laws
@given(cases(), st.lists(st.tuples(st.integers(0, 2), st.floats(0.1, 2)), min_size=1, max_size=8))
def test_many_guiders_cost_one_main_call_and_one_of_each_weak_network(case, guides):
    weak = [case.weak, case.other, GaussianDenoiser(0.2, 0.8, conditioning=case.kind)]
    point, expected = case.base, case(case.base)
    for index, weight in guides:
        point = point + weight * (case.base - weak[index])
        expected = expected + weight * (case(case.base) - case(weak[index]))
    value, counts = case.counted(point)
    assert_close(value, expected)
    assert set(counts.counts) == {case.base, *(weak[index] for index, _ in guides)}
    assert all((count.calls, count.outputs) == (1, case.batch) for count in counts.counts.values())


@laws
@given(cases(), WEIGHTS, WEIGHTS, WEIGHTS)
def test_sums_of_guidance_commute_and_associate_with_the_unguided_as_identity(case, first, second, share):
    base = case.base
    one, other = autoguided(base, case.weak, first), autoguided(base, case.other, second)
    left = base + share * (one - base) + (other - base)
    right = base + ((other - base) + share * (one - base)) + 3 * (base - base)
    assert_close(case(left), case(right))
    assert case.counted(left)[1].counts == case.counted(right)[1].counts
