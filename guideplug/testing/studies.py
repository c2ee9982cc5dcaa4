"""The laws of studies: trials that can be run, and a report of any results."""

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from guideplug.experiments.studies import Plan, markdown, planned
from guideplug.registry.registry import Registry
from guideplug.rng import SampleStreams
from guideplug.run.measure import metrics_of
from guideplug.run.resolve import RunConfig
from guideplug.study import Findings, Measured, Report, Study, Trial
from guideplug.task import Arm
from guideplug.testing.law import Laws, must
from guideplug.testing.strategies import STRATEGY

__all__ = ["STUDY", "StudyCase", "check_study"]

FEW = 16
"""Number of samples of random arms."""


class StudyCase:
    """A study under test, and its report of random numbers."""

    def __init__(self, study: Study, plugins: Sequence[str] = ()) -> None:
        self.study, self._plugins = study, list(plugins)

    @cached_property
    def plan(self) -> Plan:
        """Its trials, resolved."""
        common = {"device": "cpu", "threads": 1, **({"plugins": self._plugins} if self._plugins else {})}
        return planned(self.study, self._registry, common)

    @cached_property
    def _registry(self) -> Registry:
        return Registry.installed(self._plugins)

    @cached_property
    def findings(self) -> Findings:
        """A random number for each metric of each trial."""
        generator = torch.Generator().manual_seed(0)
        better: dict[str, str] = {}
        rows = []
        for trial, config in zip(self.plan.trials, self.plan.configs, strict=True):
            metrics = metrics_of(config.task, self._registry)
            better |= {metric.name: metric.better for metric in metrics}
            values = {metric.name: float(torch.rand((), generator=generator)) for metric in metrics}
            rows.append(_made_up(trial, config, values))
        return Findings(rows, better)

    @cached_property
    def report(self) -> Report:
        """Its report of them."""
        return self.study.report(self.findings)


STUDY: Laws[StudyCase] = Laws()


def check_study(study: Study, *, plugins: Sequence[str] = ()) -> Report:
    """The laws of a study: every trial resolves, and the report of random numbers has tables and draws its figures.

    Nothing is trained: networks are as they are built, samples are noise, metrics are random numbers.

    Args:
        study: with its options.
        plugins: files of local plugins that its trials need.
    """
    STRATEGY.check(study)
    case = StudyCase(study, plugins)
    STUDY.check(case)
    return case.report


@STUDY.add(
    "every trial resolves",
    "give each the keys of a run's configuration, and expressions that can be read",
    premise=True,
)
def _resolves(case: StudyCase) -> None:
    must(len(case.plan.configs) > 0, "there are no trials")


@STUDY.add("a report can be made of any numbers", "ask for rows by axes that the trials have", premise=True)
def _reports(case: StudyCase) -> None:
    must(isinstance(case.report, Report), f"report() returned a {type(case.report).__name__}")


@STUDY.add("a report has tables, that can be written", "return Report(tables={name: Table(columns, rows)})")
def _tables(case: StudyCase) -> None:
    tables = case.report.tables
    must(bool(tables), "there are none")
    must(all(table.csv() for table in tables.values()))
    must(bool(markdown(case.plan, case.findings, case.report)))


@STUDY.add("a report says something", "return Report(..., sentences=[...])")
def _says(case: StudyCase) -> None:
    must(bool(case.report.sentences))


@STUDY.add("each figure is a PNG", "draw to the path that the function is given")
def _figures(case: StudyCase) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, draw in case.report.figures.items():
            path = Path(folder) / f"{name}.png"
            draw(path)
            must(path.is_file() and path.read_bytes().startswith(b"\x89PNG"), f"{name} is none")


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
