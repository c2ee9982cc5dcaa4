"""Where a view asks, and what becomes of the answer (see `guideplug.denoise.view`)."""

from torch import Tensor

from guideplug.denoise.weight_input import Level

__all__ = ["Change"]


class Change:
    """Where a view asks, and what becomes of the answer; as it stands, no change.

    Subclasses are frozen attrs classes, whose equality makes equal views of one denoiser one.
    """

    copies: int = 1
    """How many rows it asks for each sample; in ``inputs`` the whole batch comes once for each."""

    def level(self, sigma: Level) -> Level:
        """The noise level it asks at; a float for a float."""
        return sigma

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one sample in ``inputs``."""
        return shape

    def inputs(self, x: Tensor, sigma: Level) -> Tensor:
        """The noisy samples it asks for, (copies B, *), from x (B, *) at ``sigma``."""
        return x

    def answer(self, denoised: Tensor, x: Tensor, sigma: Level) -> Tensor:
        """What the view says, (B, *), from the answer (copies B, *); row by row."""
        return denoised
