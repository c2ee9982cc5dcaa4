"""Samplers over noise levels that users of other libraries expect, each one solver on `guideplug.SigmaSampler`."""

from guideplug import Sampler, hook
from guideplug_samplers.ddim import DDIM
from guideplug_samplers.dpm import DPM2M, DPM2MSDE, DPM3MSDE
from guideplug_samplers.unipc import UniPC

__all__ = ["DDIM", "DPM2M", "DPM2MSDE", "DPM3MSDE", "UniPC"]


@hook
def guideplug_samplers() -> list[type[Sampler]]:
    return [DDIM, DPM2M, DPM2MSDE, DPM3MSDE, UniPC]


@hook
def guideplug_presets() -> dict[str, dict[str, str]]:
    return {"sampler": {"ddpm": "ddim(eta=1, schedule=model)", "euler-ancestral": "ddim(eta=1)"}}
