"""Constructor expressions: examples, then every refusal with its message, and the published grammar."""

import doctest
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from guideplug.config import format_value, grammar, parse
from guideplug.config import tree as values
from guideplug.config.tree import Call, Keyword, ListValue, Literal, Quantity, Range, Word
from guideplug.errors import ExpressionError, GuideplugError, UsageError, nearest

DOCS = Path(__file__).parents[2] / "docs" / "grammar.md"


# hypothesis writes recursive strategies out, rarely and at length, and warns of it; nothing here depends on it
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


# Examples


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("autoguidance", Word("autoguidance")),
        ("autoguidance()", Call("autoguidance")),
        ("autoguidance (weight = 2.1)", Call("autoguidance", (), (Keyword("weight", Literal(2.1)),))),
        (
            "blend([cfg(weight=2), autoguidance], shares=[0.4, 0.6],)",
            Call(
                "blend",
                (ListValue((Call("cfg", (), (Keyword("weight", Literal(2)),)), Word("autoguidance"))),),
                (Keyword("shares", ListValue((Literal(0.4), Literal(0.6)))),),
            ),
        ),
        (
            "early(jest(filter_ratio=0.8), until=0.05)",
            Call(
                "early",
                (Call("jest", (), (Keyword("filter_ratio", Literal(0.8)),)),),
                (Keyword("until", Literal(0.05)),),
            ),
        ),
        ("early_jest(Gain-2=1)", Call("early-jest", (), (Keyword("Gain_2", Literal(1)),))),
        (
            "train(duration=512it, denoiser=tree-mlp(hidden=32))",
            Call(
                "train",
                (),
                (
                    Keyword("duration", Quantity(512, "it")),
                    Keyword("denoiser", Call("tree-mlp", (), (Keyword("hidden", Literal(32)),))),
                ),
            ),
        ),
        ("load('weights/a b.safetensors')", Call("load", (Literal("weights/a b.safetensors"),))),
        ("[]", ListValue(())),
        ("[1, [2],]", ListValue((Literal(1), ListValue((Literal(2),))))),
        ("1:3.5:0.25", Range(1, 3.5, 0.25)),
        ("-1:+1:.5", Range(-1, 1, 0.5)),
        ("early_jest", Word("early_jest")),
    ],
)
def test_examples(text: str, tree: values.Value) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[
            ("2", 2),
            ("-2", -2),
            ("+3", 3),
            ("007", 7),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-3", 0.001),
            ("2E5", 2e5),
            ("-0.0", -0.0),
        ],
        *[("inf", math.inf), ("-Inf", -math.inf), ("+inf", math.inf), ("NaN", math.nan)],
        *[("true", True), ("False", False), ("NONE", None), ("'true'", "true"), ("'1'", "1")],
        *[("''", ""), ('"it\'s"', "it's"), (r"'it\'s'", "it's"), (r"'a\\n\n\t\"'", 'a\\n\n\t"'), ("'é, ('", "é, (")],
    ],
)
def test_literals(text: str, value: object) -> None:
    tree = parse(text)
    assert isinstance(tree, Literal)
    assert (type(tree.value), repr(tree.value)) == (type(value), repr(value))


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("512it", 512, "it"),
        ("3.3Mex", 3.3, "Mex"),
        ("90s", 90, "s"),
        ("1e3s", 1000.0, "s"),
        ("1e", 1, "e"),
        ("-.5h", -0.5, "h"),
    ],
)
def test_quantities(text: str, number: float, unit: str) -> None:
    assert parse(text) == Quantity(number, unit)


