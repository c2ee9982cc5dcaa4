"""The walk over nested strategies, and their rewriting: properties of random nests, and of what is installed."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, cast, final

import attrs
import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guideplug import Duration, Registry, Strategy, TrainOptions
from guideplug.config import inner, option, rewrite, rewrite_inner, walk


class Nested(Strategy):
    """A kind."""

    kind: ClassVar[str] = "nested"
    value: int


@final
@frozen
class Nest(Nested):
    """A strategy with others in every way that options hold them; ``group`` is no strategy."""

    name = "nest"
    value: int = option(0, help="a number")
    one: Any = option(None, help="one")
    many: tuple[Any, ...] = option((), help="several, in tuples and lists")
    named: Mapping[str, Any] = option(factory=dict, help="several, by name")
    group: Any = option(None, help="options in a group")


@final
@frozen
class Other(Strategy):
    """A strategy of another kind, with nests inside."""

    kind: ClassVar[str] = "other"
    name = "other"
    nest: Any = option(None, help="one")


@frozen
class Group:
    """No strategy."""

    nest: Any = None
    private: int = attrs.field(default=3, alias="_odd")
    later: Any = attrs.field(init=False, default=None)


WHOLE = st.integers(-(2**63) + 1, 2**63 - 1)
LEAVES = (
    st.none()
    | st.booleans()
    | WHOLE
    | st.text(max_size=3)
    | st.floats(allow_nan=False, width=32, allow_subnormal=False)
)


def _nests(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(parts, max_size=3)
    tables = st.dictionaries(st.text(max_size=2), parts, max_size=3)
    return (
        st.builds(Nest, WHOLE, parts, lists.map(tuple), tables, st.builds(Group, parts))
        | st.builds(Other, parts)
        | lists
        | tables
    )


VALUES = st.recursive(LEAVES, _nests, max_leaves=12)


def nested_values(test: Any) -> Any:
    """The test on random values; few, and no clock that a busy machine could miss."""
    return settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))(given(VALUES)(test))


def _slow(value: Any) -> Iterator[Nest]:
    """What a walk gives, written out for the classes here."""
    if isinstance(value, Nest):
        yield value
        for part in (value.one, value.many, value.named, value.group):
            yield from _slow(part)
    elif isinstance(value, Other | Group):
        yield from _slow(value.nest)
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _slow(part)


def _ids(values: Any) -> list[int]:
    return [id(value) for value in values]


@nested_values
def test_a_walk_visits_each_once_and_before_those_inside_it(value: Any) -> None:
    assert _ids(walk(value, Nested)) == _ids(_slow(value))


@nested_values
def test_a_walk_is_the_nearest_ones_each_with_its_own_walk(value: Any) -> None:
    tops = [value] if isinstance(value, Nested) else inner(value, Nested)
    nested = [
        item for top in tops for item in (top, *(part for near in inner(top, Nested) for part in walk(near, Nested)))
    ]
    assert _ids(walk(value, Nested)) == _ids(nested)


@nested_values
def test_what_a_walk_may_not_enter_is_given_and_what_is_inside_is_not(value: Any) -> None:
    pruned = _ids(walk(value, Nested, into=lambda item: item.value % 2 == 0))
    hidden = {
        id(part)
        for top in walk(value, Nested)
        if top.value % 2
        for near in inner(top, Nested)
        for part in walk(near, Nested)
    }
    assert pruned == [number for number in _ids(walk(value, Nested)) if number not in hidden]


@nested_values
def test_a_walk_of_all_strategies_holds_that_of_a_kind(value: Any) -> None:
    assert _ids(item for item in walk(value, Strategy) if isinstance(item, Nested)) == _ids(walk(value, Nested))


@nested_values
def test_a_rewrite_that_changes_nothing_gives_the_same_object(value: Any) -> None:
    assert rewrite(value, lambda item: item, Nested) is value
    assert rewrite_inner(value, lambda item: item, Nested) is value


@nested_values
def test_a_rewrite_changes_every_one_and_nothing_else(value: Any) -> None:
    changed = rewrite(value, lambda item: attrs.evolve(cast(Any, item), value=item.value + 1), Nested)
    assert [item.value for item in walk(changed, Nested)] == [item.value + 1 for item in walk(value, Nested)]
    back = rewrite(changed, lambda item: attrs.evolve(cast(Any, item), value=item.value - 1), Nested)
    assert back == value
    assert type(back) is type(value)


@nested_values
def test_a_rewrite_takes_each_after_those_inside_it_with_their_changes(value: Any) -> None:
    order: list[int] = []

    def counted(item: Nested) -> Nested:
        assert all(part.value < 0 for near in inner(item, Nested) for part in walk(near, Nested))
        order.append(item.value)
        return cast(Nested, attrs.evolve(cast(Any, item), value=-1))

    rewrite(value, counted, Nested)

    def after(item: Any) -> Iterator[int]:
        for near in inner(item, Nested):
            yield from after(near)
        if isinstance(item, Nested):
            yield item.value

    assert order == list(after(value))


@nested_values
def test_a_rewrite_of_the_nearest_leaves_the_value_and_what_is_inside_them(value: Any) -> None:
    taken: list[Nested] = []

    def noted(item: Nested) -> str:
        taken.append(item)
        return "changed"

    changed = rewrite_inner(value, noted, Nested)
    assert _ids(taken) == _ids(inner(value, Nested))
    assert not list(inner(changed, Nested))
    assert type(changed) is type(value)


def test_parts_that_did_not_change_are_the_same_objects() -> None:
    kept, other = Nest(1, one=Nest(2)), Nest(3)
    whole = Nest(0, many=(kept, other), named={"kept": kept}, group=Group(kept))
    changed = rewrite(whole, lambda item: attrs.evolve(cast(Any, item), value=4) if item is other else item, Nested)
    assert changed.many == (kept, Nest(4))
    assert changed.many[0] is kept
    assert changed.named is whole.named
    assert changed.group is whole.group


def test_groups_of_options_are_rewritten_with_their_odd_fields() -> None:
    changed = rewrite_inner(Group(Nest(1)), lambda item: Nest(2), Nested)
    assert changed == Group(Nest(2))


class Pair(NamedTuple):
    """A tuple that takes its parts one by one."""

    nest: Any
    number: int


def test_named_tuples_stay_what_they_are() -> None:
    pair = Pair(Nest(1), 2)
    changed = rewrite([pair], lambda item: Nest(3), Nested)
    assert changed == [Pair(Nest(3), 2)]
    assert isinstance(changed[0], Pair)
    assert rewrite(pair, lambda item: item, Nested) is pair


def test_texts_classes_and_sets_are_leaves() -> None:
    value = ["text", b"bytes", Nest, {Other}, frozenset({1}), range(3)]
    assert list(walk(value, Strategy)) == []
    assert rewrite_inner(value, lambda item: None, Strategy) is value


def test_what_a_class_refuses_is_raised() -> None:
    with pytest.raises(ValueError, match="batch"):
        rewrite(
            TrainOptions(duration=Duration(1, "it"), batch=1),
            lambda options: attrs.evolve(options, batch=0),
            TrainOptions,
        )


@pytest.mark.parametrize("kind", ["guider", "recipe", "selector"])
def test_installed_strategies_come_back_from_a_rewrite(kind: str) -> None:
    registry = Registry.installed()
    for name in registry.names(kind):
        cls = registry.find(kind, name)
        if isinstance(cls, str) or any(field.default is attrs.NOTHING for field in attrs.fields(cast(Any, cls))):
            continue
        strategy = cls()
        assert next(walk(strategy, Strategy)) is strategy
        assert rewrite(strategy, lambda item: item, Strategy) is strategy
        again = rewrite(strategy, lambda item: attrs.evolve(cast(Any, item)), Strategy)
        assert again == strategy
        assert again is not strategy
