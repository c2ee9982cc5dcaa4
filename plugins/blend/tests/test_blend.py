"""Blends: the laws, the textbook, what is called, what is refused."""

import math

import pytest
import torch
from attrs import frozen

from guideplug import Combine, Gate, Guider, option
from guideplug.config import Reader, short, write
from guideplug.denoise import tally
from guideplug.errors import DenoiserError, GuideplugError, RecipeError
from guideplug.registry.registry import Registry
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_guider, example_condition
from guideplug_blend import Blend


@frozen
class Away(Guider):
    """Away from a role."""

    name = "away"
    role: str = option("weak", help="which")
    weight: float = option(2.0, help="weight")

    def needs(self, task, main):
        return {self.role: (task, main, self.role)}

    def may_use(self):
        return [f"perhaps-{self.role}"]

    def guide(self, base, models):
        return base + (self.weight - 1) * (base - models[self.role])


def nets(kind="none", *roles):
    return {role: GaussianDenoiser(0.3 + 0.2 * i, 0.6 + 0.1 * i, conditioning=kind) for i, role in enumerate(roles)}


def read(text):
    return Reader(Registry.installed()).expression(text, Guider)


def test_laws():
    check_guider(lambda: read("blend([autoguidance, autoguidance(weight=3, model=bad)], shares=[0.4, 0.6])"))


def test_laws_of_a_blend_with_the_null_condition():
    def given(kind):
        return nets(kind, "weak", "unconditional") if kind == "none" else nets(kind, "weak")

    check_guider(lambda: read("blend([cfg, interval(autoguidance, low=0.1)])"), models=given)


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("shares", [None, (1.0, 1.0), (0.25, 0.75), (2.0, -0.5)])
def test_the_textbook_formula_and_one_call_of_each_network(kind, shares):
    base, models = GaussianDenoiser(0.1, conditioning=kind), nets(kind, "weak", "bad")
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    guided = Blend((Away("weak", 2.5), Away("bad", 1.5)), shares).guide(base, models)
    with tally() as counts:
        value = guided(x, 0.7, condition)
    first, second = shares or (1.0, 1.0)
    main, weak, bad = (net(x, 0.7, condition) for net in (base, models["weak"], models["bad"]))
    torch.testing.assert_close(value, main + first * 1.5 * (main - weak) + second * 0.5 * (main - bad))
    found = {net: (count.calls, count.outputs) for net, count in counts.counts.items()}
    assert found == dict.fromkeys((base, models["weak"], models["bad"]), (1, 3))


@pytest.mark.parametrize("kind", CONDITIONS[1:])
def test_cfg_and_autoguidance_call_the_main_network_once_with_two_conditions(kind):
    base, models = GaussianDenoiser(0.1, conditioning=kind), nets(kind, "weak")
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    with tally() as counts:
        read("blend([cfg, autoguidance])").guide(base, models)(x, 0.7, condition)
    assert (counts[base].calls, counts[base].outputs) == (1, 6)
    assert (counts[models["weak"]].calls, counts[models["weak"]].outputs) == (1, 3)


@pytest.mark.parametrize(
    ("alpha", "alone", "off"), [(0.0, "cfg(weight=3)", "weak"), (1.0, "autoguidance(weight=3)", "")]
)
def test_at_its_ends_alpha_is_one_guider_bit_for_bit_and_the_other_costs_nothing(alpha, alone, off):
    base, models = GaussianDenoiser(0.1, conditioning="labels"), nets("labels", "weak")
    x, labels = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    blend = read(f"blend([cfg(weight=3), autoguidance(weight=3)], shares=[{1 - alpha}, {alpha}])").guide(base, models)
    with tally() as counts:
        value = blend(x, 0.7, labels)
    with tally() as expected:
        assert torch.equal(value, read(alone).guide(base, models)(x, 0.7, labels))
    assert counts.counts == expected.counts
    assert (models["weak"] in counts.counts) is (off != "weak")


