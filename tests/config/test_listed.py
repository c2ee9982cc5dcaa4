"""Lists of numbers that stand for a strategy."""

import pytest
from attrs import frozen

from guideplug import Guider, WeightSchedule, option
from guideplug.config import write
from guideplug.config.listed import listed_kind
from guideplug.config.tree import format_value
from guideplug.denoise.sample_weights import SampleWeights


@frozen
class Listing(Guider):
    """A guider with a weight, shares, a number and a list."""

    name = "listing"
    weight: float | WeightSchedule = option(2.0, help="a weight")
    shares: tuple[float | WeightSchedule, ...] | None = option(None, help="several weights")
    number: float = option(1.0, help="a number")
    levels: tuple[float, ...] = option((), help="numbers")

    def guide(self, base, models):
        return base


@pytest.mark.parametrize(
    ("expected", "kind"),
    [
        (float | WeightSchedule, WeightSchedule),
        (WeightSchedule | None, WeightSchedule),
        (WeightSchedule, WeightSchedule),
        (float, None),
        (tuple[float, ...], None),
        (tuple[float | WeightSchedule, ...] | None, None),
        (Guider, None),
    ],
    ids=str,
)
def test_where_a_list_stands_for_a_strategy(expected, kind):
    assert listed_kind(expected) is kind


@pytest.mark.parametrize("listed", [[3, 7.5], (3, 7.5)])
def test_a_list_by_place_and_by_name(listed):
    expected = SampleWeights((3.0, 7.5))
    assert Listing(listed).weight == Listing(weight=listed).weight == expected
    assert Listing(2.0, levels=listed).levels == listed
    assert format_value(write(Listing(listed).weight)) == "[3, 7.5]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": [1.0]}, r"number is \[1\.0\]: expected a number"),
        ({"weigth": [1.0]}, "Listing has no option 'weigth' .did you mean 'weight'"),
        ({"weight": ["a"]}, "weights is .*: expected a tuple, each a number"),
    ],
)
def test_other_lists_are_refused_as_ever(options, message):
    with pytest.raises(TypeError, match=message):
        Listing(**options)
    with pytest.raises(TypeError, match="takes 4 options, 5 were given"):
        Listing(2.0, None, 1.0, (), [1.0])
