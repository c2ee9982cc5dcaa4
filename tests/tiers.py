"""The tiers of the suite: of a promise that many cases keep, a few are tried in the fast one, more in the slow one."""

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], *fast: Any) -> list[Any]:
    """Cases to parametrise a test with, slow but for those listed; a case of several values is a tuple."""
    listed = list(cases)
    assert all(case in listed for case in fast), "a fast case is none of the cases"
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=() if case in fast else pytest.mark.slow)
        for case in listed
    ]


def spread(cases: Iterable[Any], *, slow: int, fast: int = 0) -> list[Any]:
    """Cases to parametrise a test with: one in ``fast`` fast, one in ``slow`` of the others slow, the rest proofs."""
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if fast and not number % fast else pytest.mark.proof if number % slow else pytest.mark.slow,
        )
        for number, case in enumerate(cases)
    ]
