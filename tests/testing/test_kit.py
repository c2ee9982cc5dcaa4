"""Plugins of ours keep the laws that ``guideplug plugins check`` tries."""

from pathlib import Path

import pytest
import torch
from tiers import few

from guideplug import Registry
from guideplug.testing.imports import imported
from guideplug.testing.kit import Kit

torch.set_num_threads(1)

REGISTRY = Registry.installed()
PLUGINS = {plugin.name: plugin for plugin in REGISTRY.plugins[1:]}
CHECKED = {"digits", "mixture", "studies", "tree"}
"""`.ci/run` checks them with ``guideplug plugins check``."""


FAST = ("autoguidance", "cfg", "edm", "jest", "random", "unbiased")


@pytest.mark.parametrize("name", few(sorted(PLUGINS.keys() - CHECKED), *FAST))
def test_a_plugin_keeps_the_laws(name: str) -> None:
    broken = {
        (checked.what, finding.law): finding.reason
        for checked in Kit(REGISTRY).check(PLUGINS[name], None)
        for finding in checked.findings
        if not finding.holds
    }
    assert broken == {}


@pytest.mark.slow
def test_no_import_is_slow() -> None:
    costs = imported({name: plugin.origin for name, plugin in PLUGINS.items()})
    assert {name: cost for name, cost in costs.items() if cost.heavy or cost.error} == {}


def test_what_cannot_be_tried_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        '''
from typing import final
from attrs import frozen
from guideplug import Guider, hook, option

@final
@frozen
class Mine(Guider):
    """Wants a text."""
    name = "mine"
    place: str = option(help="a file")
    def guide(self, base, models):
        return base

@hook
def guideplug_guiders():
    return [Mine]

@hook
def guideplug_presets():
    return {"guider": {"ours": "mine(nothing=1)"}}
'''
    )
    registry = Registry()
    registry.load_file(file)
    found = {checked.what: checked for checked in Kit(registry).check(registry.plugin("mine"), None)}
    (finding,) = found["guider mine"].findings
    assert finding.law == "an example can be made"
    assert "has the option 'place' without a default" in str(finding.reason)
    (finding,) = found["guider ours"].findings
    assert not finding.holds
    assert "nothing" in str(finding.reason)
