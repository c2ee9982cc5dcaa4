"""Weight schedules: the formulas, the laws in guiders of all kinds, what is called, and what is refused."""

import math
from itertools import pairwise

import pytest
import torch
from attrs import evolve, frozen

from guideplug import Guider, Space, Weight, WeightInput, WeightSchedule, formula, grid_position, option, sigma_grid
from guideplug.config import Reader, expand_ranges, parse, short, write
from guideplug.config.tree import format_value
from guideplug.denoise import Combine, tally
from guideplug.errors import ConfigError, GuideplugError
from guideplug.registry.registry import Registry
from guideplug.run.citation import bibtex
from guideplug.run.resolve import Request, resolve, to_toml
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_guider, check_weights, example_condition, models_for
from guideplug_edm import Heun
from guideplug_schedules import Constant, Cosine, Exponential, Ramp

READER = Reader(Registry.installed())
SPACE = Space((2,), sigma_min=0.01, sigma_max=5.0)
ALL = [
    Constant(1.7),
    Ramp(1.0, 4.0),
    Ramp(3.0, -1.0, power=2.5),
    Ramp(1.0, 2.0, levels=(0.1, 1.0)),
    Cosine(1.0, 3.0),
    Cosine(2.0, 0.5, power=3.0, levels=(0.05, 70.0)),
    Exponential(4.0),
    Exponential(2.0, rate=5.0, floor=1.0),
    Exponential(0.5, rate=0.3, floor=3.0, levels=(0.02, 9.0)),
]
GUIDERS = [
    "cfg(weight={})",
    "autoguidance(weight={})",
    "sims(omega={})",
    "truncation(weight={})",
    "self-guidance(weight={})",
    "skip-layer(weight={})",
    "interval(autoguidance(weight={}), low=0.1, high=3)",
    "apg(cfg(weight={}), threshold=1)",
    "feedback(autoguidance(weight={}))",
    "rescale(cfg(weight={}))",
    "blend([cfg, autoguidance], shares=[0.5, {}])",
    "blend([cfg(weight={0}), autoguidance(weight={0})], shares=[{0}, 0.5])",
]


def read(text):
    return READER.expression(text, Guider)


def guided(text, kind="labels"):
    """The guided denoiser of an expression, its base, and its models."""
    guider, base = read(text), GaussianDenoiser(0.1, 0.5, conditioning=kind)
    models = models_for(guider, kind)
    return guider.guide(base, models), base, models


def batch(kind="labels", count=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 2, generator=generator), example_condition(kind, count, generator)


@pytest.mark.parametrize("schedule", ALL, ids=str)
def test_laws(schedule):
    check_weights(schedule)


def test_the_formulas():
    levels = sigma_grid(9, SPACE.sigma_min, SPACE.sigma_max)[:-1]
    for i, sigma in enumerate(levels):
        u = i / 8
        there = WeightInput(sigma, None, SPACE)
        assert Constant(1.7).at(there) == 1.7
        assert Ramp(1.0, 4.0).at(there) == pytest.approx(1 + 3 * u)
        assert Ramp(4.0, 1.0, power=3.0).at(there) == pytest.approx(4 - 3 * u**3)
        assert Cosine(1.0, 3.0).at(there) == pytest.approx(2 - math.cos(math.pi * u))
        assert Cosine(1.0, 3.0, power=2.0).at(there) == pytest.approx(2 - math.cos(math.pi * u**2))
        assert Exponential(4.0, rate=2.0).at(there) == pytest.approx(4 * math.exp(-2 * (1 - u)))
        assert Exponential(4.0, 2.0, 1.0).at(there) == pytest.approx(1 + 3 * math.exp(-2 * (1 - u)))


def test_the_position_is_the_share_of_the_steps_that_are_done():
    for number in (2, 5, 18):
        levels = sigma_grid(number, 0.002, 80.0)[:-1]
        places = [grid_position(sigma, 0.002, 80.0) for sigma in levels]
        assert places == pytest.approx([i / (number - 1) for i in range(number)], abs=1e-12)
        rows = grid_position(torch.tensor(levels, dtype=torch.float64), 0.002, 80.0)
        torch.testing.assert_close(rows, torch.tensor(places, dtype=torch.float64))
    assert grid_position(200.0, 0.002, 80.0) == 0.0
    assert grid_position(0.0, 0.002, 80.0) == grid_position(1e-9, 0.002, 80.0) == 1.0


