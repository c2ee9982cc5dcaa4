"""Strategies from expressions and tables, and back: laws over everything installed, then every refusal."""

import abc
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

import attrs
import pytest
import tomli_w
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from guideplug.config import (
    Duration,
    Expression,
    Reader,
    Strategy,
    between,
    finite,
    format_value,
    means_none,
    option,
    parse,
    short,
    write,
)
from guideplug.config.tree import Call, ListValue, Word
from guideplug.config.tree import Literal as Constant
from guideplug.errors import ConfigError, ExpressionError, GuideplugError, PluginError, UnknownName, nearest
from guideplug.guide import Guider
from guideplug.recipes import FineTune, Snapshot, Synthetic, Train
from guideplug.registry.registry import KINDS, Registry
from guideplug.select import Selector
from guideplug.task import Task
from guideplug.train import Schedule

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
ABSTRACT: dict[str, Any] = {kind.kind: kind for kind in KINDS.values()} | {"schedule": Schedule}

# Every option of every installed strategy, at random: from the types that the options declare.

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8) | st.sampled_from(
    ["weak", "none", "true", "1", "512it", "a(b)", "./x.safetensors", "", "'", '"', "\\", "tree"]
)
RANGES = [(1e-6, 0.1), (0.1, 0.9), (1.0, 1e6), (-1e6, -1.0)]
FLOATS = st.floats(allow_nan=False) | st.integers(0, 10**6).map(float)  # nan differs from itself
DURATIONS = st.builds(Duration, st.integers(1, 10**9).map(float), st.sampled_from(["it", "ex"])) | st.builds(
    Duration, st.floats(1e-9, 1e9), st.just("s")
)


def _known(kind: type[Strategy]) -> list[type[Strategy]]:
    return [
        offer.what
        for plugin in REGISTRY.plugins
        for offer in plugin.offers
        if isinstance(offer.what, type) and issubclass(offer.what, kind)
    ]


def _values(expected: Any, depth: int, floats: st.SearchStrategy[float] = FLOATS) -> st.SearchStrategy[Any]:
    origin = get_origin(expected)
    if origin in (Union, types.UnionType):
        kinds = get_args(expected)
        if depth <= 0 and type(None) in kinds:
            return st.none()
        values = st.one_of(*(_values(kind, depth, floats) for kind in kinds))
        return values.filter(lambda value: not means_none(value)) if type(None) in kinds else values  # TOML has no null
    if origin is Literal:
        return st.sampled_from(get_args(expected))
    if origin is tuple and get_args(expected)[1:] == (Ellipsis,):
        return st.lists(_values(get_args(expected)[0], depth, floats), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(_values(kind, depth, floats) for kind in get_args(expected)))
    if origin is not None and issubclass(origin, Mapping):
        if depth <= 0:
            return st.just({})
        return st.dictionaries(
            st.sampled_from(["weak", "omega", "main2"]), _values(get_args(expected)[1], depth), max_size=1
        )
    plain: dict[Any, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        bool: st.booleans(),
        int: st.integers(0, 10**6),
        float: floats,
        str: TEXTS,
        Expression: st.sampled_from(["cfg", "cfg(weight=1.25:3.5:0.25)", "blend([cfg, a], shares=[0.5, 1])"]),
        Duration: DURATIONS,
    }
    if expected in plain:
        return plain[expected]
    if _is_abstract(expected):
        found = _known(expected)
        if depth <= 0:  # the shallow ones, where there are any
            found = [cls for cls in found if not any(_is_abstract(a.type) for a in _fields(cls))] or found
            found = [cls for cls in found if cls.name in ("train", "load")] or found
        return st.sampled_from(found).flatmap(lambda cls: _instances(cls, depth - 1))
    return _instances(expected, depth - 1)


def _is_abstract(expected: Any) -> bool:
    return isinstance(expected, type) and issubclass(expected, Strategy) and bool(expected.__abstractmethods__)


def _fields(cls: Any) -> "list[attrs.Attribute[Any]]":
    attrs.resolve_types(cls)
    return [attribute for attribute in attrs.fields(cls) if attribute.init]


def _floats(attribute: "attrs.Attribute[Any]") -> st.SearchStrategy[float]:
    """Numbers that the option's validators let pass, so that few examples are thrown away."""
    many = get_origin(attribute.type) is tuple
    fitting = [ends for ends in RANGES if all(_fits(attribute, (end, end) if many else end) for end in ends)]
    return FLOATS if len(fitting) in (0, len(RANGES)) else st.one_of(*(st.floats(*ends) for ends in fitting))


def _fits(attribute: "attrs.Attribute[Any]", value: Any) -> bool:
    try:
        if attribute.validator is not None:
            attribute.validator(None, attribute, value)
    except (ValueError, TypeError):
        return False
    return True


