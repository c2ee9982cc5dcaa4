"""The laws that a subject breaks, with the reasons."""

from typing import Any

import torch

from guideplug.testing.law import Laws


def broken(laws: Laws[Any], subject: Any) -> dict[str, str]:
    """The laws that do not hold, with the reasons; each says what to do."""
    with torch.random.fork_rng(devices=[]):
        found = [finding for finding in laws.findings(subject) if not finding.holds]
    assert all(finding.fix for finding in found)
    return {finding.law: finding.reason or "" for finding in found}
