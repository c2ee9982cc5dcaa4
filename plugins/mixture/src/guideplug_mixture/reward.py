"""A reward: how sure the class that was asked for is, exactly.

    R(x0, c) = log p(c | x0) = log s_c + log p(x0 | c) - log p(x0),   s_c the share of class c in the data

0 is the most: samples that no other class could have given. It pulls samples away from where classes overlap, and a
weight that is fitted for it guides more than one that is fitted to agree with the data.

Source: the classifier of classifier guidance, here in closed form: P. Dhariwal and A. Nichol 2021, "Diffusion models
beat GANs on image synthesis", arXiv:2105.05233. As a reward, our choice.
Cost: the density of each class, once per sample.
"""

from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Condition, Reward, Source, Task, option
from guideplug_mixture.mixture import Mixture

__all__ = ["ClassLikelihood"]


@final
@frozen
class ClassLikelihood(Reward):
    """The log probability of a sample's class, given the sample, by the exact densities."""

    name = "class-likelihood"
    source = Source(
        "P. Dhariwal, A. Nichol",
        2021,
        "Diffusion Models Beat GANs on Image Synthesis",
        "https://arxiv.org/abs/2105.05233",
    )
    task: Task = option(help="the mixture whose classes they are")

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.task, Mixture) or not self.task.labels:
            raise ValueError(f"task is {self.task.name!r}: give the task mixture, with labels")

    def score(self, x0: Tensor, condition: Condition) -> Tensor:
        """Log p(c | x0), (B,)."""
        task = self.task
        assert isinstance(task, Mixture)
        assert isinstance(condition, Tensor)
        points = x0.cpu()  # the density's tensors are there
        shares = torch.tensor(task.class_shares, dtype=points.dtype).log()
        of_each = torch.stack([task.density.of(label).log_prob(points) for label in range(task.classes)], dim=1)
        return (of_each + shares).log_softmax(1).gather(1, condition.cpu()[:, None])[:, 0].to(x0.device)
