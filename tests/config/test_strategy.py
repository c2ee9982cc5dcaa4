"""Options and their validators: what they refuse, and what they keep beside the default."""

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideplug.config import Duration, Source, at_least, between, finite, non_negative, option, positive, up_to
from guideplug.errors import brief

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


def is_representable(value: float) -> bool:
    if isinstance(value, int):
        return abs(value) < 2**63
    return not math.isfinite(value) or value == 0 or 2.0**-126 <= abs(value) < 2.0**128


@given(NUMBERS | st.sampled_from([0, 0.0, -0.0, 1, 1.0, math.nan, math.inf, -math.inf, 5e-324]))
def test_validators_accept_exactly_what_their_rule_says(value: float) -> None:
    for name, rule in RULES.items():
        if rule(value) and is_representable(value):
            assert getattr(Holder(**{name: value}), name) is value
        else:
            with pytest.raises(ValueError, match=f"^{name} is .*: it must be ") as caught:
                Holder(**{name: value})
            assert brief(repr(value)) in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [10**19, -(10**19), 10**5000, 1e39, -1e39, 1e-320, -1e-320, math.nan, [1.0, math.nan], (1, 10**400)],
    ids=lambda value: "",
)
def test_every_option_refuses_what_no_network_can_compute_with(value: Any) -> None:
    @attrs.frozen
    class Plain:
        value: Any = option(help="anything")

    with pytest.raises(ValueError, match=r"^value is .*: it must be ") as caught:
        Plain(value)
    assert len(str(caught.value)) < 200
    assert Plain((True, 1.0, "1e39", math.inf, 2**63 - 1)).value


def test_up_to_names_both_bounds_and_adds_the_upper_one_to_the_help() -> None:
    @attrs.frozen
    class Counted:
        count: int | tuple[int, ...] | None = option(2, help="how many", validator=up_to(1_000, least=2))

    assert attrs.fields(Counted).count.metadata["help"] == "how many; at most 1,000"
    assert [Counted(value).count for value in (None, 2, 1_000)] == [None, 2, 1_000]
    for value, rule in [(1, "at least 2"), ((2, 1), "at least 2")] + [(n, "at most 1,000") for n in (1_001, 10**5000)]:
        with pytest.raises(ValueError, match=rf"^count is .*: it must be {rule}$"):
            Counted(value)


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
    @attrs.frozen
    class Perhaps:
        value: float | None = option(1.0, help="a", validator=finite)

    assert Perhaps(None).value is None


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
