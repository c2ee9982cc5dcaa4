"""What holds for every shape: off is off, neutral is the guider, no leaks, no waiting, one call of each network."""

import math

import pytest
import torch

from guideplug import Guider, Leaf, SampleStreams, Space, formula, tally
from guideplug.config import Reader, short, write
from guideplug.errors import GuideplugError
from guideplug.registry.registry import Registry
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_guider, example_condition

READER = Reader(Registry.installed())
IMAGE = (2, 6, 5)
LEVELS = (7.0, 0.5, 0.02)

STEERED = {
    "apg": "apg({}, threshold=2)",
    "cfg-zero": "cfg-zero({})",
    "cfg-zero of denoised samples": "cfg-zero({}, prediction=denoised)",
    "tangential": "tangential({})",
    "magnitude-aware": "magnitude-aware({}, alpha=2)",
    "feedback": "feedback({}, purity=0.9, temperature=0.01)",
}
"""Shapes that change what is guided away from; they need a guider with a weight."""
ANY = {
    "rescale": "rescale({})",
    "dynamic-threshold": "dynamic-threshold({}, quantile=0.8, limit=0.7)",
    "frequency": "frequency({}, factors=[1.5, 1, 0.25])",
}
"""Shapes of what comes out; any guider will do."""
SHAPES = {**STEERED, **ANY}
NEUTRAL = {
    "apg": "apg({}, eta=1, momentum=0)",
    "rescale": "rescale({}, phi=0)",
    "dynamic-threshold": "dynamic-threshold({}, limit=1e6)",
    "frequency": "frequency({}, factors=[1, 1, 1])",
    "magnitude-aware": "magnitude-aware({}, alpha=0)",
}


def read(text: str) -> Guider:
    return READER.expression(text, Guider)


def make(template: str, weight: float = 3.0, inner: str = "autoguidance") -> Guider:
    return read(template.format(f"{inner}(weight={weight!r})"))


def networks(shape: tuple[int, ...] = IMAGE, kind: str = "none") -> tuple[Leaf, dict[str, Leaf]]:
    base, weak = (GaussianDenoiser(0.1 + i, 0.5 + 0.2 * i, shape=shape, conditioning=kind) for i in range(2))
    return base, {"weak": weak}


def noise(shape: tuple[int, ...] = IMAGE, batch: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def template(request):
    return request.param


def test_every_shape_is_here():
    offered = {
        cls.name for cls in Registry.installed().classes(Guider) if cls.__module__.startswith("guideplug_shapes")
    }
    assert offered == {name.partition(" ")[0] for name in SHAPES} | {"momentum"}  # no shape of one evaluation


@pytest.mark.slow
@pytest.mark.parametrize("inner", ["autoguidance", "cfg"])
def test_laws_on_images(template, inner):
    def models(kind):
        roles = ("weak", "unconditional") if kind == "none" else ("weak",)
        return {role: GaussianDenoiser(0.7, 0.8, shape=(1, 8, 8), conditioning=kind) for role in roles}

    check_guider(lambda: make(template, inner=inner), models=models, shape=(1, 8, 8))


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "frequency"])
def test_laws_on_points(name):
    check_guider(lambda: make(SHAPES[name]))


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("weight", [1.0, 1.0 + 2e-10])
def test_off_it_is_the_base_bit_for_bit_and_calls_nothing_else(template, weight, kind):
    base, models = networks(kind=kind)
    generator = torch.Generator().manual_seed(1)
    x, condition = noise(), example_condition(kind, 4, generator)
    guided = make(template, weight).guide(base, models).trajectory()
    for sigma in LEVELS:
        with tally() as counts:
            value = guided(x, sigma, condition)
        assert list(counts.counts) == [base]
        assert counts[base].calls == 1
        assert torch.equal(value, base(x, sigma, condition))


