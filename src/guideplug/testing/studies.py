"""The laws of studies: trials that can be run, and a report of whatever they give."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from guideplug.laboratory import markdown, planned
from guideplug.noise import SampleStreams
from guideplug.registry import Registry
from guideplug.run.config import RunConfig
from guideplug.run.measure import metrics_of
from guideplug.study import Findings, Measured, Report, Study, Trial
from guideplug.task import Arm
from guideplug.testing.checks import check_strategy, holds

__all__ = ["check_study"]

FEW = 16
"""Samples of made-up arms."""


def check_study(study: Study, *, plugins: Sequence[str] = ()) -> Report:
    """The laws of a study: every trial resolves, and the report of made-up numbers has tables and draws its figures.

    Nothing is trained: networks are as they are built, samples are noise, metrics are random numbers.

    Args:
        study: with its options.
        plugins: files of local plugins that its trials need.
    """
    check_strategy(study)
    registry = Registry.installed(plugins)
    plan = planned(study, registry, {"device": "cpu", "threads": 1, **({"plugins": list(plugins)} if plugins else {})})
    generator = torch.Generator().manual_seed(0)
    better: dict[str, str] = {}
    rows = []
    for trial, config in zip(plan.trials, plan.configs, strict=True):
        metrics = metrics_of(config.task, registry)
        better |= {metric.name: metric.better for metric in metrics}
        values = {metric.name: float(torch.rand((), generator=generator)) for metric in metrics}
        rows.append(_made_up(trial, config, values))
    report = study.report(Findings(rows, better))
    holds("a report has tables", bool(report.tables))
    holds("a report says something", bool(report.sentences))
    holds(
        "tables can be written",
        all(table.csv() and markdown(plan, Findings(rows, better), report) for table in report.tables.values()),
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in report.figures.items():
            path = Path(folder) / f"{name}.png"
            draw(path)
            holds(f"figure {name!r} is a PNG", path.is_file() and path.read_bytes().startswith(b"\x89PNG"))
    return report


def _made_up(trial: Trial, config: RunConfig, values: dict[str, float]) -> Measured:
    def samples() -> Arm:
        if not trial.keep:
            raise ValueError(f"the samples of {trial} were not kept: say Trial(..., keep=True)")
        start = config.task.start(SampleStreams(0, range(FEW)), 0.5 * config.task.space.sigma_data)
        return Arm(str(trial), start.x, start.condition)

    def references() -> Sequence[Arm]:
        return config.task.truth(FEW, config.sampler, 0)

    def obtain(role: str) -> nn.Module:
        return config.recipes[role].build().eval()

    return Measured(trial.axes, config.task, values, values, 1.0, samples, references, obtain)
