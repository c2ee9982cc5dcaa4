"""Conversion between values of the grammar or of TOML and strategies.

`Reader.read` checks every option against its declared type and never converts silently: a string is not a number,
"false" not a boolean, 3.0 not an integer. Errors name the path to the value, the option, the expected type, and the
nearest known name. `write` is the inverse: ``read(write(strategy)) == strategy``, with every option spelled out.

Names are looked up in a `Catalog`, such as the registry of plugins.
"""

import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, Union, get_args, get_origin

import attrs

from guideplug.config.duration import Duration
from guideplug.config.grammar import parse
from guideplug.config.none import means_none
from guideplug.config.strategy import Expression, Strategy
from guideplug.config.tree import (
    PAIRED,
    Call,
    Keyword,
    ListValue,
    Quantity,
    Range,
    Value,
    Word,
    field_name,
    format_value,
    strategy_name,
)
from guideplug.config.tree import Literal as Constant
from guideplug.errors import ConfigError, UnknownName, nearest

__all__ = ["Catalog", "Reader", "replace_option", "short", "write"]


class Catalog(Protocol):
    """The catalog in which names are looked up."""

    def find(self, kind: str, name: str) -> type[Strategy] | str:
        """The class of a strategy, or the expression of a preset. Raises `UnknownName` or `PluginError`."""

    def names(self, kind: str) -> Sequence[str]:
        """The names known for a kind."""


