"""A module in a pickle, as data: its class by name, its constructor's arguments, its weights.

Modules are those of `guideplug.files.checkpoints.pickled`: records whose attributes are those of ``torch.nn.Module``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, final

from attrs import field, frozen
from torch import Tensor

from guideplug.files.checkpoints.pickled import Array, Record

__all__ = ["PickledNetwork", "is_module", "pickled_network"]

MOST_DEPTH: Final = 50
WRAPPED: Final = ("model", "unet")
"""The names of the raw networks in preconditionings."""


@final
@frozen
class PickledNetwork:
    """A network of a pickle.

    Args:
        class_name: its class, such as ``Precond``.
        arguments: what its constructor was given by name: numbers, texts, and lists of them.
        attributes: its own plain attributes, such as ``sigma_data``.
        inner: the modules directly inside, by name.
        tensors: its parameters and buffers by name, as ``state_dict`` gives them.
        encoder: the class and the attributes of the encoder beside it; None without.
    """

    class_name: str
    arguments: Mapping[str, Any]
    attributes: Mapping[str, Any]
    inner: Mapping[str, "PickledNetwork"] = field(factory=dict, repr=False)
    tensors: Mapping[str, Tensor] = field(factory=dict, repr=False)
    encoder: tuple[str, Mapping[str, Any]] | None = None

    @property
    def named(self) -> str:
        """Its class, with those directly inside: ``Precond of UNet``."""
        inside = [part.class_name for name, part in self.inner.items() if name in WRAPPED]
        return f"{self.class_name} of {inside[0]}" if inside else self.class_name


def is_module(value: object) -> bool:
    """Whether a value is a record of a module."""
    return isinstance(value, Record) and isinstance(value.state.get("_modules"), dict) and "_parameters" in value.state


def pickled_network(module: Record, encoder: object = None) -> PickledNetwork:
    """The network of a module's record.

    Args:
        module: the record.
        encoder: the record of the encoder beside it, if there is one.

    Raises:
        ValueError: the record is damaged, or its modules nest too deeply.
    """
    inner = {name: PickledNetwork(part.class_name, *_described(part)) for name, part in _modules(module)}
    beside = (encoder.class_name, _described(encoder)[1]) if isinstance(encoder, Record) else None
    return PickledNetwork(module.class_name, *_described(module), inner, dict(_tensors(module, "", 0)), beside)


def _described(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of a record's constructor, and its own attributes."""
    own = {name: value for name, value in record.state.items() if not str(name).startswith("_")}
    return _plain(record.state.get("_init_kwargs")), _plain(own)


def _modules(module: Record) -> Iterator[tuple[str, Record]]:
    modules = module.state.get("_modules")
    if not isinstance(modules, dict):
        raise ValueError(f"its {module.class_name} is no whole module")
    for name, part in modules.items():
        if part is None:
            continue
        if not isinstance(name, str) or not isinstance(part, Record):
            raise ValueError(f"its {module.class_name} has a submodule that is no module")
        yield name, part


def _tensors(module: Record, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if depth > MOST_DEPTH:
        raise ValueError(f"its modules nest more than {MOST_DEPTH} deep")
    own: dict[Any, Any] = {}
    unsaved = module.state.get("_non_persistent_buffers_set") or set()
    for kind in ("_parameters", "_buffers"):
        tensors = module.state.get(kind) or {}
        if not isinstance(tensors, dict):
            raise ValueError(f"its {module.class_name} is no whole module")
        own |= {name: tensor for name, tensor in tensors.items() if tensor is not None and name not in unsaved}
    for name, tensor in own.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"its {module.class_name} has a weight that is no tensor")
        yield prefix + name, tensor
    for name, part in _modules(module):
        yield from _tensors(part, f"{prefix}{name}.", depth + 1)


def _plain(values: Any) -> dict[str, Any]:
    """The numbers, texts and lists of them among named values."""
    if not isinstance(values, dict):
        return {}
    plain = {}
    for name, value in values.items():
        parts = list(value) if isinstance(value, list | tuple) else [value]
        if isinstance(name, str) and all(isinstance(part, str | int | float | None) for part in parts):
            plain[name] = parts if isinstance(value, list | tuple) else value
        elif isinstance(name, str) and isinstance(value, Array) and value.values.ndim <= 1 and value.values.size <= 64:
            plain[name] = value.values.tolist()
    return plain
