"""Comparisons: guiders and selectors over seeds, at equal time, equal examples and equal iterations."""

from guideplug.compare.config_file import read_grid, to_toml
from guideplug.compare.grid import Grid, GridRequest, Published, resolve_grid
from guideplug.compare.result import Comparison
from guideplug.compare.work import compare
from guideplug.compare.write_report import write_report

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
