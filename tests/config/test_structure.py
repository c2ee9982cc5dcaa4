"""Strategies from expressions and tables: examples, then every refusal."""

from typing import Any

import attrs
import pytest
from shelf import SHELF, Group, Leaf, Optionless, Other, Shelf, Thing, Two, Wrap, refusal, thing

from guideplug.config import (
    Duration,
    Reader,
    Strategy,
    option,
    parse,
    short,
)
from guideplug.config.tree import Call, Word
from guideplug.errors import ConfigError, ExpressionError, GuideplugError, PluginError, UnknownName
from guideplug.guide import Guider
from guideplug.registry.registry import Registry
from guideplug.select import Selector

REGISTRY = Registry.installed()


READER = Reader(REGISTRY)


def test_options_by_name_and_by_place() -> None:
    assert thing("leaf-thing(3.5, 4, true, strong)") == Leaf(3.5, 4, True, "strong")
    assert thing("leaf_thing(weight=3, pair=[1, 2], many=[1, 2.5], score=bad)") == Leaf(
        3.0, pair=(1.0, 2), many=(1.0, 2.5), score="bad"
    )
    assert type(thing("leaf-thing(weight=3)").weight) is float
    assert thing("leaf-thing(until=512it, maybe=3)") == Leaf(until=Duration(512, "it"), maybe=3.0)
    assert thing("leaf-thing(until=none, word=none)") == Leaf()
    assert thing("leaf-thing(word='none', text='none')") == Leaf(word="none", text="none")
    assert thing("leaf-thing(score=3)").score == 3


@pytest.mark.parametrize(
    ("option_text", "expected"),
    [
        ("flag='false'", "thing.flag is 'false': expected true or false"),
        ("flag=no", "thing.flag is no: expected true or false"),
        ("flag=0", "thing.flag is 0: expected true or false"),
        ("number=3.0", "thing.number is 3.0: expected a whole number"),
        ("number=true", "thing.number is true: expected a whole number"),
        ("number='2'", "thing.number is '2': expected a whole number"),
        ("weight='2'", "thing.weight is '2': expected a number"),
        ("weight=true", "thing.weight is true: expected a number"),
        ("weight=none", "thing.weight is none: expected a number"),
        ("weight=2s", "thing.weight is 2s: expected a number"),
        ("weight=[2]", "thing.weight is [2]: expected a number"),
        ("text=2", "thing.text is 2: expected a text"),
        ("text=[weak]", "thing.text is [weak]: expected a text"),
        ("score=god", "thing.score is god: choose one of good, bad, 3 (did you mean 'good'?)"),
        ("score=true", "thing.score is true: choose one of good, bad, 3"),
        ("score=3.0", "thing.score is 3.0: choose one of good, bad, 3"),
        ("pair=[1, 2, 3]", "thing.pair is [1, 2, 3]: it takes 2 values, not 3"),
        ("pair=3", "thing.pair is 3: expected a list in square brackets"),
        ("pair=[1, 2.0]", "thing.pair[1] is 2.0: expected a whole number"),
        ("many=[1, two]", "thing.many[1] is two: expected a number"),
        ("many=12", "thing.many is 12: expected a list in square brackets"),
        ("maybe=often", "thing.maybe is often: expected a number"),
        ("weight=nan", "thing: leaf-thing: weight is nan: it must be a finite number"),
        ("weight=inf", "thing: leaf-thing: weight is inf: it must be a finite number"),
        ("weight=-inf", "thing: leaf-thing: weight is -inf: it must be a finite number"),
    ],
)
def test_nothing_is_converted_in_silence(option_text: str, expected: str) -> None:
    assert refusal(f"leaf-thing({option_text})").startswith(expected)


