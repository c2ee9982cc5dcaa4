"""Comparisons: guiders and selectors over seeds, at equal time, equal examples and equal iterations."""

from guideplug.compare.config_file import GridFile, read_grid, to_toml
from guideplug.compare.grid import Grid, GridRequest, Published, prepare_grid, resolve_grid
from guideplug.compare.result import Comparison
from guideplug.compare.work import compare
from guideplug.compare.write_report import write_report

__all__ = [
    "Comparison",
    "Grid",
    "GridFile",
    "GridRequest",
    "Published",
    "compare",
    "prepare_grid",
    "read_grid",
    "resolve_grid",
    "to_toml",
    "write_report",
]