def test_levels_of_ones_own_take_the_place_of_the_networks():
    schedule = Ramp(1.0, 4.0, levels=(0.1, 2.0))
    assert schedule.at(WeightInput(2.0, None, SPACE)) == schedule.at(WeightInput(50.0, None, SPACE)) == 1.0
    assert schedule.at(WeightInput(0.1, None, SPACE)) == schedule.at(WeightInput(0.01, None, SPACE)) == 4.0
    assert schedule.at(WeightInput(0.5, None, SPACE)) == schedule.at(WeightInput(0.5, None, Space((2,))))
    assert Ramp(1.0, 4.0).at(WeightInput(0.5, None, SPACE)) != Ramp(1.0, 4.0).at(WeightInput(0.5, None, Space((2,))))


@pytest.mark.parametrize("text", GUIDERS)
@pytest.mark.parametrize("kind", ["labels", "masked"])
def test_a_schedule_of_one_value_is_the_number_bit_for_bit(text, kind):
    x, condition = batch(kind)
    for number in (0.0, 1.0, 1.7, 3.0):
        plain = guided(text.format(number), kind)[0]
        for schedule in (f"constant({number})", f"ramp({number}, {number})", f"cosine({number}, {number}, power=2)"):
            point = guided(text.format(schedule), kind)[0]
            for sigma in (0.05, 0.7, 20.0):
                with tally() as wanted:
                    value = plain(x, sigma, condition)
                with tally() as counts:
                    assert torch.equal(point(x, sigma, condition), value)
                assert sorted(c.outputs for c in counts.counts.values()) == sorted(
                    c.outputs for c in wanted.counts.values()
                )


@pytest.mark.parametrize("text", GUIDERS)
@pytest.mark.parametrize("schedule", ["ramp(1, 4)", "cosine(low=3, high=0.5)", "exponential(4, rate=2)"])
def test_at_each_level_it_is_the_number_there(text, schedule):
    point, base, _ = guided(text.format(schedule))
    law = READER.expression(schedule, WeightSchedule)
    x, condition = batch()
    for sigma in (80.0, 7.0, 0.5, 0.02, 0.002):
        number = guided(text.format(law.at(WeightInput(sigma, None, base.space))))[0](x, sigma, condition)
        torch.testing.assert_close(point(x, sigma, condition), number, rtol=1e-5, atol=1e-5)
        rows = point(x, torch.full((5,), sigma), condition)
        torch.testing.assert_close(rows, number, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("text", GUIDERS)
def test_guiders_with_schedules_keep_the_laws_of_guiders(text):
    check_guider(lambda **changed: evolve(read(text.format("ramp(1, 3)")), **changed))


def test_each_row_of_a_tensor_has_the_weight_of_its_level():
    point = guided("autoguidance(weight=cosine(1, 3))", "none")[0]
    x = batch("none")[0]
    levels = torch.tensor([80.0, 5.0, 0.5, 0.05, 0.002])
    rows = torch.cat([point(x[i : i + 1], float(sigma)) for i, sigma in enumerate(levels)])
    torch.testing.assert_close(point(x, levels), rows, rtol=1e-4, atol=1e-4)


def test_where_the_weight_is_one_the_guide_is_not_called():
    point, base, models = guided("autoguidance(weight=ramp(1, 4, levels=[0.1, 2]))", "none")
    x = batch("none")[0]
    with tally() as counts:
        assert torch.equal(point(x, 2.0), base(x, 2.0))
    assert counts[models["weak"]].calls == 0
    point(x, 1.0)
    with tally() as counts:
        Heun(num_steps=9, sigma_max=80.0).sample(point, 80 * x)
    levels = sigma_grid(9, 0.002, 80.0)
    evaluations = [*levels[:1], *(sigma for sigma in levels[1:-1] for _ in range(2))]
    assert counts[base].calls == len(evaluations) == 17
    assert counts[models["weak"]].calls == sum(sigma < 2.0 for sigma in evaluations)


def test_a_share_that_is_zero_spares_even_weights_that_are_not_known():
    class Never(Weight):
        def forward(self, at):
            raise AssertionError("asked for")

    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    point = base + Ramp(0.0, 1.0) * Never() * (base - weak)
    x = batch("none")[0]
    assert torch.equal(point(x, 80.0), base(x, 80.0))
    with pytest.raises(AssertionError, match="asked for"):
        point(x, 1.0)


def test_a_trajectory_follows_the_weights():
    """Heun's solver by hand, with the number of each level."""
    base, weak = GaussianDenoiser(0.1, 0.5), GaussianDenoiser(0.4, 0.9)
    point = read("autoguidance(weight=cosine(low=1, high=3))").guide(base, {"weak": weak})
    law = Cosine(1.0, 3.0)
    x = 80 * batch("none", 16)[0]
    found = Heun(num_steps=12).sample(point, x)

    def slope(at, sigma):
        d, w = base(at, sigma), law.at(WeightInput(sigma, None, base.space))
        return (at - d - (w - 1) * (d - weak(at, sigma))) / sigma

    levels = sigma_grid(12, 0.002, 80.0)
    for sigma, then in pairwise(levels):
        first = slope(x, sigma)
        ahead = x + (then - sigma) * first
        x = ahead if then == 0 else x + (then - sigma) * (first + slope(ahead, then)) / 2
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-4)