@pytest.mark.parametrize("name", ANY)
def test_outside_an_interval_it_is_the_base_bit_for_bit(name):
    """A sample that nothing guides is left alone, in a batch with others too."""
    base, models = networks()
    guider = read(ANY[name].format("interval(autoguidance(weight=3), low=0.3, high=2)"))
    guided, x = guider.guide(base, models), 3 * noise()
    for sigma in (0.3, 2.5):
        assert torch.equal(guided(x, sigma), base(x, sigma))
    sigma = torch.tensor([0.1, 0.5, 3.0, 1.0])
    inside = torch.tensor([False, True, False, True])
    value = guided(x, sigma)
    torch.testing.assert_close(value[~inside], base(x, sigma)[~inside], rtol=0, atol=0)
    torch.testing.assert_close(value[inside], guided(x[inside], sigma[inside]))


@pytest.mark.parametrize("name", NEUTRAL)
@pytest.mark.parametrize("weight", [0.0, 2.0, 5.0])
def test_neutral_it_is_the_guider(name, weight):
    base, models = networks()
    guided = make(NEUTRAL[name], weight).guide(base, models).trajectory()
    plain, x = make("{}", weight).guide(base, models), noise()
    for sigma in LEVELS:
        torch.testing.assert_close(guided(x, sigma), plain(x, sigma), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["rescale", "frequency"])
def test_neutral_it_is_the_guider_bit_for_bit(name):
    base, models = networks()
    guided, plain = (make(text).guide(base, models) for text in (NEUTRAL[name], "{}"))
    for sigma in LEVELS:
        assert torch.equal(guided(noise(), sigma), plain(noise(), sigma))


def test_no_shape_is_neutral_by_default():
    base, models = networks()
    plain = make("{}").guide(base, models)
    for name in {text.partition("(")[0] for text in SHAPES.values()} - {"dynamic-threshold"}:
        guided = make(f"{name}({{}})").guide(base, models)
        assert (guided(noise(), 0.5) - plain(noise(), 0.5)).abs().max() > 1e-3, name


