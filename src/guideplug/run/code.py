"""The code that a run's result depends on, so that a run is not resumed with other code than it began with."""

from collections.abc import Mapping

from guideplug.run.config import RunConfig
from guideplug.store import code_behind, source_digest

__all__ = ["code_of"]


def code_of(config: RunConfig) -> Mapping[str, str]:
    """Version and hash of each top-level module that the networks, the guider or the sampler of a run come from."""
    found: dict[str, str] = {}
    for recipe in config.recipes.values():
        found |= code_behind(recipe)
    strategies = (config.task, config.guider, config.selector, config.sampler)
    roots = {type(one).__module__.partition(".")[0] for one in strategies if one is not None}
    found |= {root: source_digest(root) for root in roots - found.keys()}
    return dict(sorted(found.items()))
