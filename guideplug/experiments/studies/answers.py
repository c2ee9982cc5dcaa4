"""What a study answers, checked where it enters: its trials, and its report."""

import math
import re
from collections.abc import Mapping, Sequence

from guideplug.config import breach, described
from guideplug.study import Findings, Report, Study, Table, Trial

__all__ = ["report_of", "trials_of"]

NAME = re.compile(r"[\w ,.+=()-]{1,120}")
"""Names of tables and figures, which are those of files."""


def trials_of(study: Study) -> Sequence[Trial]:
    """The trials of a study.

    Raises:
        ContractError: one is no trial, an axis has no plain value, or a run no configuration.
    """
    trials = study.trials()
    if not isinstance(trials, Sequence) or isinstance(trials, str):
        raise breach(study, f"planned {described(trials)}: return a list of Trial")
    for trial in trials:
        if not isinstance(trial, Trial):
            raise breach(study, f"planned {described(trial)} as a trial: return instances of Trial")
        for part in ("axes", "run", "sets"):
            value = getattr(trial, part)
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                raise breach(study, f"planned a trial whose {part} is {described(value)}: give a mapping of names")
        for axis, value in trial.axes.items():
            if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
                raise breach(
                    study,
                    f"planned a trial with {described(value)} for {axis!r} of its axes: give texts or finite numbers",
                )
    return trials


def report_of(study: Study, findings: Findings) -> Report:
    """The report of a study.

    Raises:
        ContractError: it is none, or has tables, sentences or figures that are none.
    """
    report = study.report(findings)
    if not isinstance(report, Report):
        raise breach(study, f"reported {described(report)}: return a Report(tables, sentences, figures)")
    for name in (*report.tables, *report.figures):
        if not isinstance(name, str) or not NAME.fullmatch(name) or name.startswith("."):
            raise breach(study, f"reported under the name {name!r}: give a name that a file can have")
    for name, table in report.tables.items():
        if not isinstance(table, Table):
            raise breach(study, f"reported {described(table)} as the table {name!r}: give a Table(columns, rows)")
    for sentence in report.sentences:
        if not isinstance(sentence, str):
            raise breach(study, f"reported {described(sentence)} as a sentence: give a text")
    for name, draw in report.figures.items():
        if not callable(draw):
            raise breach(study, f"reported {described(draw)} as the figure {name!r}: give a function of a path")
    return report
