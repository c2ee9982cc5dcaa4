"""The laws of a task: shapes, draws decided by streams alone, starts that do not depend on the batch, a truth."""

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from guideplug.denoise import Leaf, Space, labels_of
from guideplug.rng import SampleStreams, TrainingStreams
from guideplug.run import task_answers
from guideplug.sample import Sampler
from guideplug.task import Arm, Context, Examples, Task
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import close, no_global_draws, same
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.toys import Straight
from guideplug.train.examples import check_examples

__all__ = ["TASK", "TaskCase", "check_task"]

TRUE = 96
"""Number of true samples for figures and metrics."""


class TaskCase:
    """A task under test, the number of examples to draw, and a sampler for its reference arms."""

    def __init__(self, task: Task, count: int = 12, sampler: Sampler | None = None) -> None:
        self.task, self.count, self.sampler = task, count, sampler or Straight()

    def examples(self, step: int = 0) -> Examples:
        """Training examples, over the range of levels."""
        space = self.task.space
        return self.task.draw(
            torch.linspace(space.sigma_min, space.sigma_max / 4, self.count), TrainingStreams(0, step)
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of examples."""
        return self.count, *self.task.space.shape

    @cached_property
    def truth(self) -> Sequence[Arm]:
        """Reference arms."""
        return self.task.truth(TRUE, self.sampler, 0)


TASK: Laws[TaskCase] = Laws()


def check_task(task: Task, *, count: int = 12) -> None:
    """The laws of a task: shapes, draws decided by streams alone, starts that do not depend on the batch, a truth."""
    STRATEGY.check(task)
    TASK.check(TaskCase(task, count))


@TASK.add("the space is a Space", "return guideplug.Space(shape=..., sigma_data=...)", premise=True)
def _space(case: TaskCase) -> None:
    must(isinstance(case.task.space, Space))


@TASK.add(
    "the data are finite numbers",
    "mend the data first: one value that is not finite spoils all that is trained, drawn or measured with them",
    premise=True,
)
def _finite(case: TaskCase) -> None:
    examples = case.examples()
    tensors = {"x": examples.x, "target": examples.target}
    tensors |= {f"a true sample of {arm.name!r}": arm.samples for arm in case.truth if arm.denoiser is None}
    for name, tensor in tensors.items():
        wrong = ~tensor.isfinite()
        first = int(wrong.flatten(1).any(1).nonzero()[0]) if bool(wrong.any()) else 0
        must(not bool(wrong.any()), f"{name} is not finite in {int(wrong.sum())} numbers, the first in row {first}")


@TASK.add("examples have the shape of the data", "return x and target of shape (B, *space.shape)", premise=True)
def _examples(case: TaskCase) -> None:
    for step in range(4):
        examples = case.examples(step)
        check_examples(case.task, examples, torch.ones(case.count))
        for name, tensor in (("x", examples.x), ("target", examples.target)):
            must(tuple(tensor.shape) == case.shape, f"{name} has shape {tuple(tensor.shape)}, not {case.shape}")


@TASK.add(
    "primary metrics are named once per aspect, and can be resampled",
    "name metrics of the task in primary(), one per aspect, each a PerSample, a Weighted, or with a resampler",
)
def _primary(case: TaskCase) -> None:
    metrics = {metric.name: metric for metric in case.task.metrics()}
    aspects: dict[str, str] = {}
    context = Context(case.task, {arm.name: arm for arm in case.truth}, case.sampler, 0)
    exact = [arm for arm in case.truth if arm.start is not None]
    for name in case.task.primary():
        must(name in metrics, f"{name!r} is none of {', '.join(metrics)}")
        aspect = metrics[name].aspect
        must(aspect not in aspects, f"{name!r} and {aspects.get(aspect)!r} are both of {aspect}")
        aspects[aspect] = name
        arms = [case.truth[0], *exact]  # metrics of samples from the same noise have no value for true samples
        must(any(metrics[name].resampler(arm, context) is not None for arm in arms), f"{name!r} has no resampler")


@TASK.add(
    "it says how many labels its conditions choose from",
    "give num_labels where conditions are labels, whole numbers (B,) from 0 on, and where they are not, none",
)
def _labels(case: TaskCase) -> None:
    task = case.task
    start = task.start(SampleStreams(0, range(case.count)), task.space.sigma_max)
    labels, count = labels_of(start.condition), task.num_labels
    must((labels is None) == (count is None), f"num_labels is {count}, of starts that have it otherwise")
    for whose, condition in (("a start", start.condition), ("an example", case.examples().condition)):
        labels = labels_of(condition)
        if labels is not None and count is not None:
            most = int(labels.max())
            must(int(labels.min()) >= 0 and most < count, f"{whose} has {most} of {count} labels")


@TASK.add("levels are not changed", "compute out of place")
def _levels_stay(case: TaskCase) -> None:
    space = case.task.space
    sigma = torch.full((case.count,), space.sigma_max / 4)
    case.task.draw(sigma, TrainingStreams(0, 0))
    must(bool((sigma == space.sigma_max / 4).all()))


@TASK.add("no draw from a global generator", "draw from streams.generator('purpose') and streams.normal(...)")
def _draws_from_streams(case: TaskCase) -> None:
    with no_global_draws():
        case.examples()
        case.task.start(SampleStreams(0, range(case.count)), case.task.space.sigma_max)
        case.task.truth(8, case.sampler, 0)


@TASK.add("equal streams give equal examples", "decide all draws by the streams; keep nothing between calls")
def _repeats(case: TaskCase) -> None:
    first, second = case.examples(), case.examples()
    must(
        torch.equal(first.x, second.x)
        and torch.equal(first.target, second.target)
        and same(first.condition, second.condition)
    )


@TASK.add("another step gives other examples", "draw from the generators of the streams that draw is given")
def _steps_differ(case: TaskCase) -> None:
    must(not torch.equal(case.examples(0).x, case.examples(1).x))


@TASK.add("each example's group is the number of a name", "return int64 numbers below len(groups()); None without")
def _groups(case: TaskCase) -> None:
    examples = case.examples()
    group, names = case.task.group(examples), case.task.groups()
    must((group is None) == (not names), "examples have groups if and only if the task names some")
    if group is not None:
        must(group.dtype == torch.int64 and tuple(group.shape) == (case.count,), "give one int64 number for each")
        low, high = int(group.min()), int(group.max())
        must(low >= 0 and high < len(names), f"numbers from {low} to {high} for {len(names)} names")


@TASK.add(
    "finite data are the examples' data",
    "return from items what draw adds noise to, by number; and ids with the examples",
    where=lambda case: case.task.size() is not None,
)
def _items(case: TaskCase) -> None:
    task, examples, size = case.task, case.examples(), case.task.size()
    assert size is not None
    items, condition = task.items(torch.tensor([0, size - 1]))
    must(tuple(items.shape) == (2, *task.space.shape), f"two items have shape {tuple(items.shape)}")
    must(examples.ids is not None, "examples do not say which items they come from")
    assert examples.ids is not None
    again, _ = task.items(examples.ids)
    must(torch.equal(again, examples.target), "an example's target is not the item of its id")
    must((condition is None) == (examples.condition is None), "items have conditions, or examples, and not both")


@TASK.add("starts have the shape of the data", "return Start(x) with x (B, *space.shape)")
def _starts(case: TaskCase) -> None:
    task_answers.started(case.task, SampleStreams(0, range(case.count)), case.task.space.sigma_max)


@TASK.add(
    "a start alone is the start in a batch",
    "draw by sample from the streams, streams.normal(shape, 'start'); conditions by streams.indices or integers",
)
def _starts_alone(case: TaskCase) -> None:
    sigma = case.task.space.sigma_max
    start = case.task.start(SampleStreams(0, range(case.count)), sigma)
    for rows in ([7], [2, 3, 9]):
        some = case.task.start(SampleStreams(0, rows), sigma)
        must(torch.equal(some.x, start.x[rows]), f"of samples {rows}")


@TASK.add("the main network's recipe builds a denoiser of its space", "return Train(task=self, ...) for role 'main'")
def _main(case: TaskCase) -> None:
    main = case.task.recipe("main", None)
    must(main is not None, "recipe('main', None) is None")
    assert main is not None
    built = main.build()
    must(isinstance(built, Leaf), f"it builds a {type(built).__name__}")
    assert isinstance(built, Leaf)
    must(built.space == case.task.space, f"its space is {built.space}, the task's {case.task.space}")


@TASK.add("what identifies the data is the same each time", "hash what the data are, not objects or the time")
def _fingerprint(case: TaskCase) -> None:
    must(case.task.fingerprint() == case.task.fingerprint())


@TASK.add("there are true samples, decided by the seed", "return Arm('truth', samples) first; draw from SampleStreams")
def _truth(case: TaskCase) -> None:
    task_answers.truth_of(case.task, TRUE, case.sampler, 0)
    again = case.task.truth(TRUE, case.sampler, 0)
    must(
        all(close(first.samples, second.samples) for first, second in zip(case.truth, again, strict=True)),
        "they differ",
    )


@TASK.add("what it says of itself can be used", "give size, samples, sampler and metrics by their types")
def _description(case: TaskCase) -> None:
    task_answers.check_task(case.task)


@TASK.add("metrics have distinct names", "name each of them for itself")
def _metrics(case: TaskCase) -> None:
    names = [metric.name for metric in case.task.metrics()]
    must(len(set(names)) == len(names), ", ".join(names))


@TASK.add("the figure is a PNG", "write one to the path that figure is given")
def _figure(case: TaskCase) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        with no_global_draws():
            case.task.figure(list(case.truth), path)
        must(path.is_file() and path.read_bytes().startswith(b"\x89PNG"))
