"""The commands and their options; what they do is in the modules beside this one, imported when it is needed."""

import errno
import os
import sys
from importlib.metadata import version
from typing import Any

import click

from guideplug.cli.once import Command
from guideplug.config.tree import field_name
from guideplug.errors import GuideplugError, UsageError, visible
from guideplug.scaffold import KINDS, Kind

__all__ = ["main"]


REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""What a system says when it refuses to write: nothing that a traceback would explain."""


LONGEST = 1600
"""Characters of a message."""


class _Misuse(click.UsageError):
    """A wrong command line, told in one line."""

    def show(self, file: Any = None) -> None:
        """Print the line."""
        command = self.ctx.command_path if self.ctx is not None else "guideplug"
        said = " ".join(self.format_message().split()).rstrip(".")
        click.echo(f"error: {said}; see {command} --help", err=True)


class _Group(click.Group):
    """A group that answers errors a user can fix in one line, with their exit code."""

    command_class = Command

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except click.UsageError as error:
            raise _in_one_line(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _in_one_line(error) from None
        except GuideplugError as error:
            click.echo(f"error: {_cropped(visible(' '.join(str(error).split())))}", err=True)
            ctx.exit(error.exit_code)
        except (MemoryError, RuntimeError) as error:
            if not _is_lack_of_memory(error):
                raise
            said = visible(str(error).partition("\n")[0])
            click.echo(f"error: not enough memory ({said}): ask for fewer or smaller things", err=True)
            ctx.exit(1)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            what = f"{error.filename or 'a file'} cannot be written ({error.strerror})"
            click.echo(f"error: {what}; what was written before is whole", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from guideplug.errors import nearest

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            commands = ", ".join(self.list_commands(ctx))
            raise UsageError(f"no command is called {args[0]!r}{nearest(args[0], self.commands)}; commands: {commands}")
        return super().resolve_command(ctx, args)


def _cropped(text: str) -> str:
    """A message without the middle of a value that somebody made very long."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def _is_lack_of_memory(error: BaseException) -> bool:
    """Whether an allocation was refused, by Python, numpy, torch or a device, or one that no machine could count."""
    said = str(error)
    return isinstance(error, MemoryError) or any(
        text in said for text in ("t allocate memory", "out of memory", "Storage size calculation overflowed")
    )


def _in_one_line(error: click.UsageError) -> click.UsageError:
    if isinstance(error, click.exceptions.NoArgsIsHelpError | _Misuse):
        return error
    return _Misuse(error.format_message(), error.ctx)


