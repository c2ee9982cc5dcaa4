"""Requests on the tree, resolved; and the message of one that is refused."""

from pathlib import Path
from typing import Any

import pytest

from guideplug.config import Reader
from guideplug.errors import ConfigError, GuideplugError
from guideplug.recipes import Train
from guideplug.registry.registry import Registry
from guideplug.run.resolve import Request, RunConfig, read_file, resolve
from guideplug.task import Task

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
TREE: Any = READER.expression("tree", Task)


def resolved(*sets: str, models: dict[str, str] | None = None, file: Path | None = None, **values: Any) -> RunConfig:
    pairs = tuple((key, text) for key, _, text in (item.partition("=") for item in sets))
    return resolve(
        Request({"device": "cpu", **values}, models or {}, pairs, file=None if file is None else read_file(file)),
        REGISTRY,
    )


def refusal(*sets: str, error: type[GuideplugError] = ConfigError, **given: Any) -> str:
    with pytest.raises(error) as caught:
        resolved(*sets, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def weak(config: RunConfig, role: str = "weak") -> Any:
    recipe = config.models[role]
    assert isinstance(recipe, Train)
    return recipe
