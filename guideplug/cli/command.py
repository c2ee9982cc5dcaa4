"""Commands that refuse a single-valued option given twice, where click takes the last in silence, and torchrun."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import click

from guideplug.cli.confusion import check_operands, check_pieces, check_sets, explained
from guideplug.cli.json_output import json_alone
from guideplug.cli.parameters import times_of
from guideplug.config import means_none, parse, shell_quote
from guideplug.errors import ExpressionError, UsageError, visible

__all__ = ["Command"]


class Command(click.Command):
    """A command whose options that hold one value are given once.

    An option on the command line beside the same key of a configuration file is no repetition: the command line wins.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does.

        Raises:
            UsageError: an option that holds one value is given several times, or something else is meant.
        """
        typed = list(args)  # parsing empties the list
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        check_pieces(typed)
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            if message := explained(ctx, typed, error):
                raise UsageError(message) from None
            raise
        self._check_once(ctx, typed)
        check_operands(ctx)
        check_sets(ctx, typed)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Do the command's work, in one process; with ``--json`` nothing but the result is on standard output.

        Raises:
            UsageError: a launcher started several.
        """
        from guideplug.executors.torchrun import refuse_torchrun

        refuse_torchrun()
        with json_alone() if ctx.params.get("as_json") else nullcontext():
            return super().invoke(ctx)

    def _check_once(self, ctx: click.Context, typed: list[str]) -> None:
        parser = self.make_parser(ctx)
        single = [
            parameter
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and times_of(parameter) == "once"
        ]
        for option in single:
            if not option.is_flag:
                parser.add_option(option, option.opts, dest=option.name, action="append")
            elif option.secondary_opts:  # of --curves and --no-curves the last would win
                for name, value in ((option.opts[0], True), (option.secondary_opts[0], False)):
                    parser.add_option(option, [name], dest=option.name, action="append_const", const=value)
        values, _, _ = parser.parse_args(args=typed)
        for option in single:
            several = values.get(option.name)
            if isinstance(several, list) and len(several) > 1:
                raise UsageError(_refusal(ctx, option, several))


def _refusal(ctx: click.Context, option: click.Option, values: Sequence[Any]) -> str:
    """Which option was given how often, with which values, and what to write instead."""
    if option.is_flag:
        pair = [option.opts[0] if value else option.secondary_opts[0] for value in values]
        return f"{' and '.join(pair)} are both there: give one"
    name = max(option.opts, key=len)
    often = {2: "twice"}.get(len(values), f"{len(values)} times")
    shown = " and ".join(repr(visible(value)) for value in values)
    advice = ["give one"]
    if name == "--guider" and (blend := _blended(values)):
        advice.append(f"combine them with --guider {blend}")
    if name in _arms(ctx):
        advice.append("compare them as arms of guideplug compare")
    return f"{name} is given {often}, {shown}: {', or '.join(advice)}"


def _blended(guiders: Sequence[str]) -> str:
    """The guiders as one expression, quoted for a shell; empty where there is none."""
    if any(means_none(guider) for guider in guiders):
        return ""
    text = f"blend([{', '.join(guider.strip() for guider in guiders)}])"
    try:
        parse(text)
    except ExpressionError:
        return ""
    return shell_quote(text)


def _arms(ctx: click.Context) -> set[str]:
    """The options that `guideplug compare` takes for each arm."""
    commands: Mapping[str, click.Command] = getattr(ctx.find_root().command, "commands", {})
    compare = commands.get("compare")
    options = [] if compare is None else [option for option in compare.params if isinstance(option, click.Option)]
    return {name for option in options if times_of(option) == "arms" for name in option.opts}