def test_equal_schedules_are_one_weight_and_their_terms_one():
    base, weak, bad = (GaussianDenoiser(mean) for mean in (0.1, 0.4, 0.7))
    names = {base: "main", weak: "weak", bad: "bad"}
    there = base + (Ramp(1.0, 4.0) - 1) * (base - weak)
    back = there - (Ramp(1.0, 4.0) - 1) * (base - weak)
    assert formula(back, names) == "main(x)"
    with tally() as counts:
        back(batch("none")[0], 1.0)
    assert counts[weak].calls == 0
    away = base - weak
    product = base + Ramp(1.0, 4.0) * Cosine(0.0, 1.0) * away - Cosine(0.0, 1.0) * Ramp(1.0, 4.0) * away
    assert formula(product, names) == "main(x)"
    assert formula(there, names) == "main(x) + (ramp(1.0, 4.0) - 1) (main(x) - weak(x))"
    other = base + Ramp(1.0, 4.0) * (base - weak) - Ramp(1.0, 4.5) * (base - weak)
    assert len(other.terms) == 2
    assert len(list(other.weights)) == 2


def test_the_range_of_a_schedule_is_that_of_the_denoiser_that_is_sampled():
    """Whatever the ranges of the networks in it: its trajectory is what the weight goes along."""
    narrow = Combine([GaussianDenoiser(0.1)], lambda outputs, x, sigma: outputs[0])
    narrow.space = evolve(narrow.space, sigma_max=5.0)
    wide, weak, x = GaussianDenoiser(0.1), GaussianDenoiser(0.4), batch("none")[0]
    total = wide + Ramp(0.0, 1.0) * (wide - weak) + Ramp(0.0, 1.0) * (narrow - weak)
    assert len(list(total.weights)) == 1
    w = Ramp(0.0, 1.0).at(WeightInput(0.5, None, wide.space))
    torch.testing.assert_close(total(x, 0.5), wide(x, 0.5) + 2 * w * (wide(x, 0.5) - weak(x, 0.5)))


def test_arithmetic_is_that_of_weights():
    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    x, w = batch("none")[0], Ramp(1.0, 4.0).at(WeightInput(0.5, None, base.space))
    expected = {
        (lambda s: s): w,
        (lambda s: 2 * s - 1): 2 * w - 1,
        (lambda s: 1 - s * s): 1 - w * w,
        (lambda s: -s + Cosine(0.0, 2.0)): -w + Cosine(0.0, 2.0).at(WeightInput(0.5, None, base.space)),
    }
    for function, value in expected.items():
        for point in (base + function(Ramp(1.0, 4.0)) * (base - weak), base + (base - weak) * function(Ramp(1.0, 4.0))):
            torch.testing.assert_close(point(x, 0.5), base(x, 0.5) + value * (base(x, 0.5) - weak(x, 0.5)))


def test_options_and_ranges():
    cfg = read("cfg(weight=ramp(1, 4))")
    assert cfg.weight == Ramp(1.0, 4.0)
    assert short(cfg) == "cfg(weight=ramp(1.0, 4.0))"
    assert short(read("cfg(weight=ramp(1, 4, power=2, levels=[0.1, 2]))")) == (
        "cfg(weight=ramp(1.0, 4.0, power=2.0, levels=[0.1, 2.0]))"
    )
    for text in (*(guider.format("ramp(1, 4)") for guider in GUIDERS), "cfg(weight=2.5)"):
        assert READER.read(write(read(text)), Guider, "it") == read(short(read(text))) == read(text)
    assert READER.read({"name": "cfg", "weight": {"name": "ramp", "low": 1, "high": 4}}, Guider, "it") == cfg
    assert READER.read({"name": "cfg", "weight": "ramp(1, 4)"}, Guider, "it") == cfg

    def put(option, text, guider=cfg):
        return READER.replaced(guider, option, parse(text), "guider")

    assert put("weight", "2.5") == read("cfg(weight=2.5)")
    assert put("weight", "cosine(1, 3)", read("cfg")) == read("cfg(weight=cosine(1, 3))")
    assert put("weight.high", "9") == read("cfg(weight=ramp(1, 9))")
    assert [format_value(parse(text)) for text in expand_ranges("cfg(weight=1:3:1)")] == [
        "cfg(weight=1)", "cfg(weight=2)", "cfg(weight=3)",
    ]  # fmt: skip
    assert len(expand_ranges("cfg(weight=ramp(1, 2:4:1))")) == 3


