"""The root command and its subcommands; their work is in the modules beside this one, imported when needed."""

import os
import sys
from importlib.metadata import version
from typing import Any

import click

from guideplug.cli.experiments import compare, run, sample, study
from guideplug.cli.group import Group
from guideplug.cli.number import Number, Whole
from guideplug.cli.parameters import expression, operand
from guideplug.cli.plugins_commands import plugins
from guideplug.cli.scaffold import KINDS, LIKE, Kind
from guideplug.cli.shared_options import DEVICE, JSON, TRUST, denoiser, local_plugins, models, sampler, seed, task
from guideplug.cli.store_commands import store
from guideplug.errors import UsageError

__all__ = ["main"]


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("guideplug"), prog_name="guideplug")
@click.option("--traceback", is_flag=True, help="Print the Python trace of an error, for authors.")
def main(traceback: bool) -> None:
    """Guiders and data selectors for diffusion models, as plugins that compose.

    \b
    guideplug run --guider autoguidance --selector early-jest
    """


for _command in (run, compare, study, sample, plugins, store):
    main.add_command(_command)


@main.command(short_help="A run in progress, from its event log.")
@click.argument("folder", metavar="RUN_FOLDER")
@click.option("--once", is_flag=True, help="Show the present state and exit.")
@click.option(
    "--interval",
    type=Number(0.1, "the seconds between two readings of the log", 2, 86_400),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Interval between two readings of the log.",
)
def watch(folder: str, once: bool, interval: float) -> None:
    """A run in progress, from its event log: of this machine, or of another on a shared folder.

    RUN_FOLDER is that of guideplug run, sample, compare or study. On a terminal its curves, rates and times left are
    shown until it ends; elsewhere a line is printed for each thing that happens. Ctrl-C ends watching, not the run.
    """
    from guideplug.cli.watch import watch_folder

    watch_folder(folder, once=once, interval=interval)


@main.command(short_help="The metrics of any samples file.")
@click.argument("samples", metavar="SAMPLES")
@task("The task whose metrics are measured.")
@sampler("The sampler of the reference arms, where the task draws some.")
@seed("Seed of the true samples and of the draws of metrics.", default=0)
@click.option("--figure", metavar="FILE.png", help="Draw the samples beside true ones.")
@expression("--features", kind="features", help="Measure images by these features, in place of a task's metrics.")
@click.option("--reference", metavar="FILE", help="With --features: statistics (.npz, .pkl), or images.")
@click.option("--train", metavar="PATH", help="With --features: training images, to find copies of them.")
@click.option("--statistics", metavar="FILE", help="With --features: write those of SAMPLES, .npz or .pkl.")
@click.option(
    "--repeats",
    type=Whole(1, "the number of parts that SAMPLES is cut into", 1000),
    default=1,
    show_default=True,
    metavar="N",
    help="With --features: parts of SAMPLES, each measured by itself.",
)
@click.option(
    "--batch",
    type=Whole(1, "the number of images that the features take at a time", 64),
    metavar="N",
    help="With --features: images that they take at a time; by default 64.",
)
@DEVICE
@local_plugins()
@JSON
def evaluate(samples: str, **options: Any) -> None:
    """The metrics of any samples file, beside those of true samples.

    SAMPLES is an .npy file with one array (N, ...), or an .npz file: each array is an arm of its own, except
    "condition", what they were drawn under, and "start", the noise they came from. Nothing in it is executed.

    With --features it is anybody's images: a folder or a zip of pictures, or arrays of uint8 or floats.

    \b
    guideplug evaluate runs/FOLDER/samples.npz --task tree
    guideplug evaluate out/ --features 'inception("inception.pth")' --reference fid.pkl --repeats 3
    """
    if options["features"] is not None:
        from guideplug.cli.evaluate_images import evaluate_images

        evaluate_images(samples, options)
        return
    alone = [name for name in ("reference", "train", "statistics", "batch", "device") if options[name] is not None]
    if alone or options["repeats"] > 1:
        raise UsageError(f"--{(alone or ['repeats'])[0]} is of images: give --features, in which they are measured")
    from guideplug.cli.evaluate import evaluate_command

    evaluate_command(samples, options)


