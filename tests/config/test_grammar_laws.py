"""Laws of constructor expressions, over random trees and random texts."""

import math
import re
import shlex
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug.config import format_value, grammar, parse
from guideplug.config import tree as values
from guideplug.config.tree import Call, Keyword, ListValue, Literal, Quantity, Range, Word
from guideplug.errors import ExpressionError

# hypothesis writes recursive strategies out, rarely and at length, and warns of it; nothing here depends on it
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


RESERVED = {"true", "false", "none", "inf", "nan"}


# Trees: written without the patterns of the module under test, so that both would have to be wrong.

NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)


# no control characters, separators or surrogates, but those that a text can hold; quotes and backslashes often
CHARACTERS = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]) | st.sampled_from("\n\t'\"\\ ,=()[]")


STRINGS = st.text(CHARACTERS, max_size=12) | st.sampled_from(
    ["true", "NaN", "1", "512it", "1:2:3", "", "cfg", ".5x", "x"]
)


WORDS = st.builds(
    str.__add__,
    st.sampled_from([*string.ascii_letters, "_", "~", "/", "./", "..", "inf-", "true/", "e"]),
    st.text(string.ascii_letters + string.digits + "_-+.~/:", max_size=8),
).filter(lambda word: word.lower() not in RESERVED and not re.match(r"\.[0-9]", word))


def names(separator: str) -> st.SearchStrategy[str]:
    rest = st.text(string.ascii_letters + string.digits + "+" + separator, max_size=6)
    return st.builds(str.__add__, st.sampled_from(string.ascii_letters), rest).filter(
        lambda s: s.lower() not in RESERVED
    )


LEAVES = (
    st.builds(Literal, NUMBERS | STRINGS | st.booleans() | st.none() | st.sampled_from([math.inf, -math.inf, math.nan]))
    | st.builds(Word, WORDS)
    | st.builds(Quantity, NUMBERS, st.text(string.ascii_letters, min_size=1, max_size=3) | st.sampled_from("eE"))
    | st.builds(Range, NUMBERS, NUMBERS, NUMBERS)
)


def branches(children: st.SearchStrategy[values.Value]) -> st.SearchStrategy[values.Value]:
    few = st.lists(children, max_size=3).map(tuple)
    keywords = st.lists(st.builds(Keyword, names("_"), children), max_size=3, unique_by=lambda keyword: keyword.name)
    return st.builds(ListValue, few) | st.builds(Call, names("-"), few, keywords.map(tuple))


TREES = st.recursive(LEAVES, branches, max_leaves=12)


# text that looks like an expression, which reaches further into the parser than arbitrary text does
PIECES = st.sampled_from(
    [
        "(",
        ")",
        "[",
        "]",
        ",",
        "=",
        "'",
        '"',
        "\\",
        " ",
        "\n",
        ":",
        "a",
        "b-c",
        "1",
        "-2.5",
        "1e",
        "512it",
        "true",
        "é",
        "\0",
    ]
)


TEXTS = st.text() | st.lists(PIECES, max_size=40).map("".join)


def spans(value: values.Value | Keyword) -> list[tuple[values.Value | Keyword, tuple[int, int]]]:
    """A node and all below it, each with its span."""
    below = {Call: ("args", "kwargs"), ListValue: ("items",)}.get(type(value), ())
    found = [node for attribute in below for child in getattr(value, attribute) for node in spans(child)]
    return [(value, value.span), *(spans(value.value) if isinstance(value, Keyword) else []), *found]


@given(TREES)
def test_every_tree_reads_back_from_its_text(tree: values.Value) -> None:
    assert parse(format_value(tree)) == tree


@given(TREES)
def test_every_span_holds_the_text_of_its_node(tree: values.Value) -> None:
    text = format_value(ListValue((tree,)))
    for node, (start, end) in spans(parse(text)):
        if isinstance(node, Keyword):
            assert text[start:end] == f"{node.name}={format_value(node.value)}"
        else:
            assert parse(text[start:end]) == node


@given(STRINGS | WORDS)
def test_a_plain_string_reads_back_and_is_quoted_only_where_it_must_be(text: str) -> None:
    try:
        expected = parse(text)
    except ExpressionError:
        expected = None
    if expected is None or not (isinstance(expected, Word) and expected.text == text):
        expected = Literal(text)
    assert parse(format_value(text)) == expected


@given(st.recursive(NUMBERS | st.booleans() | st.none(), lambda items: st.lists(items, max_size=3), max_leaves=6))
def test_plain_values_read_back_as_literals(value: values.Plain) -> None:
    def tree(plain: object) -> values.Value:
        return ListValue(tuple(map(tree, plain))) if isinstance(plain, list) else Literal(plain)  # type: ignore[arg-type]

    assert parse(format_value(value)) == tree(value)


@settings(max_examples=400)
@given(TEXTS)
def test_any_text_is_read_or_refused_in_one_short_line(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError as error:
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 400
        assert str(error).encode()  # a lone surrogate would stop the terminal
    else:
        assert parse(format_value(tree)) == tree


@given(TREES, st.sampled_from([" ", "\n", "\t", " \n "]))
def test_space_between_tokens_means_nothing(tree: values.Value, space: str) -> None:
    tokens = [
        match[0]
        for match in re.finditer(r"'(?:\\.|[^'])*'|\"(?:\\.|[^\"])*\"|[^\s,=()\[\]'\"]+|\S", format_value(tree))
    ]
    assert parse(space + space.join(tokens) + space) == tree


@given(names("-_"), names("-_"))
def test_dash_and_underscore_are_the_same_in_names(name: str, keyword: str) -> None:
    text = f"{name}({keyword}=1)"
    assert parse(text) == parse(text.replace("-", "_")) == parse(text.replace("_", "-"))


@given(st.lists(LEAVES, max_size=4), st.lists(LEAVES, max_size=4))
def test_positional_arguments_stand_before_named_ones(args: list[values.Value], named: list[values.Value]) -> None:
    positional = [format_value(value) for value in args]
    keywords = [f"k{index}={format_value(value)}" for index, value in enumerate(named)]
    tree = parse(f"a({','.join(positional + keywords)})")
    assert isinstance(tree, Call)
    assert list(tree.args) == args
    assert [(keyword.name, keyword.value) for keyword in tree.kwargs] == [(f"k{i}", v) for i, v in enumerate(named)]
    if positional and keywords:
        with pytest.raises(ExpressionError, match="name it or put it first"):
            parse(f"a({','.join(keywords + positional)})")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 4000,
        "]" * 4000,
        "a(" * 2000,
        "'" + "\\a" * 1999,
        "9" * 3999 + "_",
        "1." + "1" * 3997 + "_",
        "1" + "e" * 3998 + "_",
        "1:" * 2000,
        "[" + "," * 3998 + "]",
        "[" + "a," * 1998 + "=]",
        " " * 3999 + "=",
    ],
    ids=lambda text: f"{text[:4]}...",
)
def test_the_worst_texts_take_linear_time(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ExpressionError):
        parse(text)
    assert time.perf_counter() - started < 1  # some milliseconds; only matching that backtracks needs a second


@given(st.text(string.printable, max_size=20))
def test_shell_quote_is_undone_by_a_shell(text: str) -> None:
    assert shlex.split(grammar.shell_quote(text)) == [text]


@pytest.mark.parametrize("special", '"$`\\!')
def test_shell_quote_leaves_nothing_to_expand(special: str) -> None:
    assert grammar.shell_quote("it's(a b)") == '"it\'s(a b)"'
    assert grammar.shell_quote(f"it's{special}a") == shlex.quote(f"it's{special}a")
