"""The task: points of the tree, one class, both, or both with labels.

Training targets are the exact denoised points, so the loss compares scores: with weighting "score" it is
sigma^2 times the mean over the two dimensions of the squared score error (the released code's scale, which is JEST's
temperature). Networks and training as in arXiv:2406.02507, appendix C: h 64 and 4096 iterations, the weak one h 32 and
an eighth of the iterations.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug import (
    Arm,
    Duration,
    Examples,
    InverseSqrt,
    Leaf,
    LogNormal,
    Metric,
    Recipe,
    Sampler,
    SampleStreams,
    Source,
    Space,
    Start,
    Streams,
    Task,
    Train,
    TrainingStreams,
    TrainOptions,
    half_width,
    option,
    weaker,
)
from guideplug_tree.animation import draw_animation
from guideplug_tree.denoisers import NULL_LABEL, SPACE, ExactTree, LabelledExactTree, TreeMLPNetwork, label_share
from guideplug_tree.figure import draw_figure
from guideplug_tree.metrics import METRICS
from guideplug_tree.mixture import TreeClasses, TreeMixture, tree_mixture

__all__ = ["Tree"]

SETS: dict[str, TreeClasses] = {"A": "A", "B": "B", "both": "AB"}


@functools.cache
def _mixture_on(classes: TreeClasses, device: str) -> TreeMixture:
    return tree_mixture(classes).to(torch.device(device))


def _drawn(mixture: TreeMixture, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clean points (B, 2), and the depth of the branch that each is from (B,)."""
    clean, components = mixture.sample_components(count, generator)
    return clean, mixture.component_depths[components]


@final
@frozen
class Tree(Task):
    """The 2D tree of the autoguidance paper."""

    name = "tree"
    source = Source(
        "T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine",
        2024,
        "Guiding a Diffusion Model with a Bad Version of Itself",
        "https://arxiv.org/abs/2406.02507",
        "appendix C",
    )
    classes: Literal["A", "B", "both"] = option("A", help="which of the two branches of the tree are data")
    labels: bool = option(False, help="whether the class is a condition; with both classes only")

    def __attrs_post_init__(self) -> None:
        if self.labels and self.classes != "both":
            raise ValueError(f"labels=true with classes={self.classes}: one class needs no label; give classes=both")

    @property
    def space(self) -> Space:
        return SPACE

    @property
    def mixture(self) -> TreeMixture:
        """The density of the data."""
        return tree_mixture(SETS[self.classes])

    def exact(self) -> Leaf:
        """The exact denoiser."""
        return LabelledExactTree() if self.labels else ExactTree(self.mixture)

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        generator = streams.generator("data")
        device = sigma.device
        condition: Tensor | None = None
        if self.labels:
            is_b = torch.rand(len(sigma), generator=generator, device=device) >= label_share()
            condition = is_b.long()
            a, b = (_drawn(_mixture_on(classes, str(device)), len(sigma), generator) for classes in ("A", "B"))
            clean, depth = torch.where(is_b[:, None], b[0], a[0]), torch.where(is_b, b[1], a[1])
        else:
            clean, depth = _drawn(_mixture_on(SETS[self.classes], str(device)), len(sigma), generator)
        if streams.noise_for:  # else noise goes on with the data's draws
            generator = streams.generator("noise")
        noise = torch.randn(clean.shape, generator=generator, device=device)
        x = torch.addcmul(clean, noise, sigma[:, None])
        return Examples(x, self._denoised(x, sigma, condition), condition, group=depth)

    def _denoised(self, x: Tensor, sigma: Tensor, condition: Tensor | None) -> Tensor:
        if condition is None:
            return _mixture_on(SETS[self.classes], str(x.device)).denoise(x, sigma)
        return LabelledExactTree().denoise(x, sigma, condition)

    def start(self, streams: Streams, sigma: float) -> Start:
        """Points of the tree smoothed at ``sigma``, as the paper starts."""
        clean, condition = self._clean(streams)
        noise = streams.normal((2,), "start noise")
        return Start(clean.to(streams.device) + sigma * noise, condition)

    def _clean(self, streams: Streams) -> tuple[Tensor, Tensor | None]:
        on_cpu = streams.to("cpu")
        uniform, normal = on_cpu.uniform((), "start component"), on_cpu.normal((2,), "start point")
        if not self.labels:
            return self.mixture.sample_from(uniform, normal), None
        is_b = on_cpu.uniform((), "start label") >= label_share()
        a, b = (tree_mixture(classes).sample_from(uniform, normal) for classes in ("A", "B"))
        return torch.where(is_b[:, None], b, a), is_b.long().to(streams.device)

    @property
    def num_labels(self) -> int | None:
        return NULL_LABEL if self.labels else None

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        if main is None:
            return self._main() if role == "main" else None
        small = weaker(main, half_width(TreeMLPNetwork(), "hidden"), part=1 / 8)
        if role == "weak" or small is None:
            return small
        if role == "unconditional" and self.classes != "both":
            return evolve(small, task=Tree("both"))
        return None

    def _main(self) -> Train:
        options = TrainOptions(
            duration=Duration(4096, "it"),
            batch=4096,
            lr=0.01,
            betas=(0.9, 0.99),
            schedule=InverseSqrt(512),
            noise=LogNormal(-2.3, 1.5),
            weighting="score",
            condition_dropout=0.1 if self.labels else 0.0,
            ema=(0.01,),
        )
        return Train(task=self, denoiser=TreeMLPNetwork(), options=options)

    def sampler(self) -> str:
        return "heun(num_steps=32)"

    def samples(self) -> int:
        return 16384

    def groups(self) -> Sequence[str]:
        depths = int(self.mixture.component_depths.max()) + 1
        return [f"depth {depth}" for depth in range(depths)]

    def fingerprint(self) -> str:
        means = self.mixture.component_means.numpy().tobytes()
        return hashlib.sha256(means).hexdigest()

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        streams = SampleStreams(seed, range(count))
        clean, condition = self._clean(evolve(streams, seed=seed + 1))
        exact = self.exact()
        start = self.start(streams, sampler.sigmas(exact)[0])
        ends = sampler.sample(exact, start.x, start.condition, streams)
        return [
            Arm("truth", clean, condition),
            Arm("exact", ends, start.condition, start.x, exact),
        ]

    def metrics(self) -> Sequence[Metric]:
        return METRICS

    def primary(self) -> Sequence[str]:
        return "inside outline", "branch KL", "energy MMD", "L2"

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        draw_figure(self.mixture, [arm for arm in arms if arm.name != "truth"], path)

    def animate(self, arms: Sequence[Arm], sampler: Sampler, seed: int, path: Path) -> bool:
        draw_animation(self.mixture, arms, sampler, seed, path)
        return True
