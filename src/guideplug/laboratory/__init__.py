"""Where studies are carried out: trials resolved, networks trained once, samples measured, all of it kept; reports."""

from guideplug.laboratory.plan import Plan, planned
from guideplug.laboratory.report import failures, markdown, shown, write_report
from guideplug.laboratory.work import carry_out

__all__ = ["Plan", "carry_out", "failures", "markdown", "planned", "shown", "write_report"]
