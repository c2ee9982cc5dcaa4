"""The networks of EDM and EDM2, their published sizes, and EDM2's objective."""

from collections.abc import Mapping

from guideplug import Network, Objective, hook
from guideplug_edm_networks.edm import EDM, EDMDenoiser
from guideplug_edm_networks.edm2 import EDM2, EDM2Denoiser
from guideplug_edm_networks.presets import PRESETS
from guideplug_edm_networks.uncertainty import EDM2Uncertainty

__all__ = ["EDM", "EDM2", "EDM2Denoiser", "EDM2Uncertainty", "EDMDenoiser"]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [EDM, EDM2]


@hook
def guideplug_objectives() -> list[type[Objective]]:
    return [EDM2Uncertainty]


@hook
def guideplug_presets() -> Mapping[str, Mapping[str, str]]:
    """The published sizes."""
    return {"denoiser": PRESETS}
