"""``guideplug check``: a network from a file or from code, measured on examples, and its diagnosis."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from guideplug.check import Check, check_denoiser
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json
from guideplug.cli.table import print_table
from guideplug.config import short
from guideplug.denoise import Condition
from guideplug.errors import ConditionError, DenoiserError, UsageError
from guideplug.observe import Observers
from guideplug.rng import SampleStreams
from guideplug.run.builder import StoreBuilder
from guideplug.run.checked import MOST, task_examples
from guideplug.run.console import Console, print_line
from guideplug.run.preflight import denoiser_of
from guideplug.run.prepare import resolved
from guideplug.run.resolve import Request, RunConfig
from guideplug.run.samples import check_condition, read_arms
from guideplug.store import Store

__all__ = ["check_network"]

SHOWN = 5
"""Alternatives that are printed; --json has all."""
NAMES = ("samples", "examples", "images", "truth")
"""What an array of examples may be called where a file has several."""


def check_network(model: str, options: Mapping[str, Any]) -> None:
    """``guideplug check``: exit code 1 where the network is not what it is said to be."""
    guard(options, model)
    values = {key: options[key] for key in ("task", "denoiser", "device", "plugins")}
    config = resolved(Request(values=values, models={"main": model})).config
    torch.set_num_threads(config.threads)
    examples, condition = _examples(options["examples"], config)
    builder = StoreBuilder(Store.default(), torch.device(config.device), Observers([]))
    denoiser = denoiser_of(builder.obtain(config.main), "main")
    try:
        check = check_denoiser(denoiser, examples, condition, seed=options["seed"])
    except (DenoiserError, ConditionError) as error:
        raise UsageError(f"{model}: {error}") from None
    if options["as_json"]:
        print_json({"model": model, "task": short(config.task), **check.to_dict()})
    else:
        _tell(model, config, check)
    if check.verdict == "wrong":
        sys.exit(1)


def _examples(path: str | None, config: RunConfig) -> tuple[torch.Tensor | None, Condition]:
    """The examples of a file, or else of the task."""
    task = config.task
    if path is None:
        own = task_examples(task, MOST)
        return (None, None) if own is None else own
    arms = {arm.name: arm for arm in read_arms(Path(path), task)}
    name = next((name for name in (*NAMES, *arms) if name in arms and (name in NAMES or len(arms) == 1)), None)
    if name is None:
        raise UsageError(
            f"{path} has the arrays {', '.join(arms)}: call the clean samples {NAMES[0]!r}, and what they were drawn "
            "under 'condition'"
        )
    expected = task.start(SampleStreams(0, range(2)), task.space.sigma_max).condition
    check_condition(arms[name].condition, expected, path, task)
    return arms[name].samples, arms[name].condition


def _tell(model: str, config: RunConfig, check: Check) -> None:
    console = Console()
    if check.levels:
        rows = [
            [f"{level.sigma:.4g}", f"{level.error:.4g}", f"{level.gaussian:.4g}", f"{level.ratio:.3g}"]
            for level in check.levels
        ]
        title = f"{model}, {check.examples} examples of {short(config.task)}, standard deviation {check.sd:.4g}"
        print_table(console, title, ["sigma", "error", "Gaussian", "ratio"], rows, words=0)
    if check.alternatives:
        others = [[level.what, f"{level.ratio:.3g}", level.code] for level in check.alternatives[:SHOWN]]
        print_table(console, "What else it may be", ["tried", "ratio", "written"], others, words=1)
    for line in (
        f"{check.verdict}: {check.diagnosis}",
        *([f"write: {check.code}"] if check.code else []),
        *check.notes,
    ):
        print_line(console, line)