def _instances(cls: Any, depth: int) -> st.SearchStrategy[Any]:
    def option_values(attribute: "attrs.Attribute[Any]") -> st.SearchStrategy[Any]:
        if cls is FineTune and attribute.name == "on":
            return _instances(Synthetic, depth - 1) | _values(Task, depth)
        if attribute.name in ("builder", "function", "operator"):
            return st.sampled_from(["mypkg:build", "a.b:c", "/x y/mine.py:build"])
        if getattr(cls, "name", "") in ("fine-tune", "generation") and attribute.name == "of":
            return _instances(Train, depth - 1)
        if getattr(cls, "name", "") == "auxiliary":
            return _instances(REGISTRY.find("recipe", "generation"), depth)
        return _values(attribute.type, depth, _floats(attribute)).filter(lambda value: _fits(attribute, value))

    if cls is Snapshot:  # a moment of a training, and one of its averages
        trainings = _instances(Train, depth)
        return trainings.flatmap(
            lambda of: st.builds(
                cls,
                of=st.just(of),
                at=st.sampled_from([None, Duration(1, "it")]),
                ema=st.sampled_from([None, *of.options.ema]),
            )
        )

    @st.composite
    def build(draw: st.DrawFn) -> Any:
        given: dict[str, Any] = {}
        for attribute in _fields(cls):
            if attribute.default is attrs.NOTHING or draw(st.booleans()):
                given[attribute.name] = draw(option_values(attribute))
        try:
            return cls(**given)
        except ValueError:  # options that do not go together
            assume(False)
            raise

    return build()


def _classes() -> list[type[Strategy]]:
    return sorted(_known(Strategy), key=lambda cls: (cls.kind, cls.name))


def _abstract(cls: type[Strategy]) -> Any:
    return next(base for base in cls.__mro__ if _is_abstract(base))


def _table(value: Any) -> Any:
    """A tree of the grammar as TOML's values: calls as tables, the rest plain."""
    match value:
        case Call(name):
            named = {} if name == "table" else {"name": name}
            return named | {keyword.name: _table(keyword.value) for keyword in value.kwargs}
        case ListValue(items):
            return [_table(item) for item in items]
        case Constant(None):
            return "none"
        case Constant(plain):
            return plain
        case Word(text):
            return text
    return format_value(value)


@pytest.mark.parametrize("cls", _classes(), ids=lambda cls: f"{cls.kind}-{cls.name}")
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_written_reads_back(cls: type[Strategy], data: st.DataObject) -> None:
    strategy = data.draw(_instances(cls, 1))
    kind = _abstract(cls)
    tree = write(strategy)
    assert READER.read(tree, kind, "it") == strategy
    text = format_value(tree)
    if len(text) <= 4000:
        assert parse(text) == tree
        assert READER.expression(text, kind) == strategy
        assert READER.read(text, kind, "it") == strategy  # as a string in TOML
        assert READER.expression(short(strategy), kind) == strategy
    toml = tomllib.loads(tomli_w.dumps({"it": _table(tree)}))
    assert READER.read(toml["it"], kind, "it") == strategy


@pytest.mark.parametrize("cls", _classes(), ids=lambda cls: f"{cls.kind}-{cls.name}")
def test_a_name_alone_means_the_defaults(cls: Any) -> None:
    if any(attribute.default is attrs.NOTHING for attribute in _fields(cls)):
        with pytest.raises(ConfigError, match=f"^{cls.kind}: {cls.name} needs "):
            READER.expression(cls.name, _abstract(cls))
    else:
        assert READER.expression(cls.name, _abstract(cls)) == cls()
        assert READER.expression(cls.name.replace("-", "_") + "()", _abstract(cls)) == cls()
        assert short(cls()) == cls.name


# A catalog of its own, for examples: one kind, known to nobody.


class Thing(Strategy):
    kind: ClassVar[str] = "thing"

    @abc.abstractmethod
    def do(self) -> None: ...


@attrs.frozen
class Group:
    """Options that belong together."""

    rate: float = option(0.5, help="a rate", validator=between(0, 1))
    count: int = option(1, help="a count")


@attrs.frozen
class Leaf(Thing):
    name = "leaf-thing"
    weight: float = option(2.0, help="w", validator=finite)
    number: int = option(1, help="n")
    flag: bool = option(False, help="f")
    text: str = option("weak", help="t")
    score: Literal["good", "bad", 3] = option("good", help="s")
    pair: tuple[float, int] = option((1.0, 2), help="p")
    many: tuple[float, ...] = option((), help="m")
    until: Duration | None = option(None, help="u")
    maybe: float | None = option(None, help="y")
    word: str | None = option(None, help="o")

    def do(self) -> None: ...


@attrs.frozen
class Wrap(Thing):
    name = "wrap"
    inner: Thing = option(help="what is wrapped")
    group: Group = option(factory=Group, help="options")
    named: Mapping[str, int] = option(factory=dict, help="numbers")

    def do(self) -> None: ...