@pytest.mark.parametrize(
    "text",
    [
        "weak/a.safetensors",
        "./x",
        "../x",
        ".hidden",
        "~/x",
        "/a/b-1",
        "python:mod",
        "_x",
        "a.b",
        "C:/x",
        "info",
        "e5",
        ".",
    ],
)
def test_bare_words_hold_paths(text: str) -> None:
    assert parse(text) == Word(text)
    assert parse(f"load({text})") == Call("load", (Word(text),))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[
            (Literal("cfg"), "'cfg'"),
            ("cfg", "cfg"),
            ("a b", "'a b'"),
            ("it's", '"it\'s"'),
            ("'\"", "'\\'\"'"),
            ("\n", r"'\n'"),
        ],
        *[(2.0, "2.0"), (1e-5, "1e-05"), (True, "true"), (None, "none"), (("x", [1]), "[x, [1]]"), (-math.inf, "-inf")],
        *[(Call("a-b", (Word("x"),), (Keyword("c_d", Literal(1)),)), "a-b(x, c_d=1)"), ([Quantity(2, "h")], "[2h]")],
    ],
)
def test_canonical_text(value: values.Plain, text: str) -> None:
    assert format_value(value) == text


def test_literals_differ_by_type_and_spans_do_not_count() -> None:
    assert len({Literal(1), Literal(1.0), Literal(True), Literal("1"), Literal(math.nan), Literal(float("nan"))}) == 5
    assert Literal(1) != 1
    assert parse("[a, 1]") == parse(" [ a ,1] ")


def test_the_tree_of_a_call_knows_where_its_parts_stand() -> None:
    text = " a(1, b-c = [2])"
    tree = parse(text)
    assert isinstance(tree, Call)
    parts = [tree, tree.args[0], tree.kwargs[0], tree.kwargs[0].value]
    assert [text[slice(*part.span)] for part in parts] == ["a(1, b-c = [2])", "1", "b-c = [2]", "[2]"]


def test_the_limits_themselves_are_accepted() -> None:
    assert parse("x" * 4000) == Word("x" * 4000)
    assert format_value(parse("[" * 40 + "]" * 40)) == "[" * 40 + "]" * 40
    assert parse("[" + "[]," * 1332 + "]") == ListValue((ListValue(()),) * 1332)  # width is not nesting


# Refusals

NAME = "a name is a letter, then letters, digits, '-', '_' or '+', and none of true, false, none, inf, nan"


KINDS = "is no number, duration (512it), range (1:3:0.5) or word"


