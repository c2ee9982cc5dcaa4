"""Null conditions."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from guideplug.denoise import Condition, expand, on_device, parts_of, with_parts

__all__ = ["Null", "null_of"]

MakeNull: TypeAlias = Callable[[int, torch.device], Condition]
Null: TypeAlias = int | Tensor | Mapping[str, "Null"] | Sequence["Null"] | MakeNull | None


@final
class FixedNull(nn.Module):
    """A null condition of one row for every sample, in buffers, which move with the network."""

    def __init__(self, row: Condition) -> None:
        super().__init__()
        self._places = with_parts(row, {name: torch.tensor(i) for i, name in enumerate(parts_of(row))})
        for i, part in enumerate(parts_of(row).values()):
            self.register_buffer(f"part_{i}", part.detach().clone(), persistent=False)

    def forward(self, batch: int, device: torch.device) -> Condition:
        """The null condition of ``batch`` samples."""
        parts = dict(zip(parts_of(self._places), self.buffers(), strict=True))
        return expand(on_device(with_parts(self._places, parts), device), batch)


def null_of(null: Null) -> MakeNull | None:
    """A function from a batch size to the null condition; None without one.

    Raises:
        TypeError: ``null`` has an unsupported type.
        ValueError: a tensor has no batch axis, or more than one row.
    """
    if null is None:
        return None
    if callable(null) and not isinstance(null, Tensor | Mapping):
        return null
    return FixedNull(_row(null, "null"))


def _row(part: object, name: str) -> Condition:
    if isinstance(part, Mapping):
        return {key: _row(inner, f"{name}[{key!r}]") for key, inner in part.items()}
    if isinstance(part, list | tuple):
        return [_row(inner, f"{name}[{index}]") for index, inner in enumerate(part)]
    if part is None:
        return None
    if isinstance(part, int) and not isinstance(part, bool):
        return torch.tensor([part])
    if not isinstance(part, Tensor):
        raise TypeError(
            f"{name} is a {type(part).__name__}: give a label, a tensor of one row, a dict or list of these, or a "
            "function of (batch, device)"
        )
    if part.ndim == 0 or part.shape[0] != 1:
        raise ValueError(f"{name} has shape {tuple(part.shape)}: give one row, of shape (1, ...)")
    return part
