"""Changes of (x, sigma) and of the output in a view (see `guideplug.denoise.view`)."""

from torch import Tensor

from guideplug.denoise.weight_input import Level

__all__ = ["Change"]


class Change:
    """A change of (x, sigma) and of the output; the base class is the identity.

    Subclasses are frozen attrs classes: views of one denoiser with equal changes are equal.
    """

    copies: int = 1
    """Rows evaluated per sample; ``inputs`` holds the whole batch once per copy."""

    def level(self, sigma: Level) -> Level:
        """The noise level of the evaluation; a float for a float."""
        return sigma

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one sample in ``inputs``."""
        return shape

    def inputs(self, x: Tensor, sigma: Level) -> Tensor:
        """The noisy samples of the evaluation, (copies B, *), from x (B, *) at ``sigma``."""
        return x

    def answer(self, denoised: Tensor, x: Tensor, sigma: Level) -> Tensor:
        """The output of the view, (B, *), from the denoised samples (copies B, *); independent per row."""
        return denoised
