"""How the networks of both tasks are trained by default: choices of ours, measured to fit in about 10 s on one core.

EDM's loss weight and its log-normal noise levels (arXiv:2206.00364, table 1), moved with the scale of the data. The
weak network has half the width and a quarter of the training. With classes as conditions these are dropped in one
example of ten, so that classifier-free guidance works from the one network.
"""

import math

from guideplug import Cosine, Duration, LogNormal, Recipe, Task, Train, TrainOptions, half_width, weaker
from guideplug_mixture.network import MixtureMLP

__all__ = ["default_recipe"]


def default_recipe(task: Task, role: str, main: Recipe | None) -> Recipe | None:
    """The recipe of a role, or None; arguments as `Task.recipe` takes them."""
    if main is None:
        return _main(task) if role == "main" else None
    return weaker(main, half_width(MixtureMLP())) if role == "weak" else None


def _main(task: Task) -> Train:
    options = TrainOptions(
        duration=Duration(2000, "it"),
        batch=1024,
        lr=0.004,
        betas=(0.9, 0.99),
        schedule=Cosine(),
        warmup=50,
        noise=LogNormal(round(math.log(task.space.sigma_data) - 0.9, 2), 1.3),
        weighting="edm",
        condition_dropout=0.0 if task.num_labels is None else 0.1,
        ema=(0.05,),
    )
    return Train(task=task, denoiser=MixtureMLP(), options=options)
