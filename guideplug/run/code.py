"""Hashes of the code that samples, and the code that metrics, depend on: for resumed runs and comparisons."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from guideplug.config import Strategy, walk
from guideplug.features import Features
from guideplug.registry.registry import Plugin, Registry
from guideplug.run.measure import metrics_of
from guideplug.run.resolve import RunConfig
from guideplug.store import code_behind, code_of_classes
from guideplug.store.source import measuring_digest

__all__ = ["code_of", "code_of_plugin", "code_that_measures", "deciding", "measured_anew"]

MEASURED_BY = "truth", "metrics"
"""The methods of a task that measured values depend on."""


def code_of(config: RunConfig) -> Mapping[str, str]:
    """Hashes of the deciding code per top-level module of a run's networks, guider, sampler and task."""
    strategies = (*config.recipes.values(), config.task, config.guider, config.selector, config.sampler)
    return dict(sorted(code_behind(strategies).items()))


def code_that_measures(config: RunConfig, registry: Registry) -> str:
    """The hash of the code of a run's metrics and reference arms, and of the features that they measure in."""
    hashes = code_behind((config.task, *metrics_of(config.task, registry)), MEASURED_BY)
    hashes |= {features.identity: "" for features in walk(config.task, cast(Any, Features))}
    text = json.dumps({**hashes, "guideplug": measuring_digest()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def measured_anew(count: int, what: str, code: str) -> str:
    """A message about values that an earlier try measured with other code."""
    some = f"1 {what} was" if count == 1 else f"{count} {what}s were"
    return f"{some} measured with other code {code}, and {'is' if count == 1 else 'are'} measured anew"


def deciding(plugin: Plugin) -> list[type[Strategy]]:
    """The classes among a plugin's offers that networks or samples may depend on."""
    return [offer.what for offer in plugin.offers if isinstance(offer.what, type) and offer.what.decides]


def code_of_plugin(plugin: Plugin) -> str:
    """The hash of all that a local plugin offers and that networks or samples may depend on."""
    hashes = code_of_classes(deciding(plugin))
    text = json.dumps({root: code for root, code in hashes.items() if root != "guideplug"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