@pytest.mark.parametrize("value", ["false", "true", "0", 0, 1, 1.0, None])
def test_toml_is_read_as_strictly(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^it\.flag is .*: expected true or false$"):
        SHELF.read({"name": "leaf-thing", "flag": value}, Thing, "it")


def test_tables() -> None:
    table = {
        "name": "wrap",
        "inner": {"name": "leaf_thing", "flag": True, "many": [1, 2], "until": "none", "text": "true"},
        "group": {"rate": 0.25},
        "named": {"a": 1},
    }
    wanted = Wrap(Leaf(flag=True, many=(1.0, 2.0), text="true"), Group(0.25), {"a": 1})
    assert SHELF.read(table, Thing, "it") == wanted
    assert SHELF.read({**table, "inner": "leaf-thing(flag=true, many=[1,2], text='true')"}, Thing, "it") == wanted
    with pytest.raises(ConfigError, match=r"^it\.name is 3: it must be the name of a strategy, in quotes$"):
        SHELF.read({"name": 3}, Thing, "it")
    with pytest.raises(ConfigError, match="no canonical strategy name"):
        SHELF.read({"name": "no name"}, Thing, "it")
    with pytest.raises(UnknownName, match="no thing is called 'table'"):
        SHELF.read({"weight": 3}, Thing, "it")


def test_unknown_options_get_the_nearest() -> None:
    assert refusal("leaf-thing(wieght=2)").startswith(
        "thing: leaf-thing has no option 'wieght' (did you mean 'weight'?); it has weight, number,"
    )
    assert refusal("plain(size=2)") == "thing: plain has no option 'size'; it has none"
    assert "'inner', did you" not in refusal("wrap(plain, wieght=2)")
    assert "has no option 'rat' (did you mean 'rate'?)" in refusal("wrap(plain, rat=2)")


def test_too_many_given_twice_and_missing() -> None:
    assert refusal("plain(1)") == "thing: plain takes no options, 1 were given"
    assert refusal(f"leaf-thing({', '.join('1' * 11)})") == "thing: leaf-thing takes 10 options, 11 were given"
    assert refusal("leaf-thing(2, weight=3)") == "thing: leaf-thing was given weight twice, by place and by name"
    assert "weight is given twice" in refusal("leaf-thing(weight=2, weight=3)", ExpressionError)
    assert refusal("wrap") == "thing: wrap needs inner: write wrap(inner=...)"
    assert refusal("two") == "thing: two needs left and right: write two(left=...)"
    assert refusal("wrap(two(plain))").startswith("thing.inner: two needs right")


def test_a_validators_own_message_is_kept() -> None:
    assert refusal("two(plain, plain)") == "thing: two: left and right are the same: give two things"
    assert refusal("wrap(plain, group=table(rate=2))") == (
        "thing.group: group: rate is 2.0: it must be between 0 and 1"
    )


def test_unknown_names_and_what_is_none() -> None:
    assert refusal("plan", UnknownName) == "no thing is called 'plan' (did you mean 'plain'?)"
    for text in ("3", "'./a b'", "./plain", "[plain]", "true", "512it"):
        assert "expected a thing, one of broken, leaf-thing, plain, two, wrap" in refusal(
            text if text != "'./a b'" else "[1]"
        )
    refusal("wrap(plain", ExpressionError)


@pytest.mark.parametrize("text", ["zip", "zip(big)", "zip(big(1:2:1))", "holder(inner=zip(big(1:2:1)))"])
def test_zip_is_no_strategy_and_its_refusal_says_what_it_is(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"zip\(...\) makes ranges go side by side in guideplug compare and in studies"
    ):
        Reader(REGISTRY).expression(text.replace("holder(inner=", "interval(guider="), Guider)


def test_presets() -> None:
    assert thing("wrapped") == Wrap(Leaf(number=7))
    assert thing("wrapped(number=8)") == Wrap(Leaf(number=8))
    assert thing("wrapped(weight=8, rate=0.1)") == Wrap(Leaf(8.0, number=7), Group(0.1))
    assert thing("two(wrapped, plain)") == Two(Wrap(Leaf(number=7)), Optionless())
    assert refusal("wrapped(8)") == "thing: wrapped is a preset for wrap(leaf-thing(number=7)): name its options"
    assert "has no option 'nmber' (did you mean 'number'?)" in refusal("wrapped(nmber=8)")
    assert refusal("wrapped(number=8.0)") == "thing.inner.number is 8.0: expected a whole number"
    refusal("broken", ExpressionError)


def test_early_jest_reaches_the_jest_inside() -> None:
    read = READER.expression
    plain: Any = read("early-jest", Selector)
    assert plain == read("early(jest)", Selector)
    assert read("early-jest(filter_ratio=0.5, until=9it)", Selector) == read(
        "early(jest(filter_ratio=0.5), until=9it)", Selector
    )
    assert read("early_jest(filter-ratio=0.5)", Selector) == read("early(jest(filter_ratio=0.5))", Selector)
    with pytest.raises(ConfigError, match=r"has no option 'filter_rato' \(did you mean 'filter_ratio'\?\)"):
        read("early-jest(filter_rato=0.5)", Selector)
    for ratio in ("0", "1", "0.0", "1.0", "-0.1", "1.5", "nan", "inf"):
        for text in (f"early-jest(filter_ratio={ratio})", f"jest(filter_ratio={ratio})", f"random({ratio})"):
            with pytest.raises(ConfigError, match=r"filter_ratio is .*: it must be between 0 and 1, both excluded"):
                read(text, Selector)


def test_options_of_the_inside_may_be_given_outside() -> None:
    assert thing("wrap(leaf-thing, number=4)") == Wrap(Leaf(number=4))
    assert thing("wrap(leaf-thing, rate=0.75)") == Wrap(Leaf(), Group(0.75))
    assert thing("wrap(wrap(leaf-thing), number=4)") == Wrap(Wrap(Leaf(number=4)))
    assert thing("two(leaf-thing, wrap(plain), number=4)") == Two(Leaf(number=4), Wrap(Optionless()))
    several = "thing: several options are called 'number': say thing.left.number or thing.right.number"
    assert refusal("two(leaf-thing, wrap(leaf-thing(number=2)), number=4)") == several


def test_replacing_one_option() -> None:
    nest = Two(Wrap(Leaf()), Leaf(number=9))

    def replaced(name: str, text: str, instance: Any = nest) -> Any:
        return SHELF.replaced(instance, name, parse(text), "it")

    assert replaced("left.inner.number", "4") == Two(Wrap(Leaf(number=4)), Leaf(number=9))
    assert replaced("left.number", "4") == Two(Wrap(Leaf(number=4)), Leaf(number=9))
    assert replaced("right", "plain") == Two(Wrap(Leaf()), Optionless())
    assert replaced("left.group.rate", "0.1") == Two(Wrap(Leaf(), Group(0.1)), Leaf(number=9))
    assert replaced("rate", "0.1") == Two(Wrap(Leaf(), Group(0.1)), Leaf(number=9))
    assert replaced("filter-ratio", "0.1", READER.expression("early-jest", Selector)).selector.filter_ratio == 0.1
    assert nest == Two(Wrap(Leaf()), Leaf(number=9))

    for name, text, message in [
        ("number", "4", "it: several options are called 'number': say it.left.number or it.right.number"),
        ("left.inner.number", "4.0", "it.left.inner.number is 4.0: expected a whole number"),
        ("left.inner.nunber", "4", "it.left.inner has no option 'nunber' (did you mean 'number'?); it has weight,"),
        ("left.inner.weight", "nan", "it.left.inner: weight is nan: it must be a finite number"),
        ("left", "leaf-thing(number=9)", "it: left and right are the same: give two things"),
        ("left.inner.number.deep", "4", "it.left.inner.number has no option 'deep'; it has none"),
    ]:
        with pytest.raises(ConfigError) as caught:
            replaced(name, text)
        assert str(caught.value).startswith(message)


def test_unstated_options_and_named_values() -> None:
    plain, some = Optionless(), Leaf(number=3)
    reader = attrs.evolve(SHELF, unstated={"inner": some, "weight": 9.0}, named={Thing: {"mine": plain}})
    assert reader.expression("wrap", Thing) == Wrap(some)
    assert reader.expression("wrap(plain)", Thing) == Wrap(plain)
    assert reader.expression("leaf-thing", Thing) == Leaf()  # what has a default keeps it
    assert reader.expression("mine", Thing) == plain
    assert reader.expression("wrap(mine)", Thing) == Wrap(plain)
    assert reader.read("mine", Thing, "it") == plain


def test_a_number_or_a_strategy_is_asked_for_in_one_line() -> None:
    def said(text: str) -> str:
        with pytest.raises(GuideplugError) as refused:
            SHELF.read(parse(text), float | Thing, "it")
        return str(refused.value)

    known = ", ".join(SHELF.catalog.names("thing"))
    for text in ("[1]", "true", "512it", "'2'"):
        assert said(text) == f"it is {text}: expected a number or a thing, one of {known}"
    assert said("plian") == "it is plian: expected a number, and no thing is called 'plian' (did you mean 'plain'?)"
    assert said("leaf-thing(rate=1)").startswith("it: leaf-thing has no option 'rate'")


def test_numbers_that_are_required_are_written_by_their_place() -> None:
    @attrs.frozen
    class Many(Strategy):
        kind = "thing"
        name = "many"
        first: Thing = option(help="a strategy")
        low: float = option(help="a number")
        high: float = option(help="a number")
        inner: Thing = option(help="a strategy")
        last: float = option(help="a number")

    assert short(Many(Leaf(), 1.0, 2.5, Leaf(), 3.0)) == "many(leaf-thing, 1.0, 2.5, inner=leaf-thing, last=3.0)"


def test_a_union_of_kinds_takes_the_one_that_knows_the_name() -> None:
    assert SHELF.read(parse("leaf-thing"), Thing | Other, "it") == Leaf()
    assert SHELF.read(parse("leaf-thing"), Other | Thing, "it") == Leaf()
    assert SHELF.read("leaf-thing(number=2)", Other | Thing, "it") == Leaf(number=2)
    assert SHELF.read(parse("plain(size=2)"), Other | Thing, "it") == Other(2)
    for union in (Thing | Other, Other | Thing):
        with pytest.raises(ConfigError, match=r"^it\.number is 2\.0: expected a whole number"):
            SHELF.read(parse("leaf-thing(number=2.0)"), union, "it")
        with pytest.raises(UnknownName, match="no thing is called 'plian'"):
            SHELF.read(parse("wrap(plian)"), union, "it")
        with pytest.raises(UnknownName, match="is called 'plian'"):
            SHELF.read(parse("plian"), union, "it")


def test_mappings() -> None:
    assert thing("wrap(plain, named=table(a=1, b=2))").named == {"a": 1, "b": 2}
    assert refusal("wrap(plain, named=table(a=1.0))") == "thing.named.a is 1.0: expected a whole number"
    assert refusal("wrap(plain, named=[1])") == "thing.named is [1]: expected a table of names and values"
    assert refusal("wrap(plain, group=3)") == "thing.group is 3: expected a table of options"


def test_what_cannot_be_configured_is_a_bug_of_the_plugin() -> None:
    @attrs.frozen
    class Odd(Thing):
        name = "odd"
        file: bytes = option(b"", help="b")

        def do(self) -> None: ...

    with pytest.raises(TypeError, match=r"it\.file: options of type <class 'bytes'> cannot be configured"):
        attrs.evolve(SHELF)._build(Odd, Call("odd", (Word("x"),)), "it", "odd")


def test_short_leaves_defaults_out() -> None:
    assert short(Wrap(Leaf(number=4), Group(0.75))) == "wrap(leaf-thing(number=4), group=table(rate=0.75, count=1))"
    assert short(Leaf()) == "leaf-thing"
    assert short(READER.expression("early-jest(filter_ratio=0.5)", Selector)) == "early(jest(filter_ratio=0.5))"


def test_two_plugins_of_one_name_stop_the_reader() -> None:
    class Torn(Shelf):
        def find(self, kind: str, name: str) -> Any:
            raise PluginError("two of them")

    with pytest.raises(PluginError):
        Reader(Torn()).expression("plain", Thing)
