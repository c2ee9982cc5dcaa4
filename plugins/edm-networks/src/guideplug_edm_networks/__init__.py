"""The networks of EDM and EDM2, and their published sizes."""

from collections.abc import Mapping

from guideplug import Network, hook
from guideplug_edm_networks.edm import EDM, EDMDenoiser
from guideplug_edm_networks.edm2 import EDM2, EDM2Denoiser
from guideplug_edm_networks.presets import PRESETS

__all__ = ["EDM", "EDM2", "EDM2Denoiser", "EDMDenoiser"]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [EDM, EDM2]


@hook
def guideplug_presets() -> Mapping[str, Mapping[str, str]]:
    """The published sizes."""
    return {"denoiser": PRESETS}
