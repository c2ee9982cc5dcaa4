"""Comparisons: guiders and selectors over seeds, at equal time, equal examples and equal iterations."""

from guideplug.compare.grid import Grid, GridRequest, Published, resolve_grid
from guideplug.compare.report import write_report
from guideplug.compare.result import Comparison
from guideplug.compare.work import compare
from guideplug.compare.written import read_grid, to_toml

__all__ = [
    "Comparison",
    "Grid",
    "GridRequest",
    "Published",
    "compare",
    "read_grid",
    "resolve_grid",
    "to_toml",
    "write_report",
]