def test_blends_commute_associate_and_have_the_unguided_as_identity():
    base, models = GaussianDenoiser(0.1), nets("none", "a", "b", "c")
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    a, b, c = (Away(role, 2.0 + i) for i, role in enumerate("abc"))
    whole = Blend((a, b, c)).guide(base, models)(x, 0.7)
    for other in (
        Blend((c, a, b)),
        Blend((Blend((a, b)), c)),
        Blend((a, Blend((b, c)))),
        Blend((a, b, c, Away("a", 1.0))),
    ):
        torch.testing.assert_close(other.guide(base, models)(x, 0.7), whole)
    assert torch.equal(Blend((Away("a", 1.0),)).guide(base, models)(x, 0.7), base(x, 0.7))


def test_one_guider_over_two_bases_keeps_nothing_between_them():
    """A guider with a memory along the trajectory: each base has its own."""

    @frozen
    class Momentum(Guider):
        name = "momentum"

        def guide(self, base, models):
            def begin():
                seen = []

                def function(outputs, x, sigma):
                    seen.append(outputs[0])
                    return sum(seen) / len(seen)

                return function

            return Combine([base], begin=begin)

    guider = Blend((Momentum(),))
    one, two = (guider.guide(GaussianDenoiser(mean), {}).trajectory() for mean in (0.0, 5.0))
    x = torch.ones(2, 2)
    alone = guider.guide(GaussianDenoiser(0.0), {}).trajectory()
    for sigma in (2.0, 1.0, 0.5):
        two(x, sigma)
        assert torch.equal(one(x, sigma), alone(x, sigma))


def test_bases_of_different_data_are_refused_in_one_line():
    class Wrong(Away):
        pass

    with pytest.raises(DenoiserError, match=r"\(2,\) and \(3,\) cannot be combined"):
        Blend((Away(),)).guide(GaussianDenoiser(), {"weak": GaussianDenoiser(dimension=3)})


def test_it_needs_what_its_guiders_need():
    blend = Blend((Away("weak"), Blend((Away("bad"), Away("weak", 3.0)))))
    assert blend.needs("task", "main") == {role: ("task", "main", role) for role in ("weak", "bad")}
    assert blend.may_use() == ["perhaps-weak", "perhaps-bad"]


def test_one_role_for_two_networks_is_refused():
    @frozen
    class Other(Away):
        name = "other"

        def needs(self, task, main):
            return {self.role: "another"}

    with pytest.raises(
        RecipeError, match=r"role 'weak' is used for two different networks; give one of its guiders another"
    ):
        Blend((Away(), Other())).needs("task", "main")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("blend([])", "guiders is empty: give at least one"),
        ("blend([cfg, autoguidance], shares=[1])", "shares are [1.0]: 2 guiders take as many"),
        ("blend([cfg], shares=[])", "shares are []: 1 guider takes one share"),
        ("blend([cfg], shares=[1, 2])", "1 guider takes one share"),
        ("blend(cfg)", "expected a list in square brackets"),
        ("blend([cfg], shares=[inf])", "shares is inf: it must be a finite number"),
        ("blend([nothing])", "no guider is called 'nothing'"),
    ],
)
def test_bad_blends_are_refused_in_one_line(expression, said):
    with pytest.raises(GuideplugError) as caught:
        read(expression)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [math.nan, -math.inf])
def test_shares_are_finite(share):
    with pytest.raises(ValueError, match="finite"):
        Blend((Away(),), (share,))


def test_it_is_written_shortly_and_read_again():
    text = "blend([cfg, interval(autoguidance(weight=3.0), high=0.3)], shares=[0.5, 0.5])"
    guider = read(text)
    assert short(guider).replace("guiders=", "") == text
    assert Reader(Registry.installed()).read(write(guider), Guider, "") == guider


def test_a_gate_inside_skips_only_its_own_network():
    base, models = GaussianDenoiser(0.1), nets("none", "weak", "bad")
    point = Blend((Away("weak"), Away("bad"))).guide(base, models)
    gated = base + Gate(0.5) * (point - base)
    with tally() as counts:
        value = gated(torch.ones(2, 2), 0.4)
    assert list(counts.counts) == [base]
    assert torch.equal(value, base(torch.ones(2, 2), 0.4))
