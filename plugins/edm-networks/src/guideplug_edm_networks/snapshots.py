"""The architectures of snapshots: which arguments of EDM's and EDM2's classes are which options of ours."""

from collections.abc import Mapping
from typing import Any, Final

from guideplug import NoiseDomain, PickledNetwork, Space

__all__ = ["arguments_of", "domain_of"]

OWN: Final = {
    "model_channels": "channels",
    "num_blocks": "blocks",
    "attn_resolutions": "attention",
    "embedding_type": "embedding",
    "encoder_type": "encoder",
    "decoder_type": "decoder",
    "augment_dim": "augment",
}
"""Our names of arguments that have others."""
OF_THE_DATA: Final = {
    "img_resolution",
    "img_channels",
    "in_channels",
    "out_channels",
    "label_dim",
    "sigma_data",
    "model_type",
}
IN_TRAINING: Final = {"label_dropout"}
"""Arguments that a finished network does not depend on."""
SIGMA_RANGE: Final = (0.002, 80.0)
"""The levels at which EDM and EDM2 sample."""


def arguments_of(snapshot: PickledNetwork, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of our architecture, from the arguments of a snapshot's class.

    Args:
        snapshot: the snapshot.
        options: the known options, by name.

    Raises:
        ValueError: an argument is none of them.
    """
    arguments = {
        OWN.get(name, name): tuple(value) if isinstance(value, list) else value
        for name, value in snapshot.arguments.items()
        if name not in OF_THE_DATA | IN_TRAINING
    }
    if arguments.pop("use_fp16", snapshot.attributes.get("use_fp16")):
        arguments["precision"] = "fp16"
    for name in arguments.keys() - options.keys():
        raise ValueError(f"its {snapshot.named} has an argument {name!r}, which is not known here")
    return arguments


def domain_of(snapshot: PickledNetwork) -> NoiseDomain:
    """The images and classes of a snapshot's network.

    Raises:
        ValueError: it does not say them.
    """
    try:
        side, channels = int(snapshot.attributes["img_resolution"]), int(snapshot.attributes["img_channels"])
        space = Space((channels, side, side), float(snapshot.attributes["sigma_data"]), *SIGMA_RANGE)
        return NoiseDomain(space, int(snapshot.attributes["label_dim"]) or None)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its {snapshot.named} does not say its images, classes and sigma_data ({error})") from None
