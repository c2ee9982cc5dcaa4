r"""Constructor expressions, such as `blend([cfg(weight=2), autoguidance], shares=[0.4, 0.6])`: parsed, never evaluated.

```ebnf
(* Spaces, tabs and newlines may stand between tokens. What stands between these, brackets, quotes, "," and "="
   is one token, read whole: as a name before "(" or "=", else as the first of number to word that fits it. *)
expression = value ;
value      = call | list | string | number | quantity | range | constant | word ;
call       = name, "(", [ argument, { ",", argument }, [ "," ] ], ")" ;
argument   = [ name, "=" ], value ;            (* those without a name first; no name twice *)
list       = "[", [ value, { ",", value }, [ "," ] ], "]" ;
name       = letter, { letter | digit | "-" | "_" | "+" } ;    (* "-" and "_" are the same; no constant, inf or nan *)
number     = decimal | [ sign ], ( "inf" | "nan" ) ;     (* in any case: Inf, NaN *)
quantity   = decimal, letter, { letter } ;               (* a unit: 512it, 90s, 3.3Mex *)
range      = decimal, ":", decimal, ":", decimal ;       (* start, stop, step *)
constant   = "true" | "false" | "none" ;                 (* in any case: True, NONE *)
word       = ( letter | "_" | "." | "~" | "/" ), { letter | digit | "_" | "-" | "+" | "." | "~" | "/" | ":" } ;
                                                         (* does not begin with "." and a digit *)
string     = "'", { escape | character - "'" } , "'" | '"', { escape | character - '"' }, '"' ;
escape     = "\", ( "\" | "'" | '"' | "n" | "t" ) ;
decimal    = [ sign ], ( digits, [ ".", [ digits ] ] | ".", digits ), [ ( "e" | "E" ), [ sign ], digits ] ;
digits     = digit, { digit } ;
sign       = "+" | "-" ;
digit      = "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" ;
letter     = ? "A" to "Z" or "a" to "z" ? ;
character  = ? any but a backslash, control characters (save tab and newline), U+2028, U+2029, lone surrogates ? ;
```

A text has at most 4,000 characters and 40 levels of brackets, and its numbers fit into a float. Every error is one
`ExpressionError` that points into the text. Parsing takes linear time. docs/grammar.md is the documentation for users.
"""

import re
import shlex
from typing import Final, NamedTuple, NoReturn

from guideplug.config.tree import (
    CONSTANTS,
    CONTROL,
    ESCAPES,
    WORD,
    Call,
    Keyword,
    ListValue,
    Literal,
    Quantity,
    Range,
    Span,
    Value,
    Word,
    field_name,
    is_name,
    strategy_name,
)
from guideplug.errors import ExpressionError, brief, visible

__all__ = ["at_column", "parse", "shell_quote"]

MAX_LENGTH: Final = 4_000
MAX_NESTING: Final = 40


_DECIMAL = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_TOKEN = re.compile(
    r"""[ \t\n]*(?: (?P<bare> [^ \t\n()\[\],='"]+ ) | (?P<mark> [()\[\],=] )
    | (?P<string> ' (?: [^'\\] | \\. )*+ ' | " (?: [^"\\] | \\. )*+ " ) | (?P<end> \Z ) | (?P<broken> ['"] ) )""",
    re.DOTALL | re.VERBOSE,
)
_NUMBER = re.compile(_DECIMAL)
_NOT_FINITE = re.compile(r"[+-]?(?:inf|nan)", re.IGNORECASE)
_QUANTITY = re.compile(rf"({_DECIMAL})([A-Za-z]+)")
_RANGE = re.compile(rf"({_DECIMAL}):({_DECIMAL}):({_DECIMAL})")
_CLOSING: Final = {"(": ")", "[": "]"}


# Text of messages: positions of errors, and quoting for shells.


