"""Studies: trials resolved, networks trained once, samples measured, results stored; reports."""

from guideplug.laboratory.study_plan import Plan, planned
from guideplug.laboratory.work import run_study
from guideplug.laboratory.write_report import failures, markdown, shown, write_report

__all__ = ["Plan", "failures", "markdown", "planned", "run_study", "shown", "write_report"]