def test_guiding_by_oneself_does_nothing(template):
    if template.startswith("dynamic-threshold"):
        template = "dynamic-threshold({}, limit=100)"
    base, _ = networks()
    guided = make(template).guide(base, {"weak": GaussianDenoiser(base.mean, base.std, shape=IMAGE)}).trajectory()
    for sigma in LEVELS:
        torch.testing.assert_close(guided(noise(), sigma), base(noise(), sigma), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", STEERED)
def test_affine_in_the_weight_of_the_guider(name):
    base, models = networks()
    for sigma in LEVELS:
        off, once, thrice = (make(STEERED[name], w).guide(base, models)(noise(), sigma) for w in (1.0, 2.0, 4.0))
        torch.testing.assert_close(thrice - off, 3 * (once - off), rtol=1e-4, atol=1e-4)


def test_each_network_is_called_once_in_a_pass_with_everything():
    base, models = networks(kind="labels")
    labels = torch.tensor([0, 1, 2, 0])
    everything = [SHAPES[name].format(inner) for name in SHAPES for inner in ("cfg", "autoguidance(weight=2.5)")]
    guided = read(f"blend([{', '.join(everything)}])").guide(base, models)
    with tally() as counts:
        guided(noise(), 0.5, labels)
    assert set(counts.counts) == {base, models["weak"]}
    assert (counts[base].calls, counts[base].outputs) == (1, 8)
    assert (counts[models["weak"]].calls, counts[models["weak"]].outputs) == (1, 4)


def test_trajectories_do_not_know_of_each_other(template):
    base, models = networks()
    guided = make(template).guide(base, models)

    def walk(path, seed):
        return [path(noise(seed=seed + i), sigma) for i, sigma in enumerate((5.0, 2.0, 1.0, 0.3))]

    alone = walk(guided.trajectory(), 0)
    one, two = guided.trajectory(), guided.trajectory()
    mixed = []
    for i, sigma in enumerate((5.0, 2.0, 1.0, 0.3)):
        two(noise(seed=50 + i), sigma)
        guided(noise(seed=90 + i), sigma)
        mixed.append(one(noise(seed=i), sigma))
    assert all(torch.equal(a, b) for a, b in zip(alone, mixed, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alone, walk(one.trajectory(), 0), strict=True))


@pytest.mark.parametrize("name", ["apg", "feedback"])
def test_those_with_a_memory_use_it(name):
    base, models = networks()
    guided = make(SHAPES[name]).guide(base, models)
    path = guided.trajectory()
    path(noise(seed=1), 2.0)
    assert (path(noise(), 0.5) - guided(noise(), 0.5)).abs().max() > 1e-3


@pytest.mark.parametrize("sampler", ["heun(num_steps=6)", "heun(num_steps=6, churn=3)", "euler(num_steps=6)"])
def test_a_sample_alone_is_the_sample_in_its_batch(template, sampler):
    from guideplug import Sampler

    solver = READER.expression(sampler, Sampler)
    base, models = networks()
    guided = make(template).guide(base, models)

    def drawn(indices):
        streams = SampleStreams(0, indices)
        return solver.sample(guided, 80.0 * streams.normal(IMAGE, "start"), None, streams)

    torch.testing.assert_close(drawn([3]), drawn(range(5))[3:4], rtol=1e-4, atol=1e-4)


class Noting(Leaf):
    """Another network, which keeps what it gave and a copy."""

    def __init__(self, inside: Leaf) -> None:
        super().__init__(inside.space)
        self.inside = inside
        self.given: list[tuple[torch.Tensor, torch.Tensor]] = []

    def denoise(self, x, sigma, condition):
        answer = self.inside.denoise(x, sigma, condition)
        self.given.append((answer, answer.clone()))
        return answer


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_nothing_is_changed_in_place(template, weight):
    """At weight 0 what comes out of the guider is a network's own answer."""
    base, models = networks()
    base, weak = Noting(base), Noting(models["weak"])
    path, x = make(template, weight).guide(base, {"weak": weak}).trajectory(), 3 * noise()
    before = x.clone()
    values = [(value, value.clone()) for value in (path(x, sigma) for sigma in LEVELS)]
    assert torch.equal(x, before)
    assert len(base.given) == len(weak.given) == len(LEVELS)
    assert all(torch.equal(a, b) for a, b in [*base.given, *weak.given, *values])


def test_memory_does_not_hang_on_the_callers_tensors(template):
    """A loop that changes x in place walks the same path."""
    base, models = networks()
    guided = make(template).guide(base, models)
    apart, together, x = guided.trajectory(), guided.trajectory(), 3 * noise()
    for i, sigma in enumerate((2.0, 1.0, 0.5)):
        given = noise(seed=i)
        x.copy_(given)
        assert torch.equal(apart(given, sigma), together(x, sigma))


def test_nothing_waits_for_the_device(template):
    """On the meta device there are no values to wait for."""
    base, models = networks()
    point = make(template).guide(base, models).to("meta")
    path = point.trajectory()
    with torch.no_grad():
        for sigma in (2.0, 1.0, 1.0, 0.5):
            assert path(noise().to("meta"), sigma).shape == (4, *IMAGE)


class Constant(Leaf):
    """A network that answers one number."""

    def __init__(self, value: float) -> None:
        super().__init__(Space(IMAGE))
        self.value = value

    def denoise(self, x, sigma, condition):
        return torch.full_like(x, self.value)


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (2.0, 2.0), (1.0, -1.0)])
def test_flat_and_empty_answers_give_numbers(template, values):
    base, weak = (Constant(value) for value in values)
    path = make(template).guide(base, {"weak": weak}).trajectory()
    for x in (torch.zeros(2, *IMAGE), noise(batch=2)):
        for sigma in LEVELS:
            assert bool(torch.isfinite(path(x, sigma)).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_stays(template, dtype):
    if dtype == torch.bfloat16 and template.startswith("frequency"):
        pytest.skip("torch has no antialiased interpolation of bfloat16 on the CPU")
    base, models = networks()
    path = make(template).guide(base, models)
    value = path.to(dtype)(noise().to(dtype), 0.5)
    assert value.dtype == dtype
    torch.testing.assert_close(value.float(), path.float()(noise(), 0.5), rtol=0.05, atol=0.1)


@pytest.mark.parametrize("name", STEERED)
@pytest.mark.parametrize("inner", ["interval(cfg, low=0.1)", "blend([cfg])", "sims", "rescale(cfg)"])
def test_a_guider_without_a_weight_is_refused_in_one_line(name, inner):
    with pytest.raises(GuideplugError) as caught:
        read(STEERED[name].format(inner))
    kind = inner.partition("(")[0]
    assert f"guider {kind!r} has no option weight, so it does not say what it steers away from" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ANY)