@attrs.frozen
class Reader:
    """Reads values into typed options.

    Args:
        catalog: the known strategies.
        named: values of bare words, by type: for instance the recipes of other roles.
        unstated: values of omitted options without a default, by name; for instance those of the main recipe.
        inherited: values of omitted options that replace their defaults, by kind and name.
    """

    catalog: Catalog
    named: Mapping[type, Mapping[str, Any]] = attrs.field(factory=dict)
    unstated: Mapping[str, Any] = attrs.field(factory=dict)
    inherited: Mapping[tuple[str, str], Any] = attrs.field(factory=dict)

    def expression(self, text: str, kind: type[Strategy], path: str = "") -> Any:
        """The strategy of an expression.

        Raises:
            ExpressionError, ConfigError, UnknownName, PluginError: the expression is invalid; the message names where.
        """
        return self.read(parse(text), kind, path or kind.kind)

    def read(self, value: object, expected: Any, path: str) -> Any:
        """The value as an instance of the type ``expected``, which may be a union, tuple, mapping or strategy."""
        if isinstance(value, dict) and not _is(expected, Mapping):
            value = _call(value, path)
        origin = get_origin(expected)
        if expected is Any:
            return value
        if origin in (Union, types.UnionType):
            return self._union(value, get_args(expected), path)
        if origin is Literal:
            return self._choice(value, get_args(expected), path)
        if origin is tuple:
            return self._tuple(value, get_args(expected), path)
        if _is(expected, Mapping):
            return self._mapping(value, get_args(expected), path)
        if expected is type(None):
            return _constant(value, path, "none", lambda tree: tree is None)
        if expected is bool:
            return _constant(value, path, "true or false", lambda tree: isinstance(tree, bool))
        if expected is int:
            return _constant(value, path, "a whole number", lambda tree: type(tree) is int)
        if expected is float:
            return float(_constant(value, path, "a number", lambda tree: type(tree) in (int, float)))
        if expected is str:
            return _text(value, path)
        if expected is Expression:
            typed = value.value if isinstance(value, Constant) else value
            tree = parse(typed) if isinstance(typed, str) else value
            if not isinstance(tree, Call | Word):
                _wrong(value, path, "an expression, such as cfg(weight=2)")
            return Expression(format_value(tree))
        if expected is Duration:
            return self._duration(value, path)
        if isinstance(expected, type) and expected in self.named:
            word = value.text if isinstance(value, Word) else value
            if isinstance(word, str) and word in self.named[expected]:
                return self.named[expected][word]
        if isinstance(expected, type) and issubclass(expected, Strategy):
            return self._strategy(value, expected, path)
        if attrs.has(expected):
            call = value if isinstance(value, Call) else _wrong(value, path, "a table of options")
            return self._build(expected, call, path, expected.__name__.lower())
        raise TypeError(f"{path}: options of type {expected!r} cannot be configured")

    def _union(self, value: object, choices: tuple[Any, ...], path: str) -> Any:
        constant = value.value if isinstance(value, Constant) else value
        plain = isinstance(value, str)  # in TOML, which has no null, none is a text
        if means_none(constant) and (plain or str not in choices):
            constant = None
        if constant is None and type(None) in choices:
            return None
        rest = [choice for choice in choices if choice is not type(None)]
        errors: list[ConfigError | UnknownName] = []
        for choice in [choice for choice in rest if self._knows(value, choice)] or rest:
            try:
                return self.read(value, choice, path)
            except (ConfigError, UnknownName) as error:
                errors.append(error)
        expected = [error.wanted for error in errors if isinstance(error, _Unexpected)]
        if len(expected) == len(errors) > 1:
            _wrong(value, path, " or ".join(expected))
        if expected and isinstance(errors[-1], UnknownName):
            raise UnknownName(f"{path} is {_shown(value)}: expected {' or '.join(expected)}, and {errors[-1]}")
        raise errors[-1]

    def _knows(self, value: object, kind: Any) -> bool:
        """Whether the name at the beginning of a value is a strategy of a kind, or a list stands for one."""
        if not (isinstance(kind, type) and issubclass(kind, Strategy)):
            return False
        if isinstance(value, ListValue | list | tuple):
            return kind.of_list is not None
        tree = parse(value) if isinstance(value, str) and value.strip() else value
        if not isinstance(tree, Call | Word):
            return False
        name = tree.name if isinstance(tree, Call) else tree.text
        return name in self.named.get(kind, ()) or strategy_name(name) in self.catalog.names(kind.kind)

    def _choice(self, value: object, choices: tuple[Any, ...], path: str) -> Any:
        word = value.text if isinstance(value, Word) else value.value if isinstance(value, Constant) else value
        if word in choices and type(word) in {type(choice) for choice in choices}:
            return word
        listed = ", ".join(map(str, choices))
        raise ConfigError(f"{path} is {_shown(value)}: choose one of {listed}{nearest(str(word), map(str, choices))}")

    def _tuple(self, value: object, items: tuple[Any, ...], path: str) -> tuple[Any, ...]:
        members = value.items if isinstance(value, ListValue) else value
        if not isinstance(members, list | tuple):
            _wrong(value, path, "a list in square brackets")
        if len(items) == 2 and items[1] is Ellipsis:
            return tuple(self.read(item, items[0], f"{path}[{i}]") for i, item in enumerate(members))
        if len(members) != len(items):
            raise ConfigError(f"{path} is {_shown(value)}: it takes {len(items)} values, not {len(members)}")
        return tuple(
            self.read(item, kind, f"{path}[{i}]") for i, (item, kind) in enumerate(zip(members, items, strict=True))
        )

    def _mapping(self, value: object, items: tuple[Any, ...], path: str) -> dict[str, Any]:
        if isinstance(value, Call) and value.name == "table" and not value.args:
            value = {keyword.name: keyword.value for keyword in value.kwargs}
        if not isinstance(value, Mapping):
            _wrong(value, path, "a table of names and values")
        return {str(name): self.read(item, items[1], f"{path}.{name}") for name, item in value.items()}

    def _duration(self, value: object, path: str) -> Duration:
        try:
            return Duration.of(value)
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from None

    def _strategy(self, value: object, kind: type[Strategy], path: str) -> Any:
        if isinstance(value, kind):
            return value
        if isinstance(value, str):
            value = parse(value)
        if kind.of_list is not None and isinstance(value, ListValue | list | tuple):
            numbers = self._tuple(value, (float, ...), path)
            try:
                return kind.of_list(numbers)
            except (ValueError, TypeError) as error:
                raise ConfigError(f"{path}: {error}") from None
        if isinstance(value, Word):
            with contextlib.suppress(ValueError):  # a path is a word, but not a name
                value = Call(strategy_name(value.text), span=value.span)
        if not isinstance(value, Call):
            _wrong(value, path, f"a {kind.kind}, one of {', '.join(self.catalog.names(kind.kind))}")
        if value.name == PAIRED:
            raise ConfigError(
                f"{path} is {_shown(value)}: zip(...) makes ranges go side by side in guideplug compare and in "
                f"studies; give one {kind.kind} here"
            )
        entry = self.catalog.find(kind.kind, value.name)
        if isinstance(entry, str):
            preset = self.read(parse(entry), kind, path)
            if value.args:
                raise ConfigError(f"{path}: {value.name} is a preset for {entry}: name its options")
            for keyword in value.kwargs:
                preset = self.replaced(preset, keyword.name, keyword.value, path)
            return preset
        return self._build(entry, value, path, value.name)

    def _build(self, cls: type, call: Call, path: str, name: str) -> Any:
        fields = _fields(cls)
        if len(call.args) > len(fields):
            takes = f"takes {len(fields)} options" if fields else "takes no options"
            raise ConfigError(f"{path}: {name} {takes}, {len(call.args)} were given")
        given: dict[str, object] = dict(zip(fields, call.args, strict=False))
        nested: list[Keyword] = []
        for keyword in call.kwargs:
            if keyword.name in given:
                raise ConfigError(f"{path}: {name} was given {keyword.name} twice, by place and by name")
            if keyword.name in fields:
                given[keyword.name] = keyword.value
            elif _holder(cls, fields, keyword.name) is not None:
                nested.append(keyword)
            else:
                known = ", ".join(fields) or "none"
                near = _near(keyword.name, fields)
                raise ConfigError(f"{path}: {name} has no option {keyword.name!r}{near}; it has {known}")
        values = {key: self.read(item, fields[key].type, f"{path}.{key}") for key, item in given.items()}
        for key, attribute in fields.items():
            if key not in values and key in self.unstated and attribute.default is attrs.NOTHING:
                values[key] = self.unstated[key]
            elif key not in values and (getattr(cls, "kind", ""), key) in self.inherited:
                values[key] = self.inherited[getattr(cls, "kind", ""), key]
        missing = [key for key, a in fields.items() if key not in values and a.default is attrs.NOTHING]
        if missing:
            raise ConfigError(f"{path}: {name} needs {' and '.join(missing)}: write {name}({missing[0]}=...)")
        try:
            built = cls(**values)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}: {name}: {error}") from None
        for keyword in nested:
            built = self.replaced(built, keyword.name, keyword.value, path)
        return built

    def replaced(self, instance: Any, option: str, value: object, path: str) -> Any:
        """``instance`` with one option changed: its own, or that of the only inner strategy with the option.

        Args:
            option: a name, or names joined by dots for a strategy inside a strategy.

        Raises:
            ConfigError: no such option, several inner strategies with it, or an invalid value.
        """
        head, _, rest = field_name(option).partition(".")
        fields = _fields(type(instance)) if _all_options(instance) else {}
        if head in fields:
            attribute = fields[head]
            if rest:
                changed = self.replaced(getattr(instance, attribute.name), rest, value, f"{path}.{head}")
            else:
                changed = self.read(value, attribute.type, f"{path}.{head}")
            return replace_option(instance, head, changed, path)
        inner_values = {key: getattr(instance, attribute.name) for key, attribute in fields.items()}
        holders = [key for key, inner in inner_values.items() if head in _all_options(inner)]
        # A group of options, such as a training's, has priority over inner strategies with the option.
        groups = [key for key in holders if not isinstance(inner_values[key], Strategy)]
        holders = groups if len(groups) == 1 else holders
        if len(holders) == 1:
            changed = self.replaced(inner_values[holders[0]], option, value, f"{path}.{holders[0]}")
            return replace_option(instance, holders[0], changed, path)
        if holders:
            choices = " or ".join(f"{path}.{key}.{option}" for key in holders)
            raise ConfigError(f"{path}: several options are called {option!r}: say {choices}")
        known = list(_all_options(instance))
        listed = ", ".join(known) or "none"
        near = nearest(head, known) or _near(head, fields)
        raise ConfigError(f"{path} has no option {option!r}{near}; it has {listed}")


