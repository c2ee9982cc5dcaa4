"""Power-function averages against their closed form."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from guideplug.ema import MAX_LENGTH, PowerAverages, power_gamma

laws = settings(deadline=None, max_examples=40, derandomize=True)


@pytest.mark.parametrize(("length", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_the_published_exponents(length, gamma):
    """Karras et al. 2024, section 3.1: sigma_rel 0.05 and 0.10 are gamma 16.97 and 6.94."""
    assert power_gamma(length) == pytest.approx(gamma, abs=0.005)


@laws
@given(st.floats(0.002, MAX_LENGTH))
def test_the_profile_of_gamma_has_the_length(length):
    """The standard deviation of the density (gamma + 1) t^gamma on (0, 1), which is the profile in the limit."""
    gamma = power_gamma(length)
    assert gamma > -1e-6
    mean, square = (gamma + 1) / (gamma + 2), (gamma + 1) / (gamma + 3)
    assert math.sqrt(square - mean**2) == pytest.approx(length, rel=1e-5)


@pytest.mark.parametrize("length", [0.0, -0.1, 0.289, 1.0, math.nan, math.inf])
def test_lengths_without_a_profile_are_refused(length):
    with pytest.raises(ValueError, match="EMA length"):
        power_gamma(length)


class Scalar(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.second = nn.Parameter(torch.zeros((), dtype=torch.float64))


LENGTHS = (0.01, 0.05, 0.1, 0.25, MAX_LENGTH)


def trained(values, lengths=LENGTHS):
    """Averages of a module whose parameters take the given values at steps 1, 2, ..."""
    module = Scalar()
    averages = PowerAverages(module, lengths)
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            module.first.fill_(value)
            module.second.fill_(-2 * value)
        averages.update(step)
    return averages


@laws
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_averages_of_several_lengths_have_the_closed_form(values):
    """Step t counts t^(gamma + 1) - (t - 1)^(gamma + 1), of T^(gamma + 1) in all."""
    averages = trained(values)
    for length in LENGTHS:
        power, last = power_gamma(length) + 1, len(values)
        shares = [(t / last) ** power - ((t - 1) / last) ** power for t in range(1, last + 1)]
        assert sum(shares) == pytest.approx(1)
        expected = sum(share * value for share, value in zip(shares, values, strict=True))
        found = averages.parameters(length)
        assert found["first"].tolist() == pytest.approx([expected] * 3, abs=1e-9)
        assert float(found["second"]) == pytest.approx(-2 * expected, abs=1e-9)


def test_the_longest_average_is_flat():
    assert float(trained([1.0, 2.0, 6.0]).parameters(MAX_LENGTH)["first"][0]) == pytest.approx(3.0)


def test_the_first_update_replaces_what_was_there():
    for length in LENGTHS:
        assert trained([1.25]).parameters(length)["first"].tolist() == [1.25] * 3


def test_constant_parameters_are_their_average():
    for length in LENGTHS:
        assert trained([0.7] * 20).parameters(length)["first"].tolist() == pytest.approx([0.7] * 3, abs=1e-12)


def test_averages_are_no_views_of_the_parameters_and_have_no_graph():
    module = Scalar()
    averages = PowerAverages(module, [0.1])
    averages.update(1)
    with torch.no_grad():
        module.first.fill_(9.0)
    found = averages.parameters(0.1)
    assert list(found) == ["first", "second"]
    assert found["first"].tolist() == [0.0] * 3
    assert not any(average.requires_grad for average in found.values())


def test_an_average_that_is_put_back_continues_as_if_undisturbed():
    values = [0.3, -1.0, 2.0, 0.5, 1.5]
    whole = trained(values)
    kept = {length: {k: v.clone() for k, v in trained(values[:3]).parameters(length).items()} for length in LENGTHS}
    module = Scalar()
    resumed = PowerAverages(module, LENGTHS)
    for length in LENGTHS:
        resumed.load(length, kept[length])
    for step in (4, 5):
        with torch.no_grad():
            module.first.fill_(values[step - 1])
            module.second.fill_(-2 * values[step - 1])
        resumed.update(step)
    for length in LENGTHS:
        for name, average in whole.parameters(length).items():
            assert torch.equal(average, resumed.parameters(length)[name])


def test_a_length_that_is_not_kept_is_a_key_error():
    with pytest.raises(KeyError):
        trained([1.0], [0.1]).parameters(0.05)
