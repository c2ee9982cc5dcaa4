"""Options that several commands have."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from guideplug.cli.parameters import expression, files, pairs
from guideplug.cli.whole_number import Whole

__all__ = ["DEVICE", "JOBS", "JSON", "OBSERVER", "OUT", "TRUST", "local_plugins", "models", "sampling", "sets"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

JOBS = click.option(
    "--jobs", type=Whole(1, "processes at a time", 2), default=1, metavar="N",
    help="Processes at a time; by default 1.",
)  # fmt: skip
OUT = click.option("--out", metavar="FOLDER", help="Where results go; by default a new folder under runs/.")
TRUST = click.option("--trust", is_flag=True, help="Run code that only a file names, and remember the decision.")
DEVICE = click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1 ...; by default CUDA where there is one.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON and nothing else.")
OBSERVER = expression(
    "--observer", "observers", kind="observer", none="no observer", times="together",
    help="An observer, such as tensorboard; by default none. It does not change the results.",
)  # fmt: skip


def local_plugins(help: str = "A local plugin. It is code and runs as such.") -> Callable[[Decorated], Decorated]:
    """``--plugin``: the local plugins of a command."""
    return files("--plugin", "plugins", metavar="FILE.py", help=help)


def models(
    help: str = "A role's network: a .safetensors file, or a recipe's expression.",
) -> Callable[[Decorated], Decorated]:
    """``--model``: the networks of roles."""
    return pairs("--model", "models", kind="network", metavar="ROLE=PATH", help=help)


def sets(help: str) -> Callable[[Decorated], Decorated]:
    """``--set``: single options."""
    return pairs("--set", "sets", metavar="KEY=VALUE", help=help)


def sampling(command: Any) -> Any:
    """Options of the commands that sample."""
    for decorate in reversed(
        [
            expression(
                "--guider", kind="guider", none="no guidance", help="The guider, such as 'autoguidance(weight=2.1)'."
            ),
            expression("--sampler", kind="sampler", help="The sampler, such as 'heun(num_steps=18)'."),
            models(),
            sets("One option, such as guider.weight=2.5, train.lr=0.01 or models.weak.seed=1."),
            click.option("--samples", type=int, metavar="N", help="Samples of each arm."),
            OUT,
            DEVICE,
            OBSERVER,
            TRUST,
            local_plugins(),
            JSON,
        ]
    ):
        command = decorate(command)
    return command
