"""Degraded networks: a trained network with noise on its input or with dropped units, as a recipe.

    degraded(main, noise=0.1)      D'(x; sigma, c) = D(x + sqrt((1 + a)^2 - 1) sigma e; (1 + a) sigma, c),  a = 0.1
    degraded(main, dropout=0.05)   D with 5 % of its units set to 0, the rest divided by .95

The noise e is standard normal, so the noise of the input agrees with the level passed to the network. Every evaluation
draws anew, like dropout in training mode. The draws are per sample and follow from the start of its trajectory
(`guideplug.rng.keyed`): they depend neither on the batch nor on a global generator. Degradations that differ in share
or seed draw independently.

Source: T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila and S. Laine 2024, "Guiding a diffusion model with
a bad version of itself", arXiv:2406.02507, section 4: autoguidance undoes a degradation of the main network if the
guide has more of the same one, and has no effect if it has another. The network determines the dropped units.
Cost: one call of the network, and the draws. Its named outputs are the degraded network's, from the same call.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast, final

from attrs import frozen
from torch import Tensor, nn

from guideplug.config import Source, between, non_negative, option
from guideplug.denoise import Affine, Condition, Denoiser, Leaf, LeafWrapper, per_row
from guideplug.errors import DenoiserError, RecipeError
from guideplug.recipe import Builder, Recipe
from guideplug.rng import KeyedRandom, asked_samples, derived_seed

__all__ = ["Degraded", "DegradedDenoiser"]


@final
@frozen(kw_only=True)
class Degraded(Recipe):
    """A recipe's network with noise on its input, or with dropped units; no further training."""

    name = "degraded"
    stored = False
    source = Source(
        "T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine",
        2024,
        "Guiding a Diffusion Model with a Bad Version of Itself",
        "https://arxiv.org/abs/2406.02507",
        "section 4",
    )
    of: Recipe = option(help="the recipe of the network to degrade")
    dropout: float = option(0.0, help="share of units that are dropped", validator=between(0, 1))
    noise: float = option(
        0.0, help="relative rise of the noise level that the network is given", validator=non_negative
    )
    seed: int = option(0, help="seed of the random draws")

    def __attrs_post_init__(self) -> None:
        if self.dropout == self.noise == 0:
            raise ValueError("nothing is degraded: give dropout or noise, as in dropout=0.05 or noise=0.1")
        if self.dropout == 1:
            raise ValueError("dropout is 1: nothing would be left of the network; give a share below 1")

    @property
    def viewed(self) -> Recipe:
        """The recipe of the network, whose memory is shared."""
        return self.of

    def build(self) -> "DegradedDenoiser":
        return self.view(self.of.build())

    def view(self, module: nn.Module) -> "DegradedDenoiser":
        """The degraded network of a module.

        Raises:
            RecipeError: the module is no network.
            DenoiserError: the network has no units that may be dropped.
        """
        if not isinstance(module, Leaf):
            raise RecipeError(
                f"the recipe {self.of.name!r} gives a {type(module).__name__}: only networks are degraded"
            )
        return DegradedDenoiser(module, self.dropout, self.noise, self.seed)

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Obtain the network, which is shared, not copied."""
        assert isinstance(module, DegradedDenoiser)
        module.of = cast(Leaf, builder.obtain(self.of))
        done = [f"{share:.3g} {kind}" for share, kind in ((self.dropout, "dropout"), (self.noise, "noise")) if share]
        return {"degraded": f"the network of {module.of.role!r} with {' and '.join(done)}"}

    def check(self) -> None:
        """Refuse dropout of a network that does not support it."""
        try:
            self.build()
        except DenoiserError as error:
            raise ValueError(str(error)) from None  # the caller adds the role


@final
class DegradedDenoiser(LeafWrapper):
    """A network with noise on its input, with dropped units, or both."""

    def __init__(self, of: Leaf, dropout: float = 0.0, noise: float = 0.0, seed: int = 0) -> None:
        super().__init__(of)
        self.outputs = of.outputs
        self.dropout, self.noise = dropout, noise
        self._seed = derived_seed("degraded", seed, repr(dropout), repr(noise))
        if dropout:
            self._dropping(None)

    def _dropping(self, draws: KeyedRandom | None) -> Any:
        offers = self.of.perturbations()
        if "dropout" not in offers:
            known = f"it offers {', '.join(offers)}" if offers else "it offers none"
            raise DenoiserError(
                f"a {type(self.of).__name__} offers no view 'dropout', so its units cannot be dropped: {known}; give "
                "noise instead, or let it offer one (docs/adapters.md)"
            )
        return offers["dropout"](share=self.dropout, draws=draws)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The denoised samples of the degraded network."""
        with self._degraded(x, sigma) as (x, sigma):
            return self.of.denoise(x, sigma, condition)

    def named_outputs(
        self, x: Tensor, sigma: Tensor, condition: Condition, names: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """The outputs of one call of the degraded network."""
        with self._degraded(x, sigma) as (x, sigma):
            return self.of.named_outputs(x, sigma, condition, names)

    @contextmanager
    def _degraded(self, x: Tensor, sigma: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The input and level of one call, in which units are dropped."""
        draws = KeyedRandom(asked_samples(x), len(x), self._seed)
        if self.noise:
            grown = (1 + self.noise) * sigma
            spread = per_row((grown**2 - sigma**2).sqrt(), x)
            x, sigma = x + spread * draws.normal(x.shape[1:]).to(x.dtype), grown
        with self._dropping(draws) if self.dropout else nullcontext():
            yield x, sigma

    def trajectory(self) -> Denoiser:
        return Affine(self.terms, self.space).trajectory()  # which holds the keys of its samples