class _Whole(click.ParamType):  # type: ignore[type-arg]
    """A whole number; one that is too small, or none, is answered with the option, what it is, and an example."""

    name = "whole number"

    def __init__(self, least: int, what: str, example: int) -> None:
        self.least, self.what, self.example = least, what, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number.

        Raises:
            UsageError: it is none, or too small.
        """
        try:
            number = int(value)
        except ValueError:
            number = None
        if number is None or number < self.least:
            option = param.opts[0] if param is not None else "an option"
            given = str(value) or repr(value)
            wrong = "no whole number" if number is None else f"below {self.least}"
            raise UsageError(
                f"{option} {given} is {wrong}: give the number of {self.what}, as in {option} {self.example}"
            )
        return number


def _pair(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """``KEY=VALUE`` options as pairs, each key once."""
    pairs: list[tuple[str, str]] = []
    before: dict[str, str] = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key.strip() or not text.strip():
            raise click.BadParameter(f"{value!r} is no {parameter.metavar}: write it with '=' and no spaces around")
        pairs.append((key.strip(), text.strip()))
        same = field_name(key.strip())
        if same in before:
            raise UsageError(
                f"{parameter.opts[0]} {key.strip()} is given twice, {before[same]!r} and {text.strip()!r}: give one"
            )
        before[same] = text.strip()
    return tuple(pairs)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("guideplug"), prog_name="guideplug")
def main() -> None:
    """Guiders and data selectors for diffusion models, as plugins that compose.

    \b
    guideplug run --guider autoguidance --selector early-jest
    """


_JOBS = click.option(
    "--jobs", type=_Whole(1, "processes at a time", 2), default=1, metavar="N",
    help="Processes at a time; by default 1.",
)  # fmt: skip
_OUT = click.option("--out", metavar="FOLDER", help="Where results go; by default a new folder under runs/.")
_TRUST = click.option(
    "--trust", is_flag=True, help="Run code that a file names, though this line does not; it is remembered."
)
_DEVICE = click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1 ...; by default CUDA where there is one.")


_OBSERVER = click.option(
    "--observer", "observers", metavar="EXPR", multiple=True,
    help="Who watches, such as tensorboard; by default nobody. Decides nothing. Repeatable.",
)  # fmt: skip


def _shared(command: Any) -> Any:
    """Options of the commands that sample."""
    for decorate in reversed(
        [
            click.option("--guider", metavar="EXPR", help="How to guide, such as 'autoguidance(weight=2.1)'."),
            click.option("--sampler", metavar="EXPR", help="How samples are drawn, such as 'heun(num_steps=18)'."),
            click.option(
                "--model", "models", metavar="ROLE=PATH", multiple=True, callback=_pair,
                help="A role's network: a .safetensors file, or a recipe's expression. Repeatable.",
            ),
            click.option(
                "--set", "sets", metavar="KEY=VALUE", multiple=True, callback=_pair,
                help="One option, such as guider.weight=2.5, train.lr=0.01 or models.weak.seed=1. Repeatable.",
            ),
            click.option("--samples", type=int, metavar="N", help="Samples of each arm."),
            _OUT,
            _DEVICE,
            _OBSERVER,
            _TRUST,
            click.option(
                "--plugin", "plugins", metavar="FILE.py", multiple=True,
                help="A local plugin. It is code and runs as such. Repeatable.",
            ),
            click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else."),
        ]
    ):  # fmt: skip
        command = decorate(command)
    return command


@main.command(short_help="One experiment: train, select, guide, sample, measure.")
@click.argument("config", required=False, metavar="[CONFIG.toml]")
@click.option("--task", metavar="EXPR", help="The data, such as tree or digits.")
@click.option("--denoiser", metavar="EXPR", help="The main network's architecture.")
@click.option("--selector", metavar="EXPR", help="What is trained on, such as early-jest.")
@click.option("--batch", type=int, metavar="N", help="Examples drawn for a step; a selector's super-batch.")
@click.option("--duration", metavar="LENGTH", help="How long to train: 512it, 3.3Mex, 90s.")
@click.option("--seed", type=int, metavar="N", help="Decides initial weights and every draw of the training.")
@click.option("--resume", metavar="FOLDER", help="Go on with an interrupted run.")
@click.option("--fresh", is_flag=True, help="Train every network anew, though the store has it.")
@click.option(
    "--dry-run", is_flag=True, help="Print the resolved configuration, the networks, and an estimate of time."
)
@_shared
def run(config: str | None, **options: Any) -> None:
    """One experiment: train, select, guide, sample, measure.

    CONFIG.toml holds any of the options; those of the command line win. Without it the task's defaults hold.

    \b
    guideplug run --guider autoguidance --selector early-jest
    guideplug run --task digits --guider 'cfg(weight=2.5)'
    """
    from guideplug.cli.commands import run_command

    run_command(config, options)


@main.command(short_help="Guiders and selectors over seeds, at equal time, examples and iterations.")
@click.argument("config", required=False, metavar="[CONFIG.toml]")
@click.option("--task", metavar="EXPR", help="The data, such as tree or digits; by default tree.")
@click.option("--denoiser", metavar="EXPR", help="The main network's architecture; by default the task's.")
@click.option(
    "--guider",
    "guiders",
    metavar="EXPR",
    multiple=True,
    help="An arm's guider; by default none. Repeatable; 'cfg(weight=1:3:0.5)' is an arm for each number.",
)
@click.option(
    "--selector", "selectors", metavar="EXPR", multiple=True, help="An arm's selector; by default none. Repeatable."
)
@click.option("--seeds", metavar="N,N,...", help="Seeds of the trainings, joined by commas; by default 0.")
@click.option(
    "--duration",
    metavar="LENGTH",
    help="How long each training is, in iterations: 4096it; by default the task's.",
)
@click.option(
    "--batch",
    type=_Whole(1, "examples drawn for a step", 1024),
    metavar="N",
    help="Examples drawn for a step, a selector's super-batch; by default the task's.",
)
@click.option("--sampler", metavar="EXPR", help="How samples are drawn; by default the task's.")
@click.option(
    "--samples",
    type=_Whole(2, "samples of each measurement", 4096),
    metavar="N",
    help="Samples of each measurement, 2 or more; by default the task's.",
)
@click.option(
    "--moments",
    type=_Whole(1, "moments along each training", 8),
    metavar="N",
    help="Moments along each training that are measured for the curves; by default 8.",
)
@click.option(
    "--snapshots",
    type=_Whole(1, "snapshots along each training", 100),
    metavar="N",
    help="Snapshots that budgets choose from; by default 100, or as many as take 1 GB of disk.",
)
@click.option("--curves/--no-curves", default=None, help="Measure the moments, the default, or only what tables need.")
@click.option(
    "--charge-reference",
    is_flag=True,
    help="Count the training of a selector's reference as its time; by default it stands beside it.",
)
@click.option(
    "--model",
    "models",
    metavar="ROLE=PATH",
    multiple=True,
    callback=_pair,
    help="A role's network: a .safetensors file, or a recipe's expression; by default the task's recipe. Repeatable.",
)
@click.option(
    "--set",
    "sets",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_pair,
    help="One option, such as train.lr=0.01 or models.weak.seed=0; by default none. Repeatable.",
)
@_JOBS
@_OUT
@click.option("--resume", metavar="FOLDER", help="Go on with an interrupted comparison; by default a new one begins.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the configuration, what there is to do, what the store has, and an estimate of time.",
)
@_DEVICE
@_OBSERVER
@click.option(
    "--plugin",
    "plugins",
    metavar="FILE.py",
    multiple=True,
    help="A local plugin; by default none. It is code and runs as such. Repeatable.",
)
@_TRUST
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def compare(config: str | None, **options: Any) -> None:
    """Guiders and selectors over seeds, at equal time, equal examples and equal iterations, from one set of trainings.

    Selectors are compared with the first one and with random selection, guiders with the first one. One arm is compared
    with nothing, and one seed gives no interval: give several of both. The store keeps every network with all its
    snapshots, (selectors) x (seeds) x (snapshots) times the size of one; guideplug store prune makes room.

    \b
    guideplug compare --selector none --selector random --selector early-jest --seeds 0,1,2 --jobs 2
    guideplug compare --guider none --guider 'autoguidance(weight=1.5:3:0.5)' --seeds 0,1,2
    """
    from guideplug.cli.compare import compare_command

    compare_command(config, options)


@main.command(short_help="Scripted experiments that plugins bring.")
@click.argument("study", required=False, metavar="[STUDY]")
@click.option(
    "--set",
    "sets",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_pair,
    help="One option of the study, such as seeds=[0,1,2]. Repeatable.",
)
@_JOBS
@_OUT
@click.option("--resume", metavar="FOLDER", help="Go on with an interrupted study.")
@click.option("--dry-run", is_flag=True, help="Print what there is to do, what the store has, and an estimate of time.")
@_DEVICE
@_OBSERVER
@click.option(
    "--plugin",
    "plugins",
    metavar="FILE.py",
    multiple=True,
    help="A local plugin. It is code and runs as such. Repeatable.",
)
@_TRUST
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def study(study: str | None, **options: Any) -> None:
    """Scripted experiments that plugins bring; without STUDY, a list of them.

    STUDY is a name, or an expression with options. The networks of a study are kept in the store, what was measured in
    its folder: an interrupted one goes on, and another study uses the networks again.

    \b
    guideplug study
    guideplug study figure1
    guideplug study 'weights(task=digits, seeds=[0, 1, 2])' --jobs 2
    """
    from guideplug.cli.study import study_command

    study_command(study, options)


@main.command(short_help="Guide a finished run, or a network of your own, without training it.")
@click.argument("folder", required=False, metavar="[RUN_FOLDER]")
@click.option("--task", metavar="EXPR", help="The task that a network of your own is for.")
@click.option("--denoiser", metavar="EXPR", help="The architecture of your own checkpoint.")
@click.option("--seed", type=int, metavar="N", help="Another seed for the samples' noise.")
@_shared
def sample(folder: str | None, **options: Any) -> None:
    """Guide a finished run anew: its networks and options, another guider or sampler. Nothing it has is trained again.

    Without RUN_FOLDER, guide a network of your own: a .safetensors file, or python("module:function") for one that
    your own code builds. A network for a role that is not there is trained, as in guideplug run.

    \b
    guideplug sample runs/FOLDER --guider 'autoguidance(weight=3)'
    guideplug sample --task digits --model main='python("./mine.py:build")' --guider cfg
    guideplug sample --task digits --model main=whole.safetensors --denoiser 'python("mypkg:build")' --guider sims
    """
    from guideplug.cli.commands import sample_command

    sample_command(folder, options)


@main.command(short_help="A run in progress, from its event log.")
@click.argument("folder", metavar="RUN_FOLDER")
@click.option("--once", is_flag=True, help="Show how it stands now, and end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
def watch(folder: str, once: bool, interval: float) -> None:
    """A run in progress, from its event log: of this machine, or of another on a shared folder.

    RUN_FOLDER is that of guideplug run, sample, compare or study. On a terminal its curves, rates and times left are
    shown until it ends; elsewhere a line is printed for each thing that happens. Ctrl-C ends watching, not the run.
    """
    from guideplug.watch import watch_folder

    watch_folder(folder, once=once, interval=interval)


@main.command(short_help="The metrics of any samples file.")
@click.argument("samples", metavar="SAMPLES")
@click.option("--task", metavar="EXPR", help="The task whose metrics are measured.")
@click.option("--sampler", metavar="EXPR", help="The sampler of the reference arms, where the task draws some.")
@click.option("--seed", type=int, default=0, metavar="N", help="Decides the true samples and what metrics draw.")
@click.option("--figure", metavar="FILE.png", help="Draw the samples beside true ones.")
@click.option("--plugin", "plugins", metavar="FILE.py", multiple=True, help="A local plugin. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def evaluate(samples: str, **options: Any) -> None:
    """The metrics of any samples file, beside those of true samples.

    SAMPLES is an .npy file with one array (N, ...), or an .npz file: each array is an arm of its own, except
    "condition", what they were drawn under, and "start", the noise they came from. Nothing in it is executed.
    """
    from guideplug.cli.evaluate import evaluate_command

    evaluate_command(samples, options)


@main.command(short_help="Is a network what it is said to be?")
@click.argument("model", metavar="MODEL")
@click.option("--task", metavar="EXPR", help="The data that the network is for; by default the default task.")
@click.option("--denoiser", metavar="EXPR", help="The architecture of a checkpoint; by default the task's.")
@click.option(
    "--examples", metavar="PATH", help="Clean samples, .npy or .npz; by default those that the task trains on."
)
@click.option("--seed", type=int, default=0, metavar="N", help="Decides which examples are used, and their noise.")
@_DEVICE
@click.option(
    "--plugin", "plugins", metavar="FILE.py", multiple=True,
    help="A local plugin. It is code and runs as such. Repeatable.",
)  # fmt: skip
@_TRUST
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def check(model: str, **options: Any) -> None:
    """Is a network what it is said to be? Its error on noised real examples, and what else it may be.

    MODEL is what --model main= takes: a .safetensors file, also one of a run's, or a recipe's expression such as
    python("./mine.py:build"). Parametrisations, schedules, units of the data and labels are tried. Exit code 1 where it
    is wrong.

    \b
    guideplug check 'python("./mine.py:build")' --task digits
    guideplug check runs/FOLDER/denoisers/main.safetensors --task tree
    """
    from guideplug.cli.check_network import check_network

    check_network(model, options)


@main.command(short_help="The formula and the cost of a guider.")
@click.argument("guider", metavar="GUIDER")
@click.option("--task", metavar="EXPR", help="The task whose networks it guides.")
@click.option("--denoiser", metavar="EXPR", help="The main network's architecture.")
@click.option("--sampler", metavar="EXPR", help="The sampler whose evaluations are counted.")
@click.option(
    "--steps", type=_Whole(1, "steps of the sampler", 18), metavar="N", help="The sampler's steps, its num_steps."
)
@click.option(
    "--model",
    "models",
    metavar="ROLE=PATH",
    multiple=True,
    callback=_pair,
    help="A role's network: a .safetensors file, or a recipe's expression. Repeatable.",
)
@click.option("--plugin", "plugins", metavar="FILE.py", multiple=True, help="A local plugin. Repeatable.")
@_TRUST
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def explain(guider: str, **options: Any) -> None:
    """The formula and the cost of a guider: which network is called at which noise levels, how often, and in all.

    The prediction is the planner's, and a run counts the same. Nothing is trained, and no sample is drawn.

    \b
    guideplug explain 'interval(autoguidance, low=0.1, high=2)' --steps 16
    guideplug explain 'cfg(weight=2)' --task digits --sampler 'euler(num_steps=50)' --json
    """
    from guideplug.cli.explain import explain_command

    explain_command(guider, options)


@main.command(short_help="A working plugin to start from.")
@click.argument("name", metavar="NAME")
@click.option(
    "--kind", type=click.Choice(KINDS), default="guider", show_default=True, help="What the plugin is to bring."
)
@click.option("--out", metavar="FOLDER", help="Where it is written; by default a new folder NAME.")
def new(name: str, kind: Kind, out: str | None) -> None:
    """A working plugin to start from: code, tests, README and packaging of one guider, or of another kind.

    \b
    guideplug new my-guide
    guideplug new my-data --kind task
    """
    from guideplug.cli.new import new_plugin

    new_plugin(name, kind, out)


@main.command(short_help="What all this is, in seconds.")
@click.option("--out", metavar="FOLDER", default=".", help="Where the picture goes; by default here.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def demo(out: str, as_json: bool) -> None:
    """What all this is, in seconds: guidance on a density that is known exactly, and between two tiny networks.

    The networks are trained on the spot, what guidance gains and costs is measured, and a picture is drawn.
    """
    from guideplug.cli.demo import demo_command

    demo_command(out, as_json)


@main.command(short_help="One page: a run, several, a comparison or a study.")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="Where the page goes; by default report.html.")
@click.option(
    "--plugin", "plugins", metavar="FILE.py", multiple=True,
    help="A local plugin that the run was made with. It is code and runs as such. Repeatable.",
)  # fmt: skip
def report(folders: tuple[str, ...], **options: Any) -> None:
    """One page of HTML that needs neither a network nor a server: a run, several, a comparison or a study.

    RUN is a run's folder, or that of a comparison or a study; its page is report.html in it. Of several runs it is
    report.html in the current folder, with a table, curves, and a link to each run's page, which is written anew.

    \b
    guideplug report runs/FOLDER
    guideplug report runs/A runs/B --out both.html
    """
    from guideplug.cli.report import report_command

    report_command(folders, options)


@main.command(short_help="BibTeX of what a run used.")
@click.argument("folder", metavar="RUN_FOLDER")
@_TRUST
def cite(folder: str, trust: bool) -> None:
    """BibTeX of what a run used: guideplug, and the source of each method in it, with what it was used for.

    Methods that name no source are listed as comments.
    """
    from guideplug.cli.cite import cite_command

    cite_command(folder, trust=trust)


@main.group(cls=_Group, short_help="What is installed, from where, what is broken.")
def plugins() -> None:
    """What is installed, from where, what is broken."""


@plugins.command("list", short_help="Every plugin and what it offers.")
@click.option("--plugin", "plugins", metavar="FILE.py", multiple=True, help="A local plugin too. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def plugins_list(plugins: tuple[str, ...], as_json: bool) -> None:
    """Every plugin, where it comes from, what it offers, and why it is broken if it is."""
    from guideplug.cli.inspect import list_plugins

    list_plugins(plugins, as_json)


@plugins.command("show", short_help="One plugin or strategy: options, defaults, source.")
@click.argument("name")
@click.option("--plugin", "plugins", metavar="FILE.py", multiple=True, help="A local plugin too. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def plugins_show(name: str, plugins: tuple[str, ...], as_json: bool) -> None:
    """One plugin or strategy: its options with their defaults, units and help, and where the method comes from."""
    from guideplug.cli.inspect import show_plugin

    show_plugin(name, plugins, as_json)


@plugins.command("check", short_help="The laws that hold for a plugin, and those that do not.")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--plugin", "plugins", metavar="FILE.py", multiple=True, help="A local plugin, instead. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def plugins_check(name: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """The laws that hold for what a plugin offers, and those that do not, with the reason and what to do.

    NAME is a plugin, a distribution or a strategy; without it and without a file, all that is installed is checked.
    A plugin is code, and is run. Nothing is trained. Exit code 1 when a law does not hold.

    \b
    guideplug plugins check interval
    guideplug plugins check --plugin ./mine.py
    """
    from guideplug.cli.check import check_plugins

    check_plugins(name, plugins, as_json)


@main.command(short_help="Completion of names in bash, zsh or fish.")
@click.argument("shell", required=False, metavar="[bash|zsh|fish]", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str | None) -> None:
    """The script that makes TAB complete commands, options and the names of strategies; without SHELL, for yours.

    \b
    guideplug completion bash >> ~/.bashrc
    guideplug completion zsh >> ~/.zshrc
    guideplug completion fish > ~/.config/fish/completions/guideplug.fish
    """
    from guideplug.cli.completion import print_script

    print_script(shell)


@main.group(cls=_Group, short_help="List, verify and prune trained networks.")
def store() -> None:
    """Trained networks, kept for other runs: in $GUIDEPLUG_STORE, else in the platform's cache."""


