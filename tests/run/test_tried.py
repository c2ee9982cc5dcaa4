"""Trials of flow networks: from noise alone, where some guiders have no limit."""

from pathlib import Path
from typing import Any

import pytest
from resolved_requests import REGISTRY, resolved

from guideplug.errors import ConfigError
from guideplug.run.preflight import preflight
from guideplug.run.resolve import RunConfig

NETWORK = """
from guideplug import wrap

def flow(domain):
    return wrap(lambda x_t, time: 0.9 * x_t, domain.space.shape, predicts="flow")
"""


def of_flow(folder: Path, **values: Any) -> RunConfig:
    """A run that samples a flow network without weights."""
    file = folder / "network.py"
    file.write_text(NETWORK)
    return resolved(models={"main": f'python("{file}:flow")'}, **values)


@pytest.mark.parametrize("guider", ["truncation(weight=1.4)", "truncation(weight=0.5)"])
def test_a_guider_that_scales_the_score_is_refused_at_noise_alone(guider: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"guider truncation.* of x at t = 1.*interval.*start=0.9") as caught:
        preflight(of_flow(tmp_path, guider=guider), REGISTRY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("guider", "sampler"),
    [("truncation", "flow(start=0.9)"), ("interval(truncation, high=10)", "flow"), ("truncation", "heun(num_steps=8)")],
)
def test_below_noise_alone_it_is_not(guider: str, sampler: str, tmp_path: Path) -> None:
    preflight(of_flow(tmp_path, guider=guider, sampler=sampler), REGISTRY)


@pytest.mark.parametrize("sampler", ["flow", "flow-heun", "flow-2m(tokens=1024)"])
def test_a_flow_is_tried_from_noise_alone(sampler: str, tmp_path: Path) -> None:
    tried = preflight(of_flow(tmp_path, sampler=sampler), REGISTRY)
    assert tried.point.space.noise_alone