def replace_option(instance: Any, name: str, value: Any, path: str) -> Any:
    """``instance`` with one field replaced; `ConfigError` naming ``path`` for a value that its validators refuse."""
    try:
        return attrs.evolve(instance, **{name: value})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path}: {error}") from None


def write(instance: Any) -> Value:
    """A strategy, or any value of an option, as a value of the grammar with every option spelled out."""
    if isinstance(instance, Duration):
        return instance.quantity
    if isinstance(instance, Strategy) and instance.as_list is not None:
        return write(instance.as_list)
    if isinstance(instance, Strategy) or attrs.has(type(instance)):
        name = instance.name if isinstance(instance, Strategy) else "table"
        fields = _fields(type(instance))
        return Call(name, kwargs=tuple(Keyword(key, write(getattr(instance, one.name))) for key, one in fields.items()))
    if isinstance(instance, list | tuple):
        return ListValue(tuple(write(item) for item in instance))
    if isinstance(instance, Mapping):
        return Call("table", kwargs=tuple(Keyword(field_name(str(key)), write(item)) for key, item in instance.items()))
    return _parsed(format_value(instance))


_parsed = functools.lru_cache(maxsize=4096)(parse)
"""The same few numbers and names are written over and over, and reading one takes 50 µs."""


def short(strategy: Strategy) -> str:
    """A strategy as an expression with only the options that differ from their defaults.

    The first option is positional if it is required or by default a strategy, and so are required numbers that follow.
    """
    call = write(strategy)
    if not isinstance(call, Call):
        return format_value(call)
    kept: list[str] = []
    by_place = True
    for place, (keyword, attribute) in enumerate(zip(call.kwargs, _fields(type(strategy)).values(), strict=True)):
        value = getattr(strategy, attribute.name)
        default = _default(attribute.default)
        if default is attrs.NOTHING or value != default:
            inner = _shortened(value, keyword.value)
            if default is attrs.NOTHING:
                by_place &= place == 0 or isinstance(value, float)
            else:
                by_place &= place == 0 and _of_strategies(default)
            kept.append(inner if by_place else f"{keyword.name}={inner}")
    return f"{call.name}({', '.join(kept)})" if kept else call.name