def test_a_runs_configuration_says_it_and_cites_it():
    registry = Registry.installed()
    guider = "autoguidance(weight=cosine(low=1, high=3))"
    config = resolve(Request({"task": "tree", "guider": guider, "device": "cpu"}), registry)
    assert config.guider.weight == Cosine(1.0, 3.0)
    assert "cosine" in to_toml(config)
    cited = bibtex(config, registry, "0")
    assert "2404.13040" in cited
    assert "no reference: weight" not in cited


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cfg(weight=ramp(1, inf))", "guider.weight: ramp: high is inf: it must be a finite number"),
        ("cfg(weight=cosine(nan, 2))", "guider.weight: cosine: low is nan: it must be a finite number"),
        ("cfg(weight=constant(inf))", "guider.weight: constant: value is inf: it must be a finite number"),
        (
            "cfg(weight=exponential(2, rate=-1))",
            "guider.weight: exponential: rate is -1.0: it must be finite and at least 0",
        ),
        ("cfg(weight=ramp(1, 2, power=0))", "guider.weight: ramp: power is 0.0: it must be positive and finite"),
        (
            "cfg(weight=ramp(1, 2, levels=[3, 1]))",
            "guider.weight: ramp: levels are [3.0, 1.0]: give two, the lower one first, both positive and finite",
        ),
        ("cfg(weight=ramp(1))", "guider.weight: ramp needs high: write ramp(high=...)"),
        (
            "cfg(weight=rmp(1, 4))",
            "guider.weight is rmp(1, 4): expected a number, and no weight is called 'rmp' (did you mean 'ramp'?)",
        ),
        ("apg(cfg, eta=ramp(0, 1))", "guider.eta is ramp(0, 1): expected a number"),
        (
            "sims(omega=ramp(-1, 2))",
            "guider: sims: omega is ramp(-1.0, 2.0), which falls to -1: it must be finite and at least 0",
        ),
        (
            "sims(omega=exponential(1, rate=2, floor=-3))",
            "guider: sims: omega is exponential(1.0, rate=2.0, floor=-3.0), which falls to -2.45866: "
            "it must be finite and at least 0",
        ),
        (
            "learned(cfg(weight=ramp(1, 4)))",
            "guider: learned: guider 'cfg' has weight ramp(1.0, 4.0): the weight is what is learned, leave it out",
        ),
        (
            "blend([cfg], shares=[ramp(1, 2), 2])",
            "guider: blend: shares are [ramp(1.0, 2.0), 2.0]: 1 guider takes one share, or leave shares out for 1 each",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(text, said):
    with pytest.raises(GuideplugError) as refused:
        read(text)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", ["true", "512it", "'2'", "none"])
def test_what_is_neither_a_number_nor_a_schedule(value):
    known = ", ".join(Registry.installed().names("weight"))
    with pytest.raises(ConfigError) as refused:
        read(f"cfg(weight={value})")
    assert str(refused.value) == f"guider.weight is {value}: expected a number or a weight, one of {known}"


def test_a_guider_that_takes_numbers_only_says_so():
    @frozen
    class Plain(Guider):
        """A guider of numbers."""

        name = "plain"
        weight: float = option(2.0, help="weight")

        def guide(self, base, models):
            return base

    class Shelf:
        def find(self, kind, name):
            return Plain if kind == "guider" else Registry.installed().find(kind, name)

        def names(self, kind):
            return ["plain"] if kind == "guider" else Registry.installed().names(kind)

    with pytest.raises(ConfigError, match=r"^guider\.weight is ramp\(1, 4\): expected a number$"):
        Reader(Shelf()).expression("plain(weight=ramp(1, 4))", Guider)


def test_the_check_sees_a_schedule_that_breaks_a_law():
    @frozen
    class Low(WeightSchedule):
        """Falls below what it says."""

        name = "low"

        @property
        def least(self):
            return 1.0

        def at(self, at):
            return 1.0 - at.sigma

    with pytest.raises(AssertionError, match="final"):
        check_weights(Low())
    Low.__final__ = True
    Low.__name__ = "Low"
    with pytest.raises(AssertionError):
        check_weights(Low())


def test_levels_of_half_precision_are_weighed_in_float32():
    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    x, levels = batch("none")[0].bfloat16(), torch.full((5,), 0.5, dtype=torch.bfloat16)
    (weight,) = (base + Ramp(1.0, 4.0) * (base - weak)).weights
    assert weight(WeightInput(levels, None, base.space)).dtype == torch.float32
    point = base + (Ramp(1.0, 4.0) - 1) * (base - weak)
    assert point(x, levels).dtype == torch.bfloat16


def test_conditions_of_every_kind():
    for kind in CONDITIONS[1:]:
        point, base, _ = guided("cfg(weight=ramp(1, 3))", kind)
        x, condition = batch(kind)
        assert torch.equal(point(x, 80.0, condition), base(x, 80.0, condition))
