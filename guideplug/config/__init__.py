"""Configuration: constructor expressions, durations, and the options of strategies."""

from guideplug.config.commands import command_line
from guideplug.config.duration import Duration
from guideplug.config.grammar import parse, shell_quote
from guideplug.config.none import NONE, means_none
from guideplug.config.origin import breach, described, named, plugin_errors, refused_beforehand
from guideplug.config.plain_call import plain_call
from guideplug.config.ranges import along_range, expand_ranges, has_range, without_ranges
from guideplug.config.strategy import (
    Expression,
    Source,
    Strategy,
    at_least,
    between,
    decides_nothing,
    finite,
    non_negative,
    option,
    positive,
    up_to,
)
from guideplug.config.structure import Catalog, Reader, replace_option, short, write
from guideplug.config.tree import PAIRED, format_value
from guideplug.config.walk import inner, rewrite, rewrite_inner, walk

__all__ = [
    "NONE",
    "PAIRED",
    "Catalog",
    "Duration",
    "Expression",
    "Reader",
    "Source",
    "Strategy",
    "along_range",
    "at_least",
    "between",
    "breach",
    "command_line",
    "decides_nothing",
    "described",
    "expand_ranges",
    "finite",
    "format_value",
    "has_range",
    "inner",
    "means_none",
    "named",
    "non_negative",
    "option",
    "parse",
    "plain_call",
    "plugin_errors",
    "positive",
    "refused_beforehand",
    "replace_option",
    "rewrite",
    "rewrite_inner",
    "shell_quote",
    "short",
    "up_to",
    "walk",
    "without_ranges",
    "write",
]
