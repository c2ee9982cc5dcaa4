"""Strategies from expressions and tables, and back: laws over everything installed."""

import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

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
    format_value,
    means_none,
    parse,
    short,
    write,
)
from guideplug.config.tree import Call, ListValue, Word
from guideplug.config.tree import Literal as Constant
from guideplug.errors import ConfigError, GuideplugError
from guideplug.recipes import FineTune, Snapshot, Synthetic, Train
from guideplug.registry.registry import KINDS, Registry
from guideplug.task import Task

REGISTRY = Registry.installed()


READER = Reader(REGISTRY)


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


def _floats(cls: Any, attribute: "attrs.Attribute[Any]") -> st.SearchStrategy[float]:
    """Numbers that the option's validators let pass, so that few examples are thrown away."""
    many = get_origin(attribute.type) is tuple
    fitting = [ends for ends in RANGES if all(_fits(cls, attribute, (end, end) if many else end) for end in ends)]
    return FLOATS if len(fitting) in (0, len(RANGES)) else st.one_of(*(st.floats(*ends) for ends in fitting))


def _fits(cls: Any, attribute: "attrs.Attribute[Any]", value: Any) -> bool:
    try:
        if attribute.validator is not None:
            attribute.validator(cls.__new__(cls), attribute, value)
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
        values = _values(attribute.type, depth, _floats(cls, attribute))
        return values.filter(lambda value: _fits(cls, attribute, value))

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
                given[attribute.alias] = draw(option_values(attribute))
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


@pytest.mark.slow
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


def test_weights_that_are_not_finite_are_refused() -> None:
    for cls in REGISTRY.classes(KINDS["guideplug_guiders"]):
        for value in ("nan", "inf", "-inf"):
            if "weight" in {attribute.name for attribute in _fields(cls)} and cls.name in ("cfg", "autoguidance"):
                with pytest.raises(ConfigError, match=f"^guider: {cls.name}: weight is {value}: "):
                    READER.expression(f"{cls.name}(weight={value})", _abstract(cls))


def test_types_of_options_are_all_known() -> None:
    """Every option of everything installed can be configured: its type is one that the reader knows."""
    for cls in _classes():
        for attribute in _fields(cls):
            assert not isinstance(attribute.type, str), f"{cls.__name__}.{attribute.name}"
            with pytest.raises(GuideplugError):
                READER.read(object() if typing.get_origin(attribute.type) else parse("[[1]]"), attribute.type, "it")