@main.command(short_help="Whether a network fits its description and its data.")
@operand("model", kind="network", metavar="MODEL")
@task("The data that the network is for; by default the default task.")
@denoiser("The architecture of a checkpoint; by default the task's.")
@click.option(
    "--examples", metavar="PATH", help="Clean samples, .npy or .npz; by default those that the task trains on."
)
@seed("Seed of the choice of examples and of their noise.", default=0)
@DEVICE
@local_plugins()
@TRUST
@JSON
def check(model: str, **options: Any) -> None:
    """Whether a network fits its description: its error on noised real examples, and what would fit better.

    MODEL is what --model main= takes: a .safetensors file, also one of a run's, or a recipe's expression such as
    python("./mine.py:build"). Parametrisations, schedules, units of the data and labels are tried. Exit code 1 where it
    is wrong.

    \b
    guideplug check 'python("./mine.py:build")' --task digits
    guideplug check runs/FOLDER/denoisers/main.safetensors --task tree
    """
    from guideplug.cli.check import check_network

    check_network(model, options)


@main.command("import", short_help="A checkpoint of another program, as safetensors with a sheet.")
@click.argument("file", metavar="FILE")
@click.argument("out", metavar="[OUT.safetensors]", required=False)
@click.option("--key", metavar="KEY", help="Which of the checkpoint's networks, as ema.")
@local_plugins("A local plugin with the network's architecture. It is code and runs as such.")
@JSON
def import_(file: str, out: str | None, **options: Any) -> None:
    """A checkpoint of another program, as safetensors, with a sheet that says what it is.

    FILE is a checkpoint of torch (.pt, .pth, .ckpt, Lightning's too), a folder of accelerate, a .safetensors file, or a
    snapshot of EDM or EDM2 (.pkl). Nothing in it is executed. The sheet is OUT.json: architecture, shape, noise levels,
    classes, encoder, and the SHA-256 of FILE. --model ROLE=OUT.safetensors then needs nothing else.

    \b
    guideplug import edm2-img512-s-guid-fid.pkl
    guideplug import last.ckpt mine.safetensors --key state_dict.ema_model
    """
    from guideplug.cli.import_checkpoint import import_command

    import_command(file, out, options)


@main.command(short_help="The formula and the cost of a guider.")
@operand("guider", kind="guider", metavar="GUIDER")
@task("The task whose networks it guides.")
@denoiser("The main network's architecture.")
@sampler("The sampler whose evaluations are counted.")
@click.option(
    "--steps",
    type=Whole(1, "the number of steps of the sampler", 18),
    metavar="N",
    help="Number of sampler steps (num_steps).",
)
@models()
@local_plugins()
@TRUST
@JSON
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
@click.option("--kind", type=click.Choice(KINDS), default="guider", show_default=True, help="Kind of plugin.")
@click.option(
    "--like",
    type=click.Choice(sorted({like for names in LIKE.values() for like in names})),
    help="Of a task: what its data are like, vectors (points) or images with classes (digits).",
)
@click.option("--out", metavar="FOLDER", help="Folder to write to; by default a new folder NAME.")
@click.option("--in-tree", is_flag=True, help="Write it into this checkout of guideplug, as CONTRIBUTING.md asks.")
def new(name: str, kind: Kind, like: str | None, out: str | None, in_tree: bool) -> None:
    """A working plugin to start from: code, tests, README and packaging of one guider, or of another kind.

    \b
    guideplug new my-guide
    guideplug new my-data --kind task --like points
    """
    from guideplug.cli.new import new_plugin

    new_plugin(name, kind, like, out, in_tree=in_tree)


@main.command(short_help="A demonstration of guidance, in seconds.")
@click.option("--out", metavar="FOLDER", default=".", help="Folder for the picture; by default the current one.")
@JSON
def demo(out: str, as_json: bool) -> None:
    """A demonstration, in seconds: guidance on a density that is known exactly, and between two tiny networks.

    It trains the networks, measures what guidance gains and costs, and draws a picture.
    """
    from guideplug.cli.demo.command import demo_command

    demo_command(out, as_json)


@main.command(short_help="The page of a run, of several, a comparison or a study.")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="File of the page; by default report.html.")
@local_plugins("A local plugin that the run was made with. It is code and runs as such.")
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
@TRUST
def cite(folder: str, trust: bool) -> None:
    """BibTeX of what a run used: guideplug, and the source of each method in it, with what it was used for.

    Methods that name no source are listed as comments.
    """
    from guideplug.cli.cite import cite_command

    cite_command(folder, trust=trust)


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


if "_GUIDEPLUG_COMPLETE" in os.environ:  # a shell asks
    from guideplug.cli.completion import use_bash

    use_bash()

if __name__ == "__main__":
    sys.exit(main())