def at_column(text: str, offset: int) -> str:
    """`at column 7 of "…"` for the 0-based `offset`; a long text is cropped to the 60 characters around it."""
    start = max(0, min(offset - 30, len(text) - 60))
    crop = ("..." if start else "") + visible(text[start : start + 60]) + ("..." if start + 60 < len(text) else "")
    return f'at column {offset + 1} of "{crop}"'


def shell_quote(text: str) -> str:
    """`text` as one argument of a shell; double-quoted if it has single quotes and nothing that a shell expands."""
    return f'"{text}"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


class _Unbalanced(ExpressionError):
    """An unmatched bracket or quote, usually because a shell split the expression."""

    def __init__(self, message: str, whole: str) -> None:
        super().__init__(message)
        self.whole = whole  # a guess at the expression that was meant


def _hint(whole: str) -> str:
    """How to quote the probably intended expression; without an example if the guess is long or wrong."""
    hint = "; in a shell, quote the whole expression"
    try:
        if not whole.startswith("..."):
            _Parser(whole).expression()
    except ExpressionError:
        return hint
    return f"{hint}: {shell_quote(visible(whole))}" if len(whole) <= 80 else hint


# Reading


class _Token(NamedTuple):
    kind: str  # bare, string, end, or the mark itself
    text: str
    start: int
    end: int


def _tokens(text: str) -> list[_Token]:
    """The tokens of `text`, its brackets in pairs and not too deep; the last one is the end."""
    tokens: list[_Token] = []
    open_: list[_Token] = []
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        assert match is not None  # every character has its group
        assert match.lastgroup is not None
        kind, piece, position = match.lastgroup, match[match.lastgroup], match.end()
        token = _Token(piece if kind == "mark" else kind, piece, position - len(piece), position)
        tokens.append(token)
        if kind == "broken":
            raise _Unbalanced(f"unclosed {piece} {at_column(text, token.start)}", text + piece + _close(open_))
        if kind == "end":
            break
        if token.kind in _CLOSING:
            open_.append(token)
            if len(open_) > MAX_NESTING:
                where = at_column(text, token.start)
                raise ExpressionError(f"more than {MAX_NESTING} levels of brackets {where}; nest less")
        elif token.kind in _CLOSING.values():
            if not open_:
                raise _Unbalanced(f"unmatched '{piece}' {at_column(text, token.start)}", "..." + text)
            opened = open_.pop()
            if _CLOSING[opened.kind] != piece:
                expected = f"expected '{_CLOSING[opened.kind]}' for the '{opened.kind}' of column {opened.start + 1}"
                raise ExpressionError(f"{expected}, not '{piece}', {at_column(text, token.start)}")
    if open_:
        rest = text.rstrip(" \t\n")
        whole = rest + (" ..." if rest.endswith(",") else "") + _close(open_)
        raise _Unbalanced(f"unclosed '{open_[-1].kind}' {at_column(text, open_[-1].start)}", whole)
    return tokens


def _close(open_: list[_Token]) -> str:
    return "".join(_CLOSING[token.kind] for token in reversed(open_))


