"""Finite data: any torch data set of samples, or of samples with conditions, as training data.

Items are x, or (x, condition) where the condition is a number, a tensor, or a dict of these. An item's index is its id.
Each step draws items uniformly and with replacement, from the step's own generator, so that a resumed training draws
the same items as an uninterrupted one.
"""

import hashlib
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, default_collate

from guideplug.denoise import Condition, is_condition, on_device, parts_of
from guideplug.errors import ConfigError
from guideplug.rng import TrainingStreams
from guideplug.task import Examples, noised

__all__ = ["FiniteData"]


@final
class FiniteData:
    """A torch data set as the source of training examples.

    Args:
        dataset: map-style, with a length; items x or (x, condition), all of one shape.

    Raises:
        ConfigError: it has no items, no length, or items of another form.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset
        try:
            self.count = len(dataset)  # type: ignore[arg-type]
        except TypeError:
            raise ConfigError(
                f"{type(dataset).__name__} has no length: give a map-style data set, whose items have stable indices"
            ) from None
        if self.count == 0:
            raise ConfigError(f"{type(dataset).__name__} is empty: nothing can be trained on it")
        x, _ = self.items(torch.zeros(1, dtype=torch.int64))
        if not x.dtype.is_floating_point:
            raise ConfigError(f"{type(dataset).__name__} yields samples of type {x.dtype}: convert them to float32")

    def size(self) -> int:
        """The number of items."""
        return self.count

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """The samples (B, *) and conditions of some items, on the CPU."""
        if isinstance(self.dataset, TensorDataset):
            parts: Any = [tensor[ids] for tensor in self.dataset.tensors]
            parts = parts if len(parts) > 1 else parts[0]
        elif hasattr(self.dataset, "__getitems__"):
            parts = self._batch(self.dataset.__getitems__(ids.tolist()))
        else:
            parts = self._batch([self.dataset[index] for index in ids.tolist()])
        if isinstance(parts, Tensor):
            return parts, None
        if isinstance(parts, list | tuple) and len(parts) == 2 and isinstance(parts[0], Tensor):
            condition = parts[1]
            if condition is not None and is_condition(condition):
                return parts[0], condition
        raise ConfigError(
            f"{type(self.dataset).__name__} yields items that are neither x nor (x, condition): "
            "return a tensor, or a tensor and a label, tensor or dict of tensors"
        )

    def _batch(self, items: list[Any]) -> Any:
        try:
            return default_collate(items)
        except (TypeError, RuntimeError) as error:
            raise ConfigError(
                f"{type(self.dataset).__name__} yields items that make no batch ({str(error).splitlines()[0]}): "
                "return tensors of one shape, each alone or with a label, tensor or dict of tensors"
            ) from None

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        """One noisy sample per level in ``sigma`` (B,), on its device, with the items' indices as ids."""
        ids = torch.randint(self.count, (len(sigma),), generator=streams.generator("data", "cpu"))
        clean, condition = self.items(ids)
        return noised(clean.to(sigma.device), sigma, streams, on_device(condition, sigma.device), ids.to(sigma.device))

    def fingerprint(self, chunk: int = 1024) -> str:
        """The SHA-256 of all items' bytes, read in order."""
        digest = hashlib.sha256()
        for begin in range(0, self.count, chunk):
            clean, condition = self.items(torch.arange(begin, min(begin + chunk, self.count)))
            for name, tensor in {"x": clean, **parts_of(condition)}.items():
                digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
