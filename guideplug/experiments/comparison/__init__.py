"""Comparisons: guiders and selectors over seeds, at equal time, equal examples and equal iterations."""

from guideplug.experiments.comparison.compare import compare
from guideplug.experiments.comparison.config_file import GridFile, read_grid, to_toml
from guideplug.experiments.comparison.grid import Grid, GridRequest, Published, prepare_grid, resolve_grid
from guideplug.experiments.comparison.result import Comparison
from guideplug.experiments.comparison.write_report import write_report

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
