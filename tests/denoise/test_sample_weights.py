"""Guidance weights per sample: lists, and parts of the condition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug import Guider, NoiseDomain, Registry, tally, wrap
from guideplug.config import Reader, short, write
from guideplug.denoise import Change, View, WeightColumn, calls, formula
from guideplug.denoise.sample_weights import SampleWeights, numbered
from guideplug.errors import ConditionError, ConfigError
from guideplug.run.arms import check_weights, draw_arms
from guideplug_cfg import CFG
from guideplug_edm import Euler

X = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, 2, 3])


def shifted(x_t, time, label):
    return 0.5 * x_t + label[:, None]


def named(x_t, time, *, label):
    return shifted(x_t, time, label)


MAIN = wrap(shifted, (2,), predicts="denoised", null=0, labels=4)
BY_NAME = wrap(named, (2,), predicts="denoised", null={"label": 0})


def read(text):
    return Reader(Registry.installed()).expression(text, Guider)


WEIGHTS = st.floats(-3, 9, allow_subnormal=False).filter(lambda weight: weight == 0 or abs(weight) > 1e-9)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(WEIGHTS, min_size=3, max_size=3))
def test_each_sample_is_guided_as_alone_with_its_weight(weights):
    guided = CFG(weight=weights).guide(MAIN, {})(X, 1.0, LABELS)
    column = {"label": LABELS, "guidance.weight": torch.tensor(weights)}
    by_column = CFG(weight=WeightColumn()).guide(BY_NAME, {})
    torch.testing.assert_close(by_column(X, 1.0, column), guided)
    for row, weight in enumerate(weights):
        rows = slice(row, row + 1)
        alone = CFG(weight=weight).guide(MAIN, {})(X[rows], 1.0, LABELS[rows])
        torch.testing.assert_close(guided[rows], alone)
        part = {name: part[rows] for name, part in column.items()}
        torch.testing.assert_close(by_column(X[rows], 1.0, part), alone)


def test_a_list_is_the_same_in_python_and_on_the_command_line():
    guider = read("cfg(weight=[3, 7.5])")
    assert guider == CFG(weight=[3, 7.5]) == CFG((3.0, 7.5)) == CFG(weight=SampleWeights([3, 7.5]))
    assert short(guider) == "cfg(weight=[3.0, 7.5])"
    assert Reader(Registry.installed()).read(write(guider), Guider, "guider") == guider
    assert formula(guider.guide(MAIN, {}), {MAIN: "main"}).endswith("([3.0, 7.5] - 1) (main(x, c) - main(x, null))")


def weighted_guiders():
    """Every installed guider whose option ``weight`` may be a schedule."""
    registry = Registry.installed()
    classes = {name: registry.find("guider", name) for name in registry.names("guider")}
    types = {name: str(getattr(cls, "__annotations__", {}).get("weight")) for name, cls in classes.items()}
    return [name for name, expected in types.items() if "WeightSchedule" in expected]


@pytest.mark.parametrize("name", weighted_guiders())
def test_every_weight_that_may_be_a_schedule_may_be_a_list(name):
    assert read(f"{name}(weight=[3, 7.5])").weight == SampleWeights([3, 7.5])


def test_guided_views_of_several_copies_take_the_weight_of_their_sample():
    class Twice(Change):
        copies = 2

        def inputs(self, x, sigma):
            return torch.cat([x, x])

        def answer(self, denoised, x, sigma):
            return denoised.reshape(2, *x.shape).mean(0)

    guided = CFG(weight=[1, 2, 4]).guide(MAIN, {})
    torch.testing.assert_close(View(guided, Twice())(X, 1.0, LABELS), guided(X, 1.0, LABELS))


def test_levels_per_sample_and_weights_per_sample_go_together():
    guided, levels = CFG(weight=[1, 2, 4]).guide(MAIN, {}), torch.tensor([0.5, 1.0, 2.0])
    assert torch.equal(guided(X, levels, LABELS), guided(X, 1.0, LABELS))


def test_the_cost_is_that_of_any_weight():
    guided = CFG(weight=[1, 2, 4]).guide(MAIN, {})
    with tally() as counts:
        guided(X, 1.0, LABELS)
    assert (counts[MAIN].calls, counts[MAIN].outputs) == (1, 6)
    assert calls(guided, 1.0, x=X[:1], condition=LABELS[:1])[MAIN].outputs == 2


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_samples_of_a_run_have_the_weights_of_their_numbers(batch):
    guided = CFG(weight=[1, 2, 4]).guide(MAIN, {})
    domain, sampler = NoiseDomain(MAIN.space, 4), Euler(num_steps=3)
    arms, _ = draw_arms({"guided": guided}, domain, sampler, count=3, seed=0, batch=batch, device=torch.device("cpu"))
    whole, _ = draw_arms({"guided": guided}, domain, sampler, count=3, seed=0, batch=3, device=torch.device("cpu"))
    torch.testing.assert_close(arms["guided"].samples, whole["guided"].samples)
    x = arms["guided"].start
    last = CFG(weight=4.0).guide(MAIN, {})
    expected = sampler.sample(last, x[2:], arms["guided"].condition[2:])
    torch.testing.assert_close(arms["guided"].samples[2:], expected)


def test_weights_of_more_or_fewer_samples_are_refused():
    guided = CFG(weight=[1, 2]).guide(MAIN, {})
    with pytest.raises(ConditionError, match="weight is a list of 2, and x has batch 3: give one weight per sample"):
        guided(X, 1.0, LABELS)
    with pytest.raises(ConfigError, match=r"list of 2, \[1\.0, 2\.0\], and 8 samples are drawn .* or --samples 2"):
        check_weights(read("cfg(weight=[1, 2])"), 8)
    check_weights(read("cfg(weight=[1, 2])"), 2)
    with numbered(1):
        guided(X[:1], 1.0, LABELS[:1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cfg(weight=[])", r"guider\.weight: a list of weights is empty: give one per sample"),
        ("cfg(weight=[1, a])", r"guider\.weight\[1\] is a: expected a number"),
        ("cfg(weight=[[1]])", r"guider\.weight\[0\] is \[1\]: expected a number"),
    ],
)
def test_lists_that_are_no_weights(text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"label": LABELS}, "weight is the part 'guidance.weight' of the condition, which has 'label': add it"),
        ({"label": LABELS, "guidance.weight": LABELS}, r"'guidance.weight' is int64 of shape \(3,\): as a weight it"),
        ({"label": LABELS, "guidance.weight": X}, r"'guidance.weight' is float32 of shape \(3, 2\): as a weight it is"),
    ],
)
def test_parts_that_are_no_weights(condition, message):
    with pytest.raises(ConditionError, match=message):
        CFG(weight=WeightColumn()).guide(BY_NAME, {})(X, 1.0, condition)


def test_a_network_alone_is_not_given_the_weights_either():
    assert torch.equal(BY_NAME(X, 1.0, {"label": LABELS, "guidance.weight": X[:, 0]}), MAIN(X, 1.0, LABELS))
