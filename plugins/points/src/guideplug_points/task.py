"""The task: rows of a file of one's own, as they are or given their class.

Networks see each column shifted and scaled to mean 0 and standard deviation 0.5 (`guideplug_points.table`); their
`decode` undoes it, so that samples, metrics and figures are in the file's units. The recipe is ours: a small MLP,
EDM's preconditioning, noise levels and loss weight; with a label, it is dropped in one example of ten, so that
classifier-free guidance works from the one network.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.utils.data import TensorDataset

from guideplug import (
    Arm,
    Condition,
    Cosine,
    Domain,
    Duration,
    Examples,
    FiniteData,
    Leaf,
    LogNormal,
    Metric,
    Network,
    Recipe,
    Sampler,
    Source,
    Space,
    Start,
    Streams,
    Task,
    Train,
    TrainingStreams,
    TrainOptions,
    absolute_path,
    between,
    half_width,
    option,
    up_to,
    weaker,
)
from guideplug_points.figure import draw_figure
from guideplug_points.metrics import METRICS
from guideplug_points.network import LabelledPointsDenoiser, PointsDenoiser
from guideplug_points.table import Table, read_table

__all__ = ["Points", "PointsMLP"]

SIGMA_DATA = 0.5
MOST_SAMPLES = 4096


@final
@frozen
class PointsMLP(Network):
    """A small residual MLP, in EDM preconditioning."""

    name = "points-mlp"
    source = Source(
        "T. Karras, M. Aittala, T. Aila, S. Laine",
        2022,
        "Elucidating the Design Space of Diffusion-Based Generative Models",
        "https://arxiv.org/abs/2206.00364",
        "table 1",
    )
    width: int = option(128, help="features of a layer", validator=up_to(65_536))
    blocks: int = option(3, help="residual layers", validator=up_to(1_000))

    def build(self, domain: Domain) -> Leaf:
        if not isinstance(domain, Points):  # whose columns are standardised
            raise ValueError(f"{self.name} is for rows of a file, the task points, not for a {type(domain).__name__}")
        kind = LabelledPointsDenoiser if domain.table.classes else PointsDenoiser
        return kind(domain.space, domain.table, self.width, self.blocks)


def _none_or(label: str | int | None) -> str | int | None:
    """TOML has no null: there the word means it, and a column of that name is called by its number."""
    return None if isinstance(label, str) and label.strip().lower() == "none" else label


@final
@frozen
class Points(Task):
    """Rows of numbers from a CSV, TSV, NPY or Parquet file, with a column of classes or without."""

    name = "points"
    path: str = option(help="the file: .csv, .tsv, .npy or .parquet", converter=absolute_path)
    label: str | int | None = option(
        None,
        help="the column of classes, by its name or its number from 1; none for rows without",
        converter=_none_or,
    )
    columns: tuple[str | int, ...] | None = option(
        None, help="the columns of numbers, by names or numbers from 1; none for all but the label"
    )
    heldout: float = option(
        0.2,
        help="share of the rows (of each class) that is kept from training, to measure with",
        validator=between(0.01, 0.5),
    )

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Points of two classes, on a line each."""
        file = folder / "points.csv"
        rows = [f"{number / 40},{number % 2 + number / 80},{'ab'[number % 2]}" for number in range(80)]
        file.write_text("\n".join(["x,y,class", *rows]) + "\n")
        return {"path": str(file), "label": "class"}

    @cached_property
    def table(self) -> Table:
        """The file's rows, read when they are first needed and then kept, so that a run has one version of them.

        Raises:
            DataError: the file cannot be used; which row, which column, and why.
        """
        return read_table(Path(self.path), self.label, self.columns, self.heldout)

    @cached_property
    def _data(self) -> FiniteData:
        table = self.table
        rows = torch.from_numpy(table.standard(table.train) * SIGMA_DATA).float()
        return FiniteData(TensorDataset(rows, torch.from_numpy(table.train_labels)))

    @property
    def space(self) -> Space:
        return Space(shape=(len(self.table.names),), sigma_data=SIGMA_DATA, sigma_min=0.002, sigma_max=80.0)

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        examples = self._data.draw(sigma, streams)
        return examples if self.table.classes else evolve(examples, condition=None)

    def start(self, streams: Streams, sigma: float) -> Start:
        table = self.table
        noise = sigma * streams.normal((len(table.names),), "start noise")
        chosen = np.asarray(streams.indices) % len(table.heldout)
        labels = torch.from_numpy(table.heldout_labels[chosen]).to(streams.device)
        return Start(noise, labels if table.classes else None)

    @property
    def num_labels(self) -> int | None:
        return len(self.table.classes) or None

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        if main is None:
            return self._main() if role == "main" else None
        return weaker(main, half_width(PointsMLP())) if role == "weak" else None

    def _main(self) -> Train:
        options = TrainOptions(
            duration=Duration(3000, "it"),
            batch=256,
            lr=0.003,
            betas=(0.9, 0.99),
            schedule=Cosine(),
            warmup=100,
            noise=LogNormal(-1.2, 1.2),
            weighting="edm",
            condition_dropout=0.1 if self.label is not None else 0.0,
            ema=(0.05,),
        )
        return Train(task=self, denoiser=PointsMLP(), options=options)

    def sampler(self) -> str:
        return "heun(num_steps=18)"

    def samples(self) -> int:
        return min(len(self.table.heldout), MOST_SAMPLES)

    def num_true(self) -> int | None:
        return len(self.table.heldout)

    def size(self) -> int | None:
        return self._data.size()

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        rows, labels = self._data.items(ids)
        return rows, labels if self.table.classes else None

    def fingerprint(self) -> str:
        """The SHA-256 of the file's bytes; what else decides the rows are options, and the code."""
        return self.table.digest

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        table = self.table
        labels = torch.from_numpy(table.heldout_labels[:count]) if table.classes else None
        return [Arm("truth", torch.from_numpy(table.heldout[:count]).float(), labels)]

    def metrics(self) -> Sequence[Metric]:
        return METRICS

    def primary(self) -> Sequence[str]:
        return "precision", "coverage", "energy distance", "nearest training row"

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        draw_figure(self.table, arms, path)
