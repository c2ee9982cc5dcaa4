"""Made-up folders, and a browser where there is one."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """The module ``made``: folders with made-up numbers."""
    spec = importlib.util.spec_from_file_location("made", Path(__file__).with_name("made.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; skipped without it, unless GUIDEPLUG_BROWSER is "required"."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _without("the package playwright is not installed")
    if not CHROMIUM.is_file():
        _without(f"{CHROMIUM} is not there")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


def _without(why: str) -> None:
    if os.environ.get("GUIDEPLUG_BROWSER") == "required":
        pytest.fail(f"GUIDEPLUG_BROWSER is required, and {why}")
    pytest.skip(f"no browser: {why}")
