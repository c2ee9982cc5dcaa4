"""Truncation: the laws, the formula, its cost, and a Gaussian's temperature."""

import pytest
import torch

from guideplug import formula, opposite
from guideplug.config import Reader
from guideplug.denoise import tally
from guideplug.guide import Guider
from guideplug.registry.registry import Registry
from guideplug.testing import CONDITIONS, GaussianDenoiser, check_guider, example_condition
from guideplug_edm import Heun
from guideplug_truncation import Truncation


def test_laws() -> None:
    check_guider(Truncation)


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("weight", [0.0, 0.7, 1.0, 1.4, 3.0])
def test_the_formula_at_one_call(kind, weight) -> None:
    base = GaussianDenoiser(0.1, conditioning=kind)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(5, 2, generator=generator), example_condition(kind, 5, generator)
    with tally() as counts:
        found = Truncation(weight).guide(base, {})(x, 0.6, condition)
    assert torch.allclose(found, x + weight * (base(x, 0.6, condition) - x), atol=1e-6)
    assert counts.counts[base].calls == 1


def test_what_it_goes_away_from_is_the_noisy_sample() -> None:
    base, x = GaussianDenoiser(), torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(opposite(Truncation(), base, {})(x, 0.5), x)


def test_formulas_call_it_by_its_name() -> None:
    base = GaussianDenoiser()
    assert formula(Truncation(3.0).guide(base, {}), {base: "main"}) == "3 main(x) - 2 x"


def test_samples_come_nearer_to_the_mean() -> None:
    base = GaussianDenoiser(0.2, 0.5)
    start = 80.0 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(2))
    spread = [float(Heun().sample(Truncation(weight).guide(base, {}), start).std()) for weight in (0.8, 1.0, 1.4)]
    assert spread[1] == pytest.approx(0.5, rel=0.05)
    assert spread[0] > 1.2 * spread[1]
    assert spread[2] < 0.5 * spread[1]


def test_it_composes() -> None:
    read = Reader(Registry.installed())
    for text in ("interval(truncation(weight=1.2), high=0.3)", "blend([truncation, autoguidance], shares=[0.5, 0.5])"):
        check_guider(lambda text=text: read.expression(text, Guider))


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_what_is_refused(weight) -> None:
    with pytest.raises(ValueError, match="weight"):
        Truncation(weight)
