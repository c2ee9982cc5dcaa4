"""A network of a checkpoint that says what it is, for one's own loop."""

from pathlib import Path

from guideplug.config import Reader
from guideplug.denoise import Leaf, NoiseDomain, Space
from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.sheet import beside
from guideplug.recipes import Load
from guideplug.recipes.imported import described, domain_of
from guideplug.registry.registry import Registry
from guideplug.run.architecture import architecture_of_file, architectures

__all__ = ["open_network"]


def open_network(path: str | Path, key: str | None = None, *, vae: str | Path | None = None) -> Leaf:
    """The denoiser of a snapshot of EDM or EDM2, or of a checkpoint with a sheet, with its weights, on the CPU.

    Nothing in the file is executed. Its space, levels and classes are those that it was trained for.

    Args:
        path: the checkpoint.
        key: which of its networks, such as "ema"; None for the only one.
        vae: a local folder of the autoencoder, whose decoder becomes ``decode``.

    Raises:
        CheckpointError: the file is damaged, or neither it nor a sheet says what the network is.
    """
    reader, place = Reader(Registry.installed()), Path(path)
    network = architecture_of_file(str(place), reader, key)
    sheet = described(place, key, architectures(reader))
    if network is None or sheet is None or sheet.shape is None:
        raise CheckpointError(
            f"checkpoint {place} does not say what its network is: build yours and give it the weights, "
            f"load_weights(net, FILE) and wrap(net, ...), or write denoiser and shape into its sheet {beside(place)}"
        )
    try:
        domain = domain_of(sheet, NoiseDomain(Space(sheet.shape), sheet.num_labels))
    except ValueError as error:
        raise CheckpointError(f"sheet {beside(place)}: {error}: correct it there") from None
    recipe = Load(path=str(place), task=domain, denoiser=network, key=key, vae=None if vae is None else str(vae))
    denoiser = recipe.build()
    recipe.fill(denoiser)
    return denoiser.eval()
