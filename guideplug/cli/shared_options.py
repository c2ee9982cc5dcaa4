"""Options that several commands have, each written once: alone, or in the groups that commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from guideplug.cli.number import SEED, Whole
from guideplug.cli.parameters import expression, pairs, plugin_files

__all__ = [
    "DEVICE",
    "JSON",
    "TRUST",
    "denoiser",
    "dry_run",
    "local_plugins",
    "many_runs",
    "models",
    "resume",
    "sampler",
    "sampling",
    "seed",
    "sets",
    "task",
]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

TRUST = click.option("--trust", is_flag=True, help="Run code that only a file names, and remember the decision.")
DEVICE = click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1 ...; by default CUDA where there is one.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
OUT = click.option("--out", metavar="FOLDER", help="Where results go; by default a new folder under runs/.")


def task(help: str) -> Callable[[Decorated], Decorated]:
    """``--task``: the data."""
    return expression("--task", kind="task", help=help)


def denoiser(help: str) -> Callable[[Decorated], Decorated]:
    """``--denoiser``: an architecture."""
    return expression("--denoiser", kind="denoiser", help=help)


def sampler(help: str) -> Callable[[Decorated], Decorated]:
    """``--sampler``: how samples are drawn."""
    return expression("--sampler", kind="sampler", help=help)


def seed(help: str, default: int | None = None) -> Callable[[Decorated], Decorated]:
    """``--seed``: a whole number that decides draws."""
    return click.option("--seed", type=SEED, default=default, metavar="N", help=help)


def models(
    help: str = "A role's network: a .safetensors file, or a recipe's expression.",
) -> Callable[[Decorated], Decorated]:
    """``--model``: the networks of roles."""
    return pairs("--model", "models", kind="network", metavar="ROLE=PATH", help=help)


def sets(help: str) -> Callable[[Decorated], Decorated]:
    """``--set``: single options."""
    return pairs("--set", "sets", metavar="KEY=VALUE", help=help)


def local_plugins(help: str = "A local plugin. It is code and runs as such.") -> Callable[[Decorated], Decorated]:
    """``--plugin``: the local plugins of a command."""
    return plugin_files("--plugin", "plugins", metavar="FILE.py", help=help)


def resume(what: str) -> Callable[[Decorated], Decorated]:
    """``--resume``: the folder of what was interrupted."""
    return click.option("--resume", metavar="FOLDER", help=f"Go on with an interrupted {what}.")


def dry_run(prints: str) -> Callable[[Decorated], Decorated]:
    """``--dry-run``: what would be done, and how long it would take."""
    return click.option("--dry-run", is_flag=True, help=f"Print {prints}, and an estimate of time.")


def _grouped(*options: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Several options as one decorator, in this order in help."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_around = _grouped(
    DEVICE,
    expression(
        "--observer", "observers", kind="observer", none="no observer", times="together",
        help="An observer, such as tensorboard; by default none. It does not change the results.",
    ),
    local_plugins(),
    TRUST,
    JSON,
)  # fmt: skip
"""Options of every command that makes a folder of results: device, observers, code and printing."""

sampling = _grouped(
    expression("--guider", kind="guider", none="no guidance", help="The guider, such as 'autoguidance(weight=2.1)'."),
    sampler("The sampler, such as 'heun(num_steps=18)'."),
    models(),
    sets("One option, such as guider.weight=2.5, train.lr=0.01 or models.weak.seed=1."),
    click.option(
        "--samples",
        type=Whole(1, "the number of samples of each arm", 4096),
        metavar="N",
        help="Samples of each arm.",
    ),
    OUT,
    _around,
)
"""Options of the commands that draw the samples of one run."""


def many_runs(what: str, prints: str) -> Callable[[Decorated], Decorated]:
    """Options of the commands that carry out many runs.

    Args:
        what: what they are together, such as "comparison".
        prints: what a dry run prints beside an estimate of time.
    """
    return _grouped(
        click.option(
            "--jobs", type=Whole(1, "the number of processes at a time", 2, 1_024), metavar="N",
            help="Short for --executor 'processes(N)'; by default 1, this process.",
        ),
        expression(
            "--executor", kind="executor", help="Where jobs run, such as 'processes(4)'; by default this process.",
        ),
        OUT,
        resume(what),
        dry_run(prints),
        _around,
    )  # fmt: skip