@attrs.frozen
class Two(Thing):
    name = "two"
    left: Thing = option(help="one")
    right: Thing = option(help="other")

    def __attrs_post_init__(self) -> None:
        if self.left == self.right:
            raise ValueError("left and right are the same: give two things")

    def do(self) -> None: ...


@attrs.frozen
class Optionless(Thing):
    name = "plain"

    def do(self) -> None: ...


@attrs.frozen
class Other(Strategy):
    """Another kind with a name that things have, too."""

    kind: ClassVar[str] = "other"
    name = "plain"
    size: int = option(1, help="s")


class Shelf:
    THINGS: Mapping[str, Any] = {
        **{cls.name: cls for cls in (Leaf, Wrap, Two, Optionless)},
        "wrapped": "wrap(leaf-thing(number=7))",
        "broken": "wrap(leaf-thing",
    }

    def names(self, kind: str) -> list[str]:
        return sorted(self.THINGS) if kind == "thing" else ["plain"] if kind == "other" else []

    def find(self, kind: str, name: str) -> Any:
        if name not in self.names(kind):
            raise UnknownName(f"no {kind} is called {name!r}{nearest(name, self.names(kind))}")
        return Other if kind == "other" else self.THINGS[name]


SHELF = Reader(Shelf())


def thing(text: str) -> Any:
    return SHELF.expression(text, Thing)


def refusal(text: str, error: type[GuideplugError] = ConfigError) -> str:
    with pytest.raises(error) as caught:
        thing(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


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


def test_weights_that_are_not_finite_are_refused() -> None:
    for cls in REGISTRY.classes(KINDS["guideplug_guiders"]):
        for value in ("nan", "inf", "-inf"):
            if "weight" in {attribute.name for attribute in _fields(cls)} and cls.name in ("cfg", "autoguidance"):
                with pytest.raises(ConfigError, match=f"^guider: {cls.name}: weight is {value}: "):
                    READER.expression(f"{cls.name}(weight={value})", _abstract(cls))


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


# Durations


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("512it", 512, "it"),
        ("3.3Mex", 3_300_000, "ex"),
        ("0.1kit", 100, "it"),
        ("4.096kit", 4096, "it"),
        ("1e3it", 1000, "it"),
        ("90s", 90, "s"),
        ("0.5s", 0.5, "s"),
        ("10m", 600, "s"),
        ("10min", 600, "s"),
        ("2h", 7200, "s"),
        ("  512it ", 512, "it"),
    ],
)
def test_durations(text: str, amount: float, unit: Any) -> None:
    duration = Duration.of(text)
    assert duration == Duration(amount, unit)
    assert Duration.of(str(duration)) == duration
    assert Duration.of(format_value(duration.quantity)) == duration
    assert Duration.of(duration) is duration


@pytest.mark.parametrize(
    "value",
    ["512", "12x", "it", "5 it", "", "512it s", "1d", "3Mit2", "1:2:3it", "nan", "infit", "[1it]", 5, 5.0, None],
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ConfigError, match="no duration"):
        Duration.of(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0it", "a duration of 0it: it must be positive"),
        ("-5it", "a duration of -5it: it must be positive"),
        ("0s", "a duration of 0s: it must be positive"),
        ("1.5it", "a duration of 1.5it: iterations and examples are whole numbers"),
        ("0.0001kex", "a duration of 0.1ex: iterations and examples are whole numbers"),
    ],
)
def test_durations_out_of_range(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="a duration of") as caught:
        Duration.of(text)
    assert str(caught.value) == reason
    assert refusal(f"leaf-thing(until={text})") == f"thing.until: {reason}"


def test_a_duration_that_is_not_finite_is_refused() -> None:
    for amount in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="it must be positive"):
            Duration(amount, "s")


@given(st.integers(1, 10**7), st.integers(1, 1000))
def test_a_part_of_a_whole_duration_is_rounded_up(amount: int, parts: int) -> None:
    assert Duration(amount, "it").part(1 / parts).amount == -(-amount // parts)
    assert Duration(amount, "ex").part(1 / parts).unit == "ex"
    assert Duration(amount, "it").part(1) == Duration(amount, "it")


def test_parts() -> None:
    assert Duration(4096, "it").part(1 / 8) == Duration(512, "it")
    assert Duration(100, "it").part(0.55) == Duration(55, "it")  # 55.00000000000001
    assert Duration(1, "it").part(1e-12) == Duration(1, "it")
    assert Duration(1, "s").part(1 / 8) == Duration(0.125, "s")


def test_types_of_options_are_all_known() -> None:
    """Every option of everything installed can be configured: its type is one that the reader knows."""
    for cls in _classes():
        for attribute in _fields(cls):
            assert not isinstance(attribute.type, str), f"{cls.__name__}.{attribute.name}"
            with pytest.raises(GuideplugError):
                READER.read(object() if typing.get_origin(attribute.type) else parse("[[1]]"), attribute.type, "it")
