"""Options and their validators: what they refuse, and what they keep beside the default."""

import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideplug.config import Duration, Source, at_least, between, finite, non_negative, option, positive

NUMBERS = st.floats() | st.integers(-(10**9), 10**9)


@attrs.frozen
class Holder:
    finite: float = option(1.0, help="a", validator=finite)
    positive: float = option(1.0, help="b", validator=positive)
    non_negative: float = option(1.0, help="c", validator=non_negative)
    closed: float = option(0.5, help="d", validator=between(0, 1))
    open: float = option(0.5, help="e", validator=between(0, 1, ends=False))
    above: float = option(2.0, help="f", validator=at_least(2))


RULES = {
    "finite": math.isfinite,
    "positive": lambda value: math.isfinite(value) and value > 0,
    "non_negative": lambda value: math.isfinite(value) and value >= 0,
    "closed": lambda value: 0 <= value <= 1,
    "open": lambda value: 0 < value < 1,
    "above": lambda value: value >= 2,
}


@given(NUMBERS | st.sampled_from([0, 0.0, -0.0, 1, 1.0, math.nan, math.inf, -math.inf, 5e-324]))
def test_validators_accept_exactly_what_their_rule_says(value: float) -> None:
    for name, rule in RULES.items():
        if rule(value):
            assert getattr(Holder(**{name: value}), name) is value
        else:
            with pytest.raises(ValueError, match=f"^{name} is .*: it must be ") as caught:
                Holder(**{name: value})
            assert repr(value) in str(caught.value)


def test_messages_say_the_rule() -> None:
    for name, rule in [
        ("finite", "a finite number"),
        ("positive", "positive and finite"),
        ("non_negative", "finite and at least 0"),
        ("closed", "between 0 and 1"),
        ("open", "between 0 and 1, both excluded"),
        ("above", "at least 2"),
    ]:
        with pytest.raises(ValueError, match="must be") as caught:
            Holder(**{name: math.nan})
        assert str(caught.value) == f"{name} is nan: it must be {rule}"


def test_finite_lets_what_is_no_number_pass() -> None:
    assert Holder(finite=None).finite is None  # type: ignore[arg-type]


def test_an_option_keeps_help_unit_and_default() -> None:
    @attrs.frozen
    class Some:
        needed: int = option(help="must be given", validator=[positive, between(0, 9)])
        plain: int = option(3, help="how many", unit="steps")
        made: list[int] = option(factory=list, help="a new one each time")
        until: Duration = option(Duration(1, "it"), help="when", converter=Duration.of)

    fields = {attribute.name: attribute for attribute in attrs.fields(Some)}
    assert fields["plain"].metadata == {"help": "how many", "unit": "steps", "identity": True}
    assert fields["needed"].metadata == {"help": "must be given", "unit": "", "identity": True}
    assert fields["needed"].default is attrs.NOTHING
    one, two = Some(needed=1), Some(needed=1)
    assert (one.plain, one.made) == (3, [])
    assert one.made is not two.made
    assert Some(needed=1, until="7it").until == Duration(7, "it")
    with pytest.raises(ValueError, match="needed is 0: it must be positive"):
        Some(needed=0)
    with pytest.raises(ValueError, match="needed is 10: it must be between 0 and 9"):
        Some(needed=10)


def test_a_source_reads_as_a_reference() -> None:
    source = Source("A. Author", 2024, "A Title", "https://example.org", "eq. 6")
    assert str(source) == "A. Author 2024, 'A Title', https://example.org, eq. 6"
    assert str(attrs.evolve(source, equation="")) == "A. Author 2024, 'A Title', https://example.org"
