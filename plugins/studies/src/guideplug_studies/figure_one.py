"""Figure 1 of the autoguidance paper: the truth, and what guiders make of one network, side by side.

T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila and S. Laine 2024, "Guiding a diffusion model with a bad
version of itself", arXiv:2406.02507, figure 1: unguided, classifier-free guidance of weight 4, naive truncation by 1.40
and autoguidance of weight 3, on a fractal tree of Gaussians.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import final

from attrs import evolve, frozen

from guideplug import Expression, Findings, Network, Report, Source, Study, Table, Task, Trial, option, up_to
from guideplug_studies.curves import UNGUIDED

__all__ = ["FigureOne"]


@final
@frozen
class FigureOne(Study):
    """The truth, and samples of one network with and without guidance, side by side (Figure 1 of arXiv:2406.02507)."""

    name = "figure1"
    source = Source(
        "T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine",
        2024,
        "Guiding a Diffusion Model with a Bad Version of Itself",
        "https://arxiv.org/abs/2406.02507",
        "figure 1",
    )
    task: Task | None = option(None, help="the task; none for the default one, the paper's tree")
    denoiser: Network | None = option(None, help="the main network; none for the task's")
    guiders: tuple[Expression, ...] = option(
        (Expression("cfg(weight=4)"), Expression("truncation(weight=1.4)"), Expression("autoguidance(weight=3)")),
        help="what is drawn beside unguided samples",
    )
    seed: int = option(0, help="of the training")
    samples: int = option(8192, help="samples of each arm", unit="samples", validator=up_to(100_000_000, least=2))

    def trials(self) -> Sequence[Trial]:
        chosen = {"task": self.task, "denoiser": self.denoiser}
        run = {
            "seed": self.seed,
            "samples": self.samples,
            **{key: one for key, one in chosen.items() if one is not None},
        }
        return [
            Trial({"guider": guider}, {**run, "guider": guider}, keep=True)
            for guider in dict.fromkeys((UNGUIDED, *self.guiders))
        ]

    def report(self, found: Findings) -> Report:
        first = found.rows[0]
        metrics = [name for name in found.better if any(row.metrics.get(name) is not None for row in found.rows)]
        rows = [["true samples", *(first.truth.get(name) for name in metrics), None]]
        rows += [
            [_title(str(row.axes["guider"])), *(row.metrics.get(name) for name in metrics), row.evaluations]
            for row in found.rows
        ]

        def draw(path: Path) -> None:
            truth = [evolve(arm, title="true samples") for arm in first.references()[:1]]
            arms = [evolve(row.samples(), title=_title(str(row.axes["guider"]))) for row in found.rows]
            first.task.figure([*truth, *arms], path)

        return Report(
            {"figure1-metrics": Table(["", *metrics, "outputs per sample"], rows)},
            ["one seed: the figure shows what guiders do, and settles nothing between them; weights compares seeds"],
            {"figure1": draw},
        )


def _title(guider: str) -> str:
    return "unguided" if guider == UNGUIDED else guider
