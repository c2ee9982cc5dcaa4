"""A strategy as plain data: what it is, where it comes from, and its options with types, units, defaults and help."""

import re
import types
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, Union, cast, get_args, get_origin

import attrs

from guideplug.config import Strategy, format_value, write
from guideplug.task import Task

__all__ = ["strategy_data", "type_name"]


def strategy_data(strategy: type[Strategy] | str, kind: str, name: str) -> dict[str, Any]:
    """A strategy's kind, name, summary, source and options; of a preset what it stands for."""
    if isinstance(strategy, str):
        return {"kind": kind, "name": name, "preset": strategy}
    cls = cast(Any, strategy)
    attrs.resolve_types(cls)
    options = []
    for attribute in attrs.fields(cls):
        required = attribute.default is attrs.NOTHING
        default = attribute.default.factory() if hasattr(attribute.default, "factory") else attribute.default
        options.append(
            {
                "name": attribute.alias,
                "type": type_name(attribute.type),
                "unit": attribute.metadata.get("unit", ""),
                "required": required,
                "default": None if required else format_value(write(default)),
                "help": attribute.metadata.get("help", ""),
            }
        )
    return {
        "kind": kind,
        "name": name,
        "summary": strategy.summary(),
        "source": None if strategy.source is None else str(strategy.source),
        "options": options,
        **(
            {"metrics": _metrics(cls())} if kind == "task" and not any(option["required"] for option in options) else {}
        ),
    }


def _metrics(task: Task) -> list[dict[str, str]]:
    """A task's metrics: what they compute, what they tell of, and which way is better."""
    return [
        {"name": metric.name, "aspect": metric.aspect, "better": metric.better, "formula": metric.formula}
        for metric in task.metrics()
    ]


def type_name(kind: Any) -> str:
    """A type as a person would say it: ``one of A, B``, ``several float, or none``, ``Recipe or Task``."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if get_origin(kind) in (Union, types.UnionType):
        some = " or ".join(type_name(part) for part in parts if part is not NoneType)
        return f"{some}, or none" if NoneType in parts else some
    if get_origin(kind) is tuple:
        names = list(dict.fromkeys(type_name(part) for part in parts if part is not Ellipsis))
        return f"{'several' if Ellipsis in parts else len(parts)} {' or '.join(names)}"
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping):
        return f"{type_name(parts[1])} by name"
    return kind.__name__ if isinstance(kind, type) and not parts else re.sub(r"[\w.]+\.", "", str(kind))
