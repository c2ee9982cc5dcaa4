"""What a task answers, checked where it enters a run: its description, starts, training examples and true samples."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from guideplug.config import Strategy, breach, described, named
from guideplug.denoise import Condition, Domain, Space, Start, is_condition, labels_of, parts_of
from guideplug.errors import ConfigError, DenoiserError
from guideplug.rng import Streams, TrainingStreams, undrawn
from guideplug.sample import Sampler
from guideplug.task import Arm, Examples, Metric, Task
from guideplug.train.examples import check_examples

__all__ = ["check_start", "check_task", "check_true_samples", "drawn_examples", "started", "truth_of"]

FEWEST_TRUE = 2
"""True samples that every task has at least, where as many are drawn."""


def check_task(task: Task) -> None:
    """Refuse a task that does not describe its data and its metrics.

    Raises:
        ContractError: what it answered.
    """
    if not isinstance(task.space, Space):
        raise breach(task, f"gave {described(task.space)} for its space: return a Space(shape=..., sigma_data=...)")
    size = task.size()
    if size is not None and (type(size) is not int or size < 1):
        raise breach(task, f"gave the size {described(size)}: return the number of examples, or None without an end")
    true = task.num_true()
    if true is not None and (type(true) is not int or true < 0):
        raise breach(task, f"gave {described(true)} for its number of true samples: return it, or None without an end")
    count = task.samples()
    if type(count) is not int or count < 1:
        raise breach(task, f"gave {described(count)} for its default number of samples: return a whole number")
    if not isinstance(task.sampler(), str):
        raise breach(task, f"gave {described(task.sampler())} for its sampler: return an expression, such as 'heun'")
    metrics = task.metrics()
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise breach(task, f"gave {described(metric)} for a metric: return instances, as in [MyMetric()]")
    names = [metric.name for metric in metrics]
    for name in task.primary():
        if name not in names:
            raise breach(task, f"names the primary metric {name!r}, which is none of {', '.join(names) or 'none'}")


def check_true_samples(task: Task, metrics: Sequence[Metric]) -> None:
    """Refuse a task with fewer true samples than its metrics compare with, however many are drawn.

    Args:
        task: the task.
        metrics: all metrics of the task.

    Raises:
        ConfigError: how many it has, how many are needed, and by what.
    """
    count, primary = task.num_true(), task.primary()
    if count is None:
        return
    needed = {metric.name: metric.fewest for metric in metrics if metric.name in primary}
    most = max(needed.values(), default=1)
    if count < max(most, FEWEST_TRUE):
        who = next((f"metric {name!r}" for name, fewest in needed.items() if fewest == most > count), "its truth")
        raise ConfigError(
            f"{named(task)} has {count} true sample{'' if count == 1 else 's'} to measure with, and {who} needs "
            f"{max(most, FEWEST_TRUE)} at least: give it more data, or a larger share of them to measure with"
        )


def started(domain: Domain, streams: Streams, sigma: float) -> Start:
    """The initial states of samples, checked by what is known of them on the host.

    Raises:
        ContractError: they are of another kind, shape or type, or have conditions of another number.
    """
    start = domain.start(streams, sigma)
    refusal = partial(breach, domain) if isinstance(domain, Strategy) else DenoiserError
    if not isinstance(start, Start):
        raise refusal(f"gave {described(start)} for the start of samples: return a Start(x)")
    shape = (len(streams), *domain.space.shape)
    if not isinstance(start.x, Tensor) or tuple(start.x.shape) != shape or start.x.dtype != torch.float32:
        raise refusal(
            f"started {len(streams)} samples as {described(start.x)}: return x of shape {shape} and type float32"
        )
    if fault := _unfit(start.condition, len(streams)):
        raise refusal(f"started {len(streams)} samples under {fault}")
    return start


def check_start(task: Task, start: Start) -> None:
    """Refuse starts by their values, which are read on the host.

    Raises:
        ContractError: they are not finite, or labels are out of range.
    """
    if not bool(torch.isfinite(start.x).all()):
        raise breach(task, "started samples that are not finite: return sigma times unit noise, on the data's scale")
    _check_labels(task, start.condition, "started samples")


def drawn_examples(task: Task, sigma: Tensor) -> Examples:
    """A few training examples, checked by their values too.

    Raises:
        ContractError: they are of another kind, shape or type, not finite, under labels out of range, or drawn from a
            global generator.
    """
    with undrawn(partial(breach, task)):
        examples = task.draw(sigma, TrainingStreams(0, 0))
    check_examples(task, examples, sigma)
    for name, values in (("x", examples.x), ("target", examples.target)):
        if not bool(torch.isfinite(values).all()):
            raise breach(task, f"drew examples whose {name} is not finite: remove or repair what is not")
    _check_labels(task, examples.condition, "drew examples")
    group, names = task.group(examples), task.groups()
    if group is not None and not (int(group.min()) >= 0 and int(group.max()) < len(names)):
        raise breach(
            task, f"gave examples the group {int(group.max())}, and names {len(names)} groups: number them from 0"
        )
    return examples


def truth_of(task: Task, count: int, sampler: Sampler, seed: int, *, like: Arm | None = None) -> Sequence[Arm]:
    """The reference arms of a task, checked.

    Args:
        task: the task.
        count, sampler, seed: as for `Task.truth`.
        like: an arm whose samples' shape true samples must have.

    Raises:
        ContractError: there is no arm "truth", a name is there twice, or samples are too few, too many, of another
            shape, or not finite.
    """
    arms = task.truth(count, sampler, seed)
    if not isinstance(arms, Sequence) or not all(isinstance(arm, Arm) for arm in arms):
        raise breach(task, f"gave {described(arms)} for its true samples: return a list of Arm")
    names = [arm.name for arm in arms]
    if "truth" not in names or len(set(names)) < len(names) or {"guided", "unguided"} & set(names):
        raise breach(
            task, f"gave reference arms of the names {names}: call the true samples 'truth', and each arm its own name"
        )
    for arm in arms:
        whose = f"gave the reference arm {arm.name!r} of truth"
        if not isinstance(arm.samples, Tensor) or not arm.samples.is_floating_point():
            raise breach(task, f"{whose} {described(arm.samples)} for its samples: give floating-point numbers")
        if not min(count, FEWEST_TRUE) <= len(arm.samples) <= count:
            raise breach(
                task, f"{whose} {len(arm.samples)} samples where {count} were asked for: give 2 at least, no more"
            )
        if like is not None and arm.samples.shape[1:] != like.samples.shape[1:]:
            raise breach(
                task,
                f"{whose} samples of shape {tuple(arm.samples.shape[1:])}, and those drawn are of shape "
                f"{tuple(like.samples.shape[1:])}: give samples as they are decoded",
            )
        if not bool(torch.isfinite(arm.samples).all()):
            raise breach(task, f"{whose} samples that are not finite: remove or repair them")
    return arms


def _unfit(condition: Condition, count: int) -> str:
    """What is wrong with the form of a condition, in words; empty where nothing is."""
    if not is_condition(condition):
        return f"{described(condition)} as a condition: give a tensor, or a dict or list of these, batch first"
    for name, part in parts_of(condition).items():
        if part.ndim == 0 or len(part) != count:
            return f"a condition {name!r} of shape {tuple(part.shape)}: give a row for each"
    return ""


def _check_labels(task: Task, condition: Condition, did: str) -> None:
    labels, count = labels_of(condition), task.num_labels
    if labels is None or count is None or not len(labels):
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= count:
        raise breach(
            task, f"{did} under the labels {low} to {high}, and its num_labels is {count}: give 0 to {count - 1}"
        )
