"""What a guider steers away from, and the weight with which."""

from collections.abc import Mapping

import attrs
import pytest
import torch

from guideplug import ConfigError, Denoiser, Guider, Registry, opposite, option, tally, weight_of
from guideplug.config import Reader
from guideplug.testing import CONDITIONS, Conditioning, GaussianDenoiser, example_condition

READER = Reader(Registry.installed())


def read(text: str) -> Guider:
    return READER.expression(text, Guider)


@attrs.frozen
class Towards(Guider):
    """A guider whose weight is called something else."""

    name = "towards"
    strength: float = option(1.0, help="how much")

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.0, -3.0])
def test_autoguidance_steers_away_from_its_weak_network(weight: float) -> None:
    base, models = GaussianDenoiser(0.1), {"weak": GaussianDenoiser(0.4), "bad": GaussianDenoiser(0.7)}
    guider = read(f"autoguidance(weight={weight}, model=bad)")
    assert weight_of(guider) == weight
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    with tally() as counts:
        value = opposite(guider, base, models)(x, 0.7)
    assert torch.equal(value, models["bad"](x, 0.7))
    assert list(counts.counts) == [models["bad"]]
    assert weight_of(guider) == weight


@pytest.mark.parametrize("kind", CONDITIONS[1:])
def test_classifier_free_guidance_steers_away_from_the_null_condition(kind: Conditioning) -> None:
    base = GaussianDenoiser(0.1, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)
    value = opposite(read("cfg(weight=3)"), base, {})(x, 0.7, condition)
    assert torch.equal(value, base(x, 0.7))
    assert not torch.equal(value, base(x, 0.7, condition))


@pytest.mark.parametrize("text", ["sims", "blend([cfg, autoguidance])", "interval(cfg, low=0.1)"])
def test_a_guider_without_a_weight_is_refused_in_one_line(text: str) -> None:
    refused(read(text), text.partition("(")[0])


def test_so_is_one_whose_weight_has_another_name() -> None:
    refused(Towards(), "towards")


def refused(guider: Guider, name: str) -> None:
    base = GaussianDenoiser()
    for ask in (lambda: weight_of(guider), lambda: opposite(guider, base, {})):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert str(caught.value).startswith(f"guider {name!r} has no option weight, so it does not say")
        assert "\n" not in str(caught.value)
