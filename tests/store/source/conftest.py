"""A small plugin that tests edit."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def rings() -> ModuleType:
    """The module ``rings``: a small plugin, and what it reaches."""
    spec = importlib.util.spec_from_file_location("made_rings", Path(__file__).with_name("rings.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