QUOTE = "in a shell, quote the whole expression"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # limits
        ("", "the expression is empty; write a value, such as 2.5, name or 'name(option=2)'"),
        (" \n", "the expression is empty; write a value, such as 2.5, name or 'name(option=2)'"),
        ("x" * 4001, "the expression has 4,001 characters, more than 4,000; shorten it"),
        (
            "[" * 41 + "]" * 41,
            f'more than 40 levels of brackets at column 41 of "...{"[" * 31}{"]" * 29}..."; nest less',
        ),
        ("a(" * 41, f'more than 40 levels of brackets at column 82 of "...{"a(" * 30}"; nest less'),
        ("a\0b", r"""control character '\x00' at column 2 of "a\x00b"; remove it"""),
        ("'a\r'", r"""control character '\r' at column 3 of "'a\r'"; remove it"""),
        ("\u2028", r"""control character '\u2028' at column 1 of "\u2028"; remove it"""),
        ("a\udc80", r"""control character '\udc80' at column 2 of "a\udc80"; remove it"""),
        ("a(1e999)", '1e999 is too large a number at column 3 of "a(1e999)"'),
        ("9" * 310 + "it", f'{"9" * 13}...{"9" * 13} is too large a number at column 1 of "{"9" * 60}..."'),
        # what is expected where
        (
            "autoguidance(weight=2 x)",
            """expected ',' or ')' after weight=2 at column 22 of "autoguidance(weight=2 x)\"""",
        ),
        ("[a b]", """expected ',' or ']' after a at column 3 of "[a b]\""""),
        ("a(512 it)", """expected ',' or ')' after 512 at column 6 of "a(512 it)\""""),
        ("a(b=c=d)", """expected ',' or ')' after b=c at column 6 of "a(b=c=d)\""""),
        ("a('b'=1)", """expected ',' or ')' after 'b' at column 6 of "a('b'=1)\""""),
        (
            "a(blend([cfg, autoguidance], [0.4, 0.6]) x)",
            "expected ',' or ')' after blend([cfg, a..., [0.4, 0.6]) at column 41 of "
            '"a(blend([cfg, autoguidance], [0.4, 0.6]) x)"',
        ),
        ("a(b)(c)", 'expected the end of the expression after a(b) at column 5 of "a(b)(c)"'),
        ("a=2", 'expected the end of the expression after a at column 2 of "a=2"'),
        ("'a'(1)", "expected the end of the expression after 'a' at column 4 of \"'a'(1)\""),
        ("[a,,b]", """expected a value, not ',', at column 4 of "[a,,b]\""""),
        ("a(,)", """expected a value, not ',', at column 3 of "a(,)\""""),
        ("a(b=)", """expected a value, not ')', at column 5 of "a(b=)\""""),
        ("=1", """expected a value, not '=', at column 1 of "=1\""""),
        ("(a)", """expected a value, not '(', at column 1 of "(a)\""""),
        # names and arguments
        ("2x(1)", f"""'2x' is no name at column 1 of "2x(1)"; {NAME}"""),
        ("./a(1)", f"""'./a' is no name at column 1 of "./a(1)"; {NAME}"""),
        ("a(None=1)", f"""'None' is no name at column 3 of "a(None=1)"; {NAME}"""),
        ("inf(1)", f"""'inf' is no name at column 1 of "inf(1)"; {NAME}"""),
        ("a(_b=1)", f"""'_b' is no name at column 3 of "a(_b=1)"; {NAME}"""),
        ("a(b-c=1, b_c=2)", 'b_c is given twice at column 10 of "a(b-c=1, b_c=2)"; keep one'),
        (
            "a(b=1, [2])",
            '[2] without a name after a named argument at column 8 of "a(b=1, [2])"; name it or put it first',
        ),
        # bare text and strings
        ("1:3", f"""'1:3' {KINDS} at column 1 of "1:3"; if it is a string, quote it"""),
        ("a(1_000)", f"""'1_000' {KINDS} at column 3 of "a(1_000)"; if it is a string, quote it"""),
        (".5_0", f"""'.5_0' {KINDS} at column 1 of ".5_0"; if it is a string, quote it"""),
        ("-x", f"""'-x' {KINDS} at column 1 of "-x"; if it is a string, quote it"""),
        ("é\u00a0b", rf"""'é\xa0b' {KINDS} at column 1 of "é\xa0b"; if it is a string, quote it"""),
        (r"'a\d'", r"""unknown escape \d at column 3 of "'a\d'"; write \\ for a backslash"""),
        # brackets and quotes in pairs
        ("a(b]", """expected ')' for the '(' of column 2, not ']', at column 4 of "a(b]\""""),
        (
            "blend([cfg, autoguidance]",
            f"""unclosed '(' at column 6 of "blend([cfg, autoguidance]"; {QUOTE}: 'blend([cfg, autoguidance])'""",
        ),
        ("blend([cfg,", f"""unclosed '[' at column 7 of "blend([cfg,"; {QUOTE}: 'blend([cfg, ...])'"""),
        ("autoguidance])", f"""unmatched ']' at column 13 of "autoguidance])"; {QUOTE}: '...autoguidance])'"""),
        ("load('a b", f"""unclosed ' at column 6 of "load('a b"; {QUOTE}: "load('a b')\""""),
        ('load("a$b', f"""unclosed " at column 6 of "load("a$b"; {QUOTE}: 'load("a$b")'"""),
        ("load(don't)", f"""unclosed ' at column 9 of "load(don't)"; {QUOTE}"""),  # no guess would read
        ("a(" + "b" * 90, f"""unclosed '(' at column 2 of "a({"b" * 58}..."; {QUOTE}"""),  # the guess is too long
    ],
    ids=lambda text: text[:20],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == message