@pytest.mark.parametrize("inner", ["interval(cfg, low=0.1)", "blend([cfg])", "apg(cfg)", "rescale(cfg)"])
def test_shapes_of_what_comes_out_go_around_anything(name, inner):
    base, models = networks(kind="labels")
    point = read(ANY[name].format(inner)).guide(base, models)
    assert point(noise(), 0.5, torch.tensor([0, 1, 2, 0])).shape == (4, *IMAGE)


def test_they_need_what_their_guider_needs(template):
    class Task:
        space = Space(IMAGE)

        def recipe(self, role, main):
            return role, main

    assert make(template).needs(Task(), "main") == {"weak": ("weak", "main")}
    assert make(template, inner="cfg").may_use() == ["unconditional"]


def test_they_are_written_and_read_again(template):
    guider = make(template)
    assert READER.read(write(guider), Guider, "") == guider
    assert READER.expression(short(guider), Guider) == guider


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("apg(cfg, threshold=0)", "threshold is 0.0: it must be positive, or inf"),
        ("apg(cfg, threshold=nan)", "it must be positive"),
        ("apg(cfg, momentum=1)", "momentum is 1.0: it must be between -1 and 1"),
        ("apg(cfg, eta=inf)", "eta is inf: it must be a finite number"),
        ("rescale(cfg, phi=1.1)", "phi is 1.1: it must be between 0 and 1"),
        ("dynamic-threshold(cfg, quantile=99.5)", "quantile is 99.5: it must be between 0 and 1"),
        ("dynamic-threshold(cfg, limit=inf)", "limit is inf: it must be positive and finite"),
        ("cfg-zero(cfg, zero_above=-1)", "zero_above is -1.0: it must be at least 0"),
        ("cfg-zero(cfg, prediction=velocty)", "did you mean 'velocity'"),
        ("magnitude-aware(cfg, alpha=-1)", "alpha is -1.0: it must be finite and at least 0"),
        ("frequency(cfg, factors=[])", "factors is empty: give one a band"),
        ("frequency(cfg, factors=[1, nan])", "factors is nan: it must be a finite number"),
        ("feedback(cfg, purity=1)", "purity is 1.0: it must be between 0 and 1, both excluded"),
        ("feedback(cfg, start=1)", "start is 1.0: it must be between 0 and 1, both excluded"),
        ("feedback(cfg, most=1)", "most is 1.0: it must be finite and above 1"),
        ("feedback(cfg, temperature=-1)", "temperature is -1.0: it must be finite and at least 0"),
    ],
)
def test_bad_options_are_refused_in_one_line(expression, said):
    with pytest.raises(GuideplugError) as caught:
        read(expression)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_samples_of_one_number_have_no_deviation_to_keep():
    base, models = networks((1,))
    with pytest.raises(GuideplugError, match="a sample of one number has no deviation"):
        make("rescale({})").guide(base, models)
    assert math.isfinite(float(make("apg({})").guide(base, models)(noise((1,)), 0.5).sum()))


def test_formulas_call_it_by_its_name(template):
    base, models = networks()
    written = formula(make(template).guide(base, models), {base: "main", models["weak"]: "weak"})
    name = template.partition("(")[0]
    inside = "main(x), weak(x)" if template in STEERED.values() else "3 main(x) - 2 weak(x), main(x)"
    assert written == (f"3 main(x) - 2 {name}({inside})" if template in STEERED.values() else f"{name}({inside})")


def test_formulas_say_what_a_velocity_of_0_is():
    base, models = networks()
    written = formula(make("cfg-zero({}, zero_above=9)").guide(base, models), {base: "main", models["weak"]: "weak"})
    assert written.endswith(" + [sigma > 9] (x / (1 + sigma) - main(x))")