@store.command("list", short_help="What is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def store_list(as_json: bool) -> None:
    """What is there: identity, network, task, iterations, seconds, size."""
    from guideplug.cli.inspect import list_store

    list_store(as_json)


@store.command("verify", short_help="Check every file against its checksum.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
def store_verify(as_json: bool) -> None:
    """Check every file against its checksum; exit code 1 when something is damaged."""
    from guideplug.cli.inspect import verify_store

    verify_store(as_json)


@store.command("prune", short_help="Remove networks.")
@click.argument("identities", nargs=-1, metavar="[IDENTITY]...")
@click.option("--damaged", is_flag=True, help="Those that are damaged.")
@click.option("--partial", is_flag=True, help="What unfinished trainings left.")
@click.option("--older", type=float, metavar="DAYS", help="Those made longer ago than this.")
@click.option("--all", "everything", is_flag=True, help="All.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def store_prune(identities: tuple[str, ...], **options: Any) -> None:
    """Remove networks: those named by the beginning of their identity, or of one of the kinds below."""
    from guideplug.cli.inspect import prune_store

    prune_store(identities, **options)


if "_GUIDEPLUG_COMPLETE" in os.environ:  # a shell asks
    from guideplug.cli.completion import complete_names

    complete_names(main)

if __name__ == "__main__":
    sys.exit(main())