def test_a_long_text_is_cropped_around_the_column() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(f"[{'a, ' * 40}b c{', a' * 40}]")
    crop = "..., a, a, a, a, a, a, a, a, a, b c, a, a, a, a, a, a, a, a, a,..."
    assert str(caught.value) == f"expected ',' or ']' after b at column 123 of \"{crop}\""


@pytest.mark.parametrize(
    "make",
    [
        *[lambda text=text: Word(text) for text in ("", "a b", "1", "512it", "true", "inf", ".5", "é", "a\n")],
        *[lambda value=value: Literal(value) for value in ("\0", "\r", "\udc80", "\u2028", 10**400, (1,))],
        *[lambda number=number: Quantity(number, "s") for number in (math.inf, math.nan, True, 10**400)],
        *[lambda unit=unit: Quantity(1, unit) for unit in ("", "s2", "é", "s\n")],
        *[lambda name=name: Call(name) for name in ("a_b", "1a", "", "true", "a\n")],
        *[lambda name=name: Keyword(name, Literal(1)) for name in ("a-b", "1a", "", "nan")],
        lambda: Range(1, math.inf, 1),
        lambda: Call("a", (), (Keyword("b", Literal(1)), Keyword("b", Literal(2)))),
        lambda: format_value(["a\0"]),
    ],
)
def test_a_node_that_no_text_gives_cannot_be_made(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"is no|is not|too large|control character|repeats"):
        make()


def test_values_of_other_types_have_no_text() -> None:
    with pytest.raises(TypeError, match=r"^dict is no value of an expression$"):
        format_value({"a": 1})  # type: ignore[arg-type]


# The published grammar, the errors' tree, the import


def ebnf(text: str) -> str:
    (block,) = re.finditer(r"```ebnf\n(.*?)```", text, re.DOTALL)
    return str(block[1])


def test_the_published_grammar_is_the_module_s() -> None:
    assert grammar.__doc__ is not None
    assert ebnf(DOCS.read_text(encoding="utf-8")) == ebnf(grammar.__doc__)


def test_every_symbol_of_the_grammar_is_defined_and_used() -> None:
    rules = re.sub(r"\(\*.*?\*\)|\?.*?\?|\"[^\"]*\"|'[^']*'", "", ebnf(grammar.__doc__ or ""), flags=re.DOTALL)
    defined = re.findall(r"^(\w+) *=", rules, re.MULTILINE)
    used = set(re.findall(r"\w+", rules.replace("=", " = "))) - {"expression"}
    assert len(defined) == len(set(defined))
    assert {symbol for symbol in used if len(re.findall(rf"\b{symbol}\b", rules)) == 1} == set()
    assert used <= set(defined)


def test_the_documented_examples_hold() -> None:
    assert doctest.testfile(str(DOCS), module_relative=False, encoding="utf-8").failed == 0
    text = DOCS.read_text(encoding="utf-8")
    examples = re.findall(r"```text\n(.*?)```", text, re.DOTALL)[0].splitlines()
    assert len(examples) >= 8
    for example in examples:
        assert format_value(parse(example)) == example
    with pytest.raises(ExpressionError) as caught:
        parse("blend([cfg,")
    assert str(caught.value) in text


def test_errors_carry_their_exit_code() -> None:
    assert (GuideplugError.exit_code, UsageError.exit_code, ExpressionError.exit_code) == (1, 2, 2)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("autogidance", " (did you mean 'autoguidance'?)"),
        ("EARLY_JEST", " (did you mean 'early-jest'?)"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_nearest(name: str, hint: str) -> None:
    assert nearest(name, iter(["cfg", "autoguidance", "early-jest"])) == hint


def test_the_grammar_imports_nothing_heavy() -> None:
    code = "import sys, guideplug.config.grammar; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