def _shortened(value: Any, written: Value) -> str:
    if isinstance(value, Strategy):
        return short(value)
    if isinstance(value, tuple) and isinstance(written, ListValue):
        return f"[{', '.join(map(_shortened, value, written.items))}]"
    return format_value(written)


def _near(name: str, fields: "Mapping[str, attrs.Attribute[Any]]") -> str:
    """`" (did you mean 'x'?)"` for the nearest option, by its name or else by its help; or `""`."""
    words = name.replace("_", " ").replace("-", " ").lower()
    helped = [key for key, one in fields.items() if words in str(one.metadata.get("help", "")).lower()]
    by_help = f" (did you mean {helped[0]!r}?)" if helped and len(words) > 3 else ""
    return nearest(name, fields) or by_help


def _of_strategies(value: object) -> bool:
    """Whether a value is a strategy, or several."""
    return isinstance(value, Strategy) or (isinstance(value, tuple) and any(map(_of_strategies, value)))


def _default(default: Any) -> Any:
    return default.factory() if hasattr(default, "factory") else default


def _fields(cls: type) -> "dict[str, attrs.Attribute[Any]]":
    attrs.resolve_types(cls, include_extras=True)
    return {str(attribute.alias): attribute for attribute in attrs.fields(cls) if attribute.init}


def _all_options(instance: Any) -> dict[str, None]:
    """The options of a strategy and of its inner strategies."""
    if not attrs.has(type(instance)) or isinstance(instance, Duration):
        return {}
    fields = _fields(type(instance))
    inner = [name for one in fields.values() for name in _all_options(getattr(instance, one.name))]
    return dict.fromkeys([*fields, *inner])


def _holder(cls: type, fields: "Mapping[str, attrs.Attribute[Any]]", option: str) -> str | None:
    """The field whose type has the option, for option groups that are plain attrs classes."""
    for key, attribute in fields.items():
        kind = attribute.type
        if isinstance(kind, type) and attrs.has(kind) and kind is not Duration and option in _fields(kind):
            return key
        if isinstance(kind, type) and issubclass(kind, Strategy) and inspect.isabstract(kind):
            return key
    return None


def _is(expected: Any, kind: type) -> bool:
    origin = get_origin(expected) or expected
    return isinstance(origin, type) and issubclass(origin, kind)


def _call(table: Mapping[str, object], path: str) -> Call:
    """A TOML table ``{name = "...", option = ...}`` as a call."""
    options = dict(table)
    name = options.pop("name", "table")
    if not isinstance(name, str):
        raise ConfigError(f"{path}.name is {name!r}: it must be the name of a strategy, in quotes")
    try:
        return Call(strategy_name(name), kwargs=tuple(Keyword(field_name(k), _value(v)) for k, v in options.items()))
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _value(raw: object) -> Any:
    if isinstance(raw, list):
        return ListValue(tuple(_value(item) for item in raw))
    if isinstance(raw, bool | int | float) or raw is None:
        return Constant(raw)
    return raw  # a string or a table, read by the expected type


def _text(value: object, path: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Word):
        return value.text
    if isinstance(value, Constant) and isinstance(value.value, str):
        return value.value
    return _wrong(value, path, "a text")


def _constant(value: object, path: str, expected: str, fits: typing.Callable[[Any], bool]) -> Any:
    plain = value.value if isinstance(value, Constant) else value
    if not fits(plain):
        _wrong(value, path, expected)
    return plain


def _shown(value: object) -> str:
    nodes = Call | ListValue | Constant | Quantity | Range | Word
    try:
        return format_value(value) if isinstance(value, nodes) else repr(value)
    except (TypeError, ValueError):  # from TOML: a nested table, or a text that no expression can hold
        return repr(value)


class _Unexpected(ConfigError):
    """A value of another type than the option's."""

    def __init__(self, value: object, path: str, expected: str) -> None:
        super().__init__(f"{path} is {_shown(value)}: expected {expected}")
        self.wanted = expected


def _wrong(value: object, path: str, expected: str) -> typing.NoReturn:
    raise _Unexpected(value, path, expected)
