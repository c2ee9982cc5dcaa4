"""Warnings about training data before training, as sentences with advice.

    spread     the standard deviation of all values lies outside [sigma_data / 2, 2 sigma_data]
    offset     the mean of all values is more than 3 sigma_data from 0
    pixels     whole numbers from 0 to 255; images from 0 to 1 whose spread is not sigma_data
    constants  a column of a table, or a channel of images, has one value; all examples are equal
    labels     one is negative, means "no class" to the network, or is beyond every embedding of it
    too few    less than a quarter of one batch, or 1,000 times fewer numbers than the network has parameters

At most 4,096 examples and 16 M numbers are checked: a sample of the items of finite data, or the targets of generated
data at the lowest noise level. Draws come from separate generators, seeded by a constant.
Cost: no calls of a denoiser.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from guideplug.denoise import Condition, Leaf, labels_of
from guideplug.errors import ConfigError
from guideplug.rng import TrainingStreams, derived_seed
from guideplug.task import Examples, Task

__all__ = ["check_data"]

MOST_EXAMPLES = 4096
MOST_NUMBERS = 1 << 24
SPREAD = 2.0
OFFSET = 3.0
UNIT_SPREAD = 1.25
REPEATS = 4
PARAMETERS = 1000


class _Data(Protocol):
    """A task, or `guideplug.FiniteData`."""

    def size(self) -> int | None: ...
    def items(self, ids: Tensor) -> tuple[Tensor, Condition]: ...
    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples: ...


def check_data(
    data: _Data, sigma_data: float | None = None, *, network: nn.Module | None = None, batch: int | None = None
) -> list[str]:
    """Warnings about training data, one sentence each; empty without any.

    Args:
        data: a task, or `guideplug.FiniteData`.
        sigma_data: the standard deviation of the network's data; by default the task's.
        network: the network to train, for labels and for the number of parameters.
        batch: examples per step.

    Raises:
        ConfigError: a value is not finite; the message names the example.
        ValueError: sigma_data is neither given nor known from a task.
    """
    if sigma_data is None:
        if not isinstance(data, Task):
            raise ValueError("sigma_data is not given: state the standard deviation that the network is made for")
        sigma_data = data.space.sigma_data
    with torch.random.fork_rng(devices=[]):  # data sets may draw from torch's global generator
        x, condition, ids = _examples(data)
    _check_finite(x, ids)
    values = x.double()
    return [
        *(_equal(values) or _scale(values, sigma_data)),
        *_constant(values),
        *_labels(condition, network),
        *_few(data.size(), x[0].numel(), network, batch),
    ]


def _examples(data: _Data) -> tuple[Tensor, Condition, Tensor | None]:
    """Clean examples (N, *), their conditions, and their numbers in finite data."""
    streams = TrainingStreams(derived_seed("data check"), 0)
    size = data.size()
    if size is None:
        level = data.space.sigma_min if isinstance(data, Task) else 1e-3
        count = _most(data.space.shape) if isinstance(data, Task) else MOST_EXAMPLES
        examples = data.draw(torch.full((count,), level), streams)
        return examples.target, examples.condition, None
    first, _ = data.items(torch.zeros(1, dtype=torch.int64))
    most = _most(tuple(first.shape[1:]))
    if size <= most:
        ids = torch.arange(size)
    else:
        ids = torch.unique(torch.randint(size, (most,), generator=streams.generator("data", "cpu")))
    return *data.items(ids), ids


def _most(shape: tuple[int, ...]) -> int:
    return max(1, min(MOST_EXAMPLES, MOST_NUMBERS // max(1, torch.Size(shape).numel())))


def _check_finite(x: Tensor, ids: Tensor | None) -> None:
    bad = ~torch.isfinite(x).flatten(1).all(1)
    if bool(bad.any()):
        place = int(bad.nonzero()[0, 0])
        which = f"example {place} of those drawn" if ids is None else f"example {int(ids[place])}"
        raise ConfigError(
            f"{which} of the training data holds values that are not finite ({int(bad.sum())} of {len(x)} examples "
            "looked at do): remove or repair them"
        )


def _equal(x: Tensor) -> list[str]:
    if len(x) > 1 and bool((x == x[:1]).all()):
        return [f"all {len(x):,} training examples looked at are equal: check what reads the data"]
    return []


def _scale(x: Tensor, sigma_data: float) -> list[str]:
    low, high, mean, spread = float(x.min()), float(x.max()), float(x.mean()), float(x.std())
    if low >= 0 and 128 <= high <= 255 and bool((x == x.round()).all()):
        return [
            f"training data are whole numbers from {low:g} to {high:g}, as pixels of 8 bits: scale them, as in "
            f"x / 127.5 - 1, for networks are made for sigma_data = {sigma_data:g}"
        ]
    is_image, is_unit = x.ndim == 4, -1e-6 <= low < 0.05 and 0.95 < high <= 1 + 1e-6
    if is_image and is_unit and not 1 / UNIT_SPREAD < sigma_data / spread < UNIT_SPREAD:
        return [
            f"training images lie between 0 and 1, with mean {mean:.3g} and standard deviation {spread:.3g}, where "
            f"sigma_data is {sigma_data:g}: scale them, as in 2 x - 1, or state sigma_data = {spread:.3g}"
        ]
    texts = []
    if not 1 / SPREAD <= spread / sigma_data <= SPREAD:
        texts.append(
            f"the standard deviation of the training data is {spread:.3g}, and sigma_data = {sigma_data:g} differs by "
            f"more than a factor of {SPREAD:g}: scale the data, or state sigma_data = {spread:.3g}"
        )
    if abs(mean) > OFFSET * sigma_data:
        texts.append(
            f"the mean of the training data is {mean:.3g}, more than {OFFSET:g} times sigma_data = {sigma_data:g} from "
            "0, about which networks expect them: subtract it"
        )
    return texts


def _constant(x: Tensor) -> list[str]:
    """Constant columns of a table, constant channels of images; single constant pixels are valid."""
    if len(x) < 2 or x.ndim < 2 or x.shape[1] < 2:
        return []
    features = x.transpose(0, 1).flatten(1)  # (columns or channels, values)
    constant = (features == features[:, :1]).all(1).nonzero().flatten().tolist()
    if not constant or len(constant) == len(features):
        return []
    what = "column" if x.ndim == 2 else "channel"
    numbers = ", ".join(map(str, constant[:3])) + (f" and {len(constant) - 3} more" if len(constant) > 3 else "")
    return [
        f"{what}{'s' if len(constant) > 1 else ''} {numbers} of the training data, counted from 0, "
        f"{'have' if len(constant) > 1 else 'has'} one value in all {len(x):,} examples looked at: leave out what does "
        "not vary"
    ]


def _labels(condition: Condition, network: nn.Module | None) -> list[str]:
    labels = labels_of(condition)
    if labels is None or labels.dtype != torch.int64:
        return []
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        return [f"labels of the training data go down to {low}: classes are counted from 0"]
    none = _null_label(network)
    count = 0 if none is None else int((labels == none).sum())
    if count:
        return [
            f"{count:,} of {len(labels):,} training examples looked at have the label {none}, which the network "
            "takes for no class: give the network another null label, or one class more"
        ]
    known = [part.num_embeddings for part in network.modules() if isinstance(part, nn.Embedding)] if network else []
    if known and high >= max(known):
        return [
            f"labels of the training data go up to {high}, and the network's largest embedding knows 0 to "
            f"{max(known) - 1}: build it for {high + 1} classes, and one more for none"
        ]
    return []


def _null_label(network: Any) -> int | None:
    if not isinstance(network, Leaf) or not network.has_null:
        return None
    null = labels_of(network.null_condition(1, torch.device("cpu")))
    return int(null) if null is not None and len(null) == 1 else None


def _few(size: int | None, numbers: int, network: nn.Module | None, batch: int | None) -> list[str]:
    if size is None:
        return []
    if batch is not None and REPEATS * size < batch:
        return [
            f"there are {size:,} training examples, less than a quarter of one batch of {batch:,}, so that every step "
            f"repeats them more than {REPEATS} times: take a smaller batch or more data"
        ]
    parameters = sum(parameter.numel() for parameter in network.parameters()) if network else 0
    if parameters > PARAMETERS * size * numbers:
        return [
            f"the network has {parameters:,} parameters, more than {PARAMETERS:,} for each of the {size * numbers:,} "
            "numbers of the training data: it may learn them by heart; take a smaller network or more data"
        ]
    return []