class _Parser:
    """Recursive descent over the tokens of one text; at most MAX_NESTING levels deep, since `_tokens` counted."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.index = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def fail(self, what: str, offset: int, advice: str = "") -> NoReturn:
        raise ExpressionError(f"{what} {at_column(self.text, offset)}{advice and '; ' + advice}")

    def expression(self) -> Value:
        value = self.value()
        if self.token.kind != "end":
            piece = brief(self.text[slice(*value.span)])
            self.fail(f"expected the end of the expression after {piece}", value.span[1])
        return value

    def value(self) -> Value:
        token = self.token
        if token.kind not in ("bare", "string", "["):
            self.fail(f"expected a value, not '{token.text}',", token.start)
        self.index += 1
        if token.kind == "string":
            return Literal(self.unescaped(token), span=(token.start, token.end))
        if token.kind == "[":
            return self.list_value(token)
        return self.call(token) if self.token.kind == "(" else self.bare(token)

    def list_value(self, opened: _Token) -> ListValue:
        items: list[Value] = []
        while self.token.kind != "]":
            items.append(self.value())
            self.separator("]", items[-1].span)
        self.index += 1
        return ListValue(tuple(items), span=(opened.start, self.tokens[self.index - 1].end))

    def call(self, token: _Token) -> Call:
        name = strategy_name(self.name(token))
        args: list[Value] = []
        kwargs: dict[str, Keyword] = {}
        self.index += 1
        while self.token.kind != ")":
            start = self.token
            if self.tokens[self.index + 1].kind == "=" and start.kind == "bare":
                keyword = field_name(self.name(start))
                if keyword in kwargs:
                    self.fail(f"{keyword} is given twice", start.start, "keep one")
                self.index += 2
                value = self.value()
                kwargs[keyword] = Keyword(keyword, value, span=(start.start, value.span[1]))
            else:
                value = self.value()
                if kwargs:
                    piece = brief(self.text[slice(*value.span)])
                    self.fail(f"{piece} without a name after a named argument", start.start, "name it or put it first")
                args.append(value)
            self.separator(")", (start.start, value.span[1]))
        self.index += 1
        span = (token.start, self.tokens[self.index - 1].end)
        return Call(name, tuple(args), tuple(kwargs.values()), span=span)

    def separator(self, closing: str, before: Span) -> None:
        if self.token.kind == ",":
            self.index += 1
        elif self.token.kind != closing:
            self.fail(f"expected ',' or '{closing}' after {brief(self.text[slice(*before)])}", before[1])

    def name(self, token: _Token) -> str:
        if not is_name(token.text):
            rule = "a name is a letter, then letters, digits, '-', '_' or '+', and none of true, false, none, inf, nan"
            self.fail(f"'{brief(token.text)}' is no name", token.start, rule)
        return token.text

    def bare(self, token: _Token) -> Value:
        text, span = token.text, (token.start, token.end)
        if _NUMBER.fullmatch(text):
            return Literal(self.number(text, token), span=span)
        if _NOT_FINITE.fullmatch(text):
            return Literal(float(text), span=span)
        if quantity := _QUANTITY.fullmatch(text):
            return Quantity(self.number(quantity[1], token), quantity[2], span=span)
        if range_ := _RANGE.fullmatch(text):
            start, stop, step = (self.number(part, token) for part in range_.groups())
            return Range(start, stop, step, span=span)
        if text.lower() in CONSTANTS:
            return Literal(CONSTANTS[text.lower()], span=span)
        if not WORD.fullmatch(text):
            kinds = "number, duration (512it), range (1:3:0.5) or word"
            self.fail(f"'{brief(text)}' is no {kinds}", token.start, "if it is a string, quote it")
        return Word(text, span=span)

    def number(self, text: str, token: _Token) -> int | float:
        number = float(text)
        if number in (float("inf"), float("-inf")):
            self.fail(f"{brief(text)} is too large a number", token.start)
        return number if set(text) & set(".eE") else int(text)

    def unescaped(self, token: _Token) -> str:
        def character(escape: re.Match[str]) -> str:
            if escape[1] not in ESCAPES:
                where = token.start + 1 + escape.start()
                self.fail(f"unknown escape {brief(escape[0])}", where, r"write \\ for a backslash")
            return ESCAPES[escape[1]]

        return re.sub(r"\\(.)", character, token.text[1:-1])


def parse(text: str) -> Value:
    """The tree of the expression `text`; raises only `ExpressionError`, for an invalid text."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text):,} characters, more than {MAX_LENGTH:,}; shorten it")
    if not text.strip(" \t\n"):
        raise ExpressionError("the expression is empty; write a value, such as 2.5, name or 'name(option=2)'")
    if control := CONTROL.search(text):
        raise ExpressionError(f"control character {control[0]!a} {at_column(text, control.start())}; remove it")
    try:
        return _Parser(text).expression()
    except _Unbalanced as error:
        raise ExpressionError(f"{error}{_hint(error.whole)}") from None
