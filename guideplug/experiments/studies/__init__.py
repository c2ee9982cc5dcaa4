"""Studies: trials resolved, networks trained once, samples measured, results stored; reports."""

from guideplug.experiments.studies.run_study import run_study
from guideplug.experiments.studies.study_plan import Plan, planned
from guideplug.experiments.studies.write_report import failures, markdown, shown, write_report

__all__ = ["Plan", "failures", "markdown", "planned", "run_study", "shown", "write_report"]
