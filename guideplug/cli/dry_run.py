"""``run --dry-run``: the configuration, the plan of each network, and an estimate of the time."""

import tomllib

import torch

from guideplug.cli.echo import echo, echo_lines
from guideplug.cli.estimate import estimated_seconds
from guideplug.cli.json_output import print_json
from guideplug.config import short
from guideplug.run.preflight import planned_networks
from guideplug.run.resolve import RunConfig, to_toml
from guideplug.store import Store

__all__ = ["dry_run"]


def dry_run(config: RunConfig, store: Store, *, as_json: bool) -> None:
    """Print the plan of a run."""
    torch.set_num_threads(config.threads)
    networks = planned_networks(config, store)
    estimates = {role: estimated_seconds(recipe) for role, recipe, plan in networks if plan in ("trained", "resumed")}
    if as_json:
        rows = [
            {"role": role, "recipe": recipe.name, "plan": plan, "seconds": estimates.get(role)}
            for role, recipe, plan in networks
        ]
        print_json({"config": tomllib.loads(to_toml(config)), "networks": rows})
        return
    echo_lines(to_toml(config))
    for role, recipe, plan in networks:
        seconds = estimates.get(role)
        network = getattr(recipe, "denoiser", None)
        about = "" if network is None else f" ({short(network)})"
        length = f", {recipe.iterations} iterations" if recipe.iterations else ""
        time_ = f", about {seconds:.0f} s" if seconds is not None else ""
        echo(f"# {role}{about} will be {plan}{length if plan != 'found' else ''}{time_}")
    known = [seconds for seconds in estimates.values() if seconds is not None]
    echo(f"# training takes about {sum(known):.0f} s here; sampling and metrics come on top")
