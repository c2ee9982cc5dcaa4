"""Null conditions."""

from collections.abc import Callable, Mapping
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from guideplug.denoise import Condition, expand, from_parts, on_device, parts_of

__all__ = ["Null", "null_of"]

MakeNull: TypeAlias = Callable[[int, torch.device], Condition]
Null: TypeAlias = int | Tensor | Mapping[str, int | Tensor] | MakeNull | None


@final
class FixedNull(nn.Module):
    """A null condition of one row for every sample, in buffers, which move with the network."""

    def __init__(self, row: Tensor | Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = tuple(parts_of(row))
        for i, part in enumerate(parts_of(row).values()):
            self.register_buffer(f"part_{i}", part.detach().clone(), persistent=False)

    def forward(self, batch: int, device: torch.device) -> Condition:
        """The null condition of ``batch`` samples."""
        row = from_parts(dict(zip(self.names, self.buffers(), strict=True)))
        return expand(on_device(row, device), batch)


def null_of(null: Null) -> MakeNull | None:
    """A function from a batch size to the null condition; None without one.

    Raises:
        TypeError: ``null`` has an unsupported type.
        ValueError: a tensor has no batch axis, or more than one row.
    """
    if null is None:
        return None
    if isinstance(null, Mapping):
        return FixedNull({name: _row(part, f"null[{name!r}]") for name, part in null.items()})
    if isinstance(null, int | Tensor) or not callable(null):
        return FixedNull(_row(null, "null"))
    return null


def _row(part: object, name: str) -> Tensor:
    if isinstance(part, int) and not isinstance(part, bool):
        return torch.tensor([part])
    if not isinstance(part, Tensor):
        raise TypeError(
            f"{name} is a {type(part).__name__}: give a label, a tensor of one row, a dict of these, or a function of "
            "(batch, device)"
        )
    if part.ndim == 0 or part.shape[0] != 1:
        raise ValueError(f"{name} has shape {tuple(part.shape)}: give one row, of shape (1, ...)")
    return part
