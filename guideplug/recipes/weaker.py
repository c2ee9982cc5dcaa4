"""The weaker version of a training: a smaller network of the same kind, trained for a part of the duration.

Guiders such as autoguidance move away from it. It should make the main network's errors, only larger, so it has the
same data, conditions, optimiser and seed, and differs in capacity and duration alone. The selector of the main network
is omitted.

Source: T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila and S. Laine 2024, "Guiding a Diffusion Model with
a Bad Version of Itself", arXiv:2406.02507, section 4. The degree is a choice of each task:
theirs is half the width and an eighth of the training for the 2D tree (appendix C), the size XS instead of S and a
sixteenth of the training for ImageNet (table 1).
"""

from collections.abc import Callable
from typing import Any

from attrs import evolve

from guideplug.recipe import Recipe
from guideplug.recipes.train import Train
from guideplug.task import Network

__all__ = ["half_width", "weaker"]


def weaker(main: Recipe, smaller: Callable[[Network], Network], *, part: float = 1 / 4) -> Train | None:
    """The training of a weaker network than the main one, for the role "weak" of `Task.recipe`.

    Args:
        main: the recipe of the main network.
        smaller: a function from the main network to the smaller one, such as that of `half_width`.
        part: the share of the main training's duration, above 0 and at most 1; rounded up to whole steps or examples.

    Returns:
        ``main`` with the smaller network and duration, without the selector and its networks. None if ``main`` is not a
        training from scratch, `guideplug.Train`: a task then has no default.

    Raises:
        ValueError: ``part`` is out of range.
    """
    if not 0 < part <= 1:
        raise ValueError(f"part is {part:g}: give a share of the main training's duration above 0 and at most 1")
    if not isinstance(main, Train):
        return None
    options = evolve(main.options, duration=main.options.duration.part(part))
    return evolve(main, denoiser=smaller(main.denoiser), options=options, selector=None, models={})


def half_width(default: Network, option: str = "width") -> Callable[[Network], Network]:
    """A function that halves a network's width, rounded down, to at least 1.

    Args:
        default: the network that is halved instead of one of another class, whose options are unknown.
        option: the halved option, a whole number.

    Raises:
        ValueError: ``default`` has no such option.
    """
    if not isinstance(getattr(default, option, None), int):
        raise ValueError(f"the network {default.name} has no option {option!r} that is a whole number: name another")

    def halved(network: Network) -> Network:
        known: Any = network if isinstance(network, type(default)) else default
        smaller: Network = evolve(known, **{option: max(getattr(known, option) // 2, 1)})
        return smaller

    return halved
