"""The commands of experiments and their options; their work is in the modules beside this one."""

from typing import Any

import click

from guideplug.cli.command import Command
from guideplug.cli.number import Whole
from guideplug.cli.parameters import expression, operand
from guideplug.cli.shared_options import (
    denoiser,
    dry_run,
    many_runs,
    models,
    resume,
    sampler,
    sampling,
    seed,
    sets,
    task,
)
from guideplug.errors import UsageError

__all__ = ["compare", "run", "sample", "study"]


@click.command(cls=Command, short_help="One experiment: train, select, guide, sample, measure.")
@click.argument("config", required=False, metavar="[CONFIG.toml]")
@task("The data, such as tree or digits.")
@denoiser("The main network's architecture.")
@expression(
    "--selector", kind="selector", none="every example", help="The selector of training examples, such as early-jest."
)
@click.option(
    "--batch",
    type=Whole(1, "the number of examples drawn for a step", 1024),
    metavar="N",
    help="Examples drawn per step; with a selector, the super-batch.",
)
@click.option("--duration", metavar="LENGTH", help="Length of the training: 512it, 3.3Mex, 90s.")
@seed("Seed of the initial weights and of every draw in training.")
@click.option(
    "--preview",
    metavar="OPTIONS",
    help="Samples as a PNG along the training, as in every=500it,samples=64: short for --observer 'preview(OPTIONS)'.",
)
@click.option(
    "--measure",
    metavar="OPTIONS",
    help="Metrics along the training, as in every=1000it,samples=256: short for --observer 'measure(OPTIONS)'.",
)
@resume("run")
@click.option("--fresh", is_flag=True, help="Train every network, even if it is in the store.")
@click.option("--bundle", is_flag=True, help="Copy the networks' store entries into the folder, to run it elsewhere.")
@dry_run("the resolved configuration, the networks")
@sampling
def run(config: str | None, **options: Any) -> None:
    """One experiment: train, select, guide, sample, measure.

    CONFIG.toml holds any of the options; those of the command line win. Without it the task's defaults hold.

    \b
    guideplug run --guider autoguidance --selector early-jest
    guideplug run --task digits --guider 'cfg(weight=2.5)'
    """
    from guideplug.cli.commands import run_command

    run_command(config, options)


def _moments_gone(context: click.Context, option: click.Parameter, value: str | None) -> None:
    """Refuse an option of earlier versions by its name."""
    if value is not None:
        raise UsageError(
            f"--moments {value} is gone: 8 of the snapshots along each training are measured for the curves; give "
            "--snapshots N, or leave both out"
        )


@click.command(cls=Command, short_help="Guiders and selectors over seeds, at equal time, examples and iterations.")
@click.argument("config", required=False, metavar="[CONFIG.toml]")
@task("The data, such as tree or digits; by default tree.")
@denoiser("The main network's architecture; by default the task's.")
@expression(
    "--guider", "guiders", kind="guider", none="no guidance", times="arms",
    help="An arm's guider; by default none. 'cfg(weight=1:3:0.5)' is an arm for each number.",
)  # fmt: skip
@expression(
    "--selector", "selectors", kind="selector", none="every example", times="arms",
    help="An arm's selector; by default none.",
)  # fmt: skip
@click.option("--seeds", metavar="N,N,...", help="Seeds of the trainings, joined by commas; by default 0.")
@click.option(
    "--duration", metavar="LENGTH", help="How long each training is, in iterations: 4096it; by default the task's."
)
@click.option(
    "--batch",
    type=Whole(1, "the number of examples drawn for a step", 1024),
    metavar="N",
    help="Examples drawn for a step, a selector's super-batch; by default the task's.",
)
@sampler("How samples are drawn; by default the task's.")
@click.option(
    "--samples",
    type=Whole(2, "the number of samples of each measurement", 4096),
    metavar="N",
    help="Samples of each measurement, 2 or more; by default the task's.",
)
@click.option("--moments", hidden=True, expose_value=False, callback=_moments_gone)
@click.option(
    "--snapshots",
    type=Whole(1, "the number of snapshots along each training", 100),
    metavar="N",
    help="Snapshots along each training, which budgets choose from; by default 100, or as many as take 1 GB of disk.",
)
@click.option(
    "--curves/--no-curves",
    default=None,
    help="Measure 8 snapshots of each training, the default, or only what tables need.",
)
@click.option(
    "--charge-reference",
    is_flag=True,
    help="Count the training of a selector's reference as its time; by default it stands beside it.",
)
@models("A role's network: a .safetensors file, or a recipe's expression; by default the task's recipe.")
@sets("One option, such as train.lr=0.01 or models.weak.seed=0; by default none.")
@many_runs("comparison", "the configuration, what there is to do, what the store has")
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


@click.command(cls=Command, short_help="Scripted experiments that plugins bring.")
@operand("study", kind="study", metavar="[STUDY]", required=False)
@sets("One option of the study, such as seeds=[0,1,2].")
@many_runs("study", "what there is to do, what the store has")
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


@click.command(cls=Command, short_help="Guide a finished run, or a network of your own, without training it.")
@click.argument("folder", required=False, metavar="[RUN_FOLDER]")
@task("The task that a network of your own is for.")
@denoiser("The architecture of your own checkpoint.")
@seed("Seed of the samples' noise.")
@sampling
def sample(folder: str | None, **options: Any) -> None:
    """Guide a finished run anew: its networks and options, another guider or sampler. Nothing it has is trained again.

    Without RUN_FOLDER, guide a network of your own: a .safetensors file, or python("module:function") for one that
    your own code builds. A network for a role that is not there is trained, as in guideplug run. A guider with a range
    is drawn and measured at each number, from the same noise: a table, curves and a grid by weight.

    \b
    guideplug sample runs/FOLDER --guider 'autoguidance(weight=3)'
    guideplug sample runs/FOLDER --guider 'autoguidance(weight=1:3:0.25)'
    guideplug sample --task digits --model main='python("./mine.py:build")' --guider cfg
    guideplug sample --task digits --model main=whole.safetensors --denoiser 'python("mypkg:build")' --guider sims
    """
    from guideplug.cli.commands import sample_command

    sample_command(folder, options)
