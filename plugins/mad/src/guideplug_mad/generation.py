"""The networks of a self-consuming loop.

    G_1 = A(D_r)                                         D_r the real data
    D_t = n samples of G_t, perhaps guided
    G_t = A(D_r ∪ D_{t-1}), or A(D_{t-1}) alone          t = 2, 3, ...

A trains from scratch, each generation from initial weights and with draws of its own. The first is the synthetic
augmentation loop, the second the fully synthetic one. Without a guider, or with one that is off, it is the standard
loop, whose generations get worse. For SIMS the samples are guided away from a copy of G_t that was fine-tuned on n
unguided samples of G_t, which guiders find under the role "synthetic":

    D(x; sigma, c) = G_t(x; sigma, c) + omega * (G_t(x; sigma, c) - copy(x; sigma, c))

What a generation is says nothing of the one before it but its number, so that the hundredth is as short to write and to
hash as the second. Each is kept in the store under its own identity, and a loop that was stopped goes on.

Sources: S. Alemohammad et al. 2023, "Self-consuming generative models go MAD", arXiv:2307.01850 (the loops);
S. Alemohammad et al. 2024, "Self-improving diffusion models with synthetic data", arXiv:2408.16333 (with SIMS in each
generation). Real data and samples are drawn from with equal chance for each example, as the union says.
Cost: a training and a sampling for each generation; with SIMS a further sampling and a fine-tuning.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

from attrs import evolve, frozen
from torch import nn

from guideplug import (
    Augmented,
    Builder,
    ConfigError,
    Constant,
    Duration,
    FineTune,
    Guider,
    Planned,
    Recipe,
    Sampler,
    Source,
    Synthetic,
    Train,
    TrainingStreams,
    option,
    positive,
    up_to,
)

__all__ = ["ROLE", "Generation"]

MOST_GENERATIONS = 100
"""Each generation is made of the one before, one recipe inside the other."""
ROLE = "synthetic"
"""What guiders call the copy that was fine-tuned on samples."""


def _duration(value: Any) -> Duration | None:
    return None if value is None else Duration.of(value)


@final
@frozen(kw_only=True)
class Generation(Recipe):
    """The network of one generation of a loop that trains on its own samples."""

    name = "generation"
    source = Source(
        "S. Alemohammad, J. Casco-Rodriguez, L. Luzi, A. I. Humayun, H. Babaei, D. LeJeune, A. Siahkoohi, "
        "R. G. Baraniuk",
        2023,
        "Self-Consuming Generative Models Go MAD",
        "https://arxiv.org/abs/2307.01850",
    )
    of: Recipe = option(help="generation 1: a training on a task's data")
    number: int = option(help="which generation, from 1", validator=up_to(MOST_GENERATIONS))
    sampler: Sampler = option(help="how samples are drawn")
    synthetic: int | None = option(
        None,
        help="samples that each generation draws for the next; none for as many as there are data",
        unit="samples",
        validator=up_to(100_000_000),
    )
    real: bool = option(True, help="whether the real data are trained on too, in every generation")
    guider: Guider | None = option(None, help="how the samples are guided, such as sims(omega=1)")
    budget: Duration | None = option(
        None,
        help="how long the copy for the role synthetic is fine-tuned; none for an eighth of the training",
        converter=_duration,
    )
    lr: float = option(0.1, help="learning rate of the fine-tuning, as a share of the training's", validator=positive)
    seed: int = option(0, help="decides what generations after the first draw")

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.of, Train):
            raise ValueError(f"of is the recipe {self.of.name!r}: give the first generation's training, train(...)")
        if self.of.on is not None:
            raise ValueError("of is trained on a recipe's data: give a training on a task's, which are the real ones")
        if self.budget is not None and self.budget.unit == "s":
            raise ValueError(f"budget is {self.budget}, a time: give iterations or examples, as in 512it")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """A number of samples, for tasks whose data have none."""
        return {"synthetic": 16}

    @property
    def first(self) -> Train:
        """How the first generation is trained."""
        assert isinstance(self.of, Train)
        return self.of

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the guider asks for."""
        return () if self.guider is None else tuple(self.guider.needs(self.first.task, self.first))

    @property
    def count(self) -> int:
        """How many samples each generation draws for the next.

        Raises:
            ConfigError: as many as there are data, which have no number.
        """
        task = self.first.task
        count = self.synthetic or task.size()
        if count is None:
            raise ConfigError(
                f"generation: task {task.name!r} draws its data anew without end, so there is no number of them to "
                "match: say how many samples, as in synthetic=1000"
            )
        return count

    @property
    def title(self) -> str:
        return f"generation {self.number}"

    @property
    def network(self) -> Recipe:
        """The shortest recipe of this generation's network: the first one's is its training, whatever comes after."""
        return self.of if self.number == 1 else self

    @property
    def copy(self) -> FineTune:
        """A copy that is fine-tuned on unguided samples of this generation alone."""
        first = self.first.options
        options = evolve(
            first,
            duration=self.budget or first.duration.part(1 / 8),
            lr=self.lr * first.lr,
            schedule=Constant(),
            warmup=0,
            averages=0,
        )
        return FineTune(of=self.network, on=self._drawn("copy"), options=options, seed=self._seed("copy"))

    @property
    def samples(self) -> Synthetic:
        """What this generation draws for the next."""
        models = {ROLE: self.copy} if ROLE in self.roles else {}
        return evolve(self._drawn("samples"), guider=self.guider, models=models)

    def _drawn(self, purpose: str) -> Synthetic:
        task, seed = self.first.task, self._seed(purpose)
        return Synthetic(of=self.network, task=task, sampler=self.sampler, count=self.count, seed=seed)

    def _seed(self, purpose: str) -> int:
        """The same whatever the guider, so that loops with different ones differ in nothing else."""
        return TrainingStreams(self.seed, self.number).generator(purpose).initial_seed()

    @property
    def training(self) -> Train:
        """How this generation is trained, given the store: the samples of the one before are part of its data."""
        if self.number == 1:
            return self.first
        samples = evolve(self, number=self.number - 1).samples
        on = Augmented(on=samples, task=self.first.task) if self.real else samples
        return evolve(self.first, on=on, seed=self._seed("training"))

    def build(self) -> nn.Module:
        return self.training.build()

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Train it, after those before it."""
        if self.number == 1:
            module.load_state_dict(builder.obtain(self.of).state_dict())
            return {}
        for number in range(2, self.number):  # upwards: a late generation would nest too deep from above
            builder.obtain(evolve(self, number=number))
        return self.training.make(module, builder)

    def evaluates(self) -> Iterator[Planned]:
        """Its training, and what the generation before it draws for it: the samples, and those that its copy learns."""
        yield from self.training.evaluates()
        if self.number > 1:
            before = evolve(self, number=self.number - 1)
            yield from before.samples.evaluates()
            if ROLE in self.roles:
                yield from before.copy.evaluates()
                yield from before._drawn("copy").evaluates()

    def check(self) -> None:
        self.of.check()
        self.copy.check()
        other = [role for role in self.roles if role != ROLE]
        if self.guider is not None and other:
            raise ConfigError(
                f"generation: guider {self.guider.name!r} needs a network for {' and '.join(map(repr, other))}, and a "
                f"generation has one beside its own, the copy fine-tuned on its samples: name that one, as in "
                f"model={ROLE}"
            )
        evolve(self, number=2).training.check()

    @property
    def iterations(self) -> int | None:
        return self.first.iterations
