"""Fitting with rewards: what they move, what they are part of, and which are refused."""

import math
from pathlib import Path
from typing import Any, cast, final

import pytest
import torch
from attrs import evolve, frozen
from fits import CFG, SPACE, Blob, Closed, at, fitted, levels, small
from torch import Tensor

import guideplug_learned.fit as fitting
from guideplug import (
    GuideplugError,
    Reward,
    TrainingStreams,
    option,
)
from guideplug.config import Reader, parse
from guideplug.registry.registry import Registry
from guideplug.testing import GaussianDenoiser
from guideplug_learned import Fit, LearnedError, WeightNetwork
from guideplug_learned.consistency import paired

torch.set_num_threads(1)


def write(folder: Path, code: str) -> str:
    file = folder / "reward.py"
    file.write_text(f"import torch\n\ndef score(x, condition):\n    {code}\n")
    return f"{file}:score"


def test_a_reward_moves_the_weight_and_its_weight_0_does_not(tmp_path: Path) -> None:
    """The direction is along +x, so a reward for large x asks for a larger weight."""
    place = write(tmp_path, "return 3 * x.sum(1)")
    fit = small(Closed(0.4), Closed(0.0), Blob(0.5), iterations=150)
    plain, _ = fitted(fit)
    more, _ = fitted(evolve(fit, reward=place))
    same, _ = fitted(evolve(fit, reward=place, reward_weight=0.0))
    pair = levels((0.8, 0.5))
    assert at(more, *pair) > at(plain, *pair) + 0.3
    assert at(same, *pair) == pytest.approx(at(plain, *pair), abs=1e-5)


def test_the_reward_term_is_minus_its_mean_on_guided_clean_predictions(tmp_path: Path) -> None:
    place = write(tmp_path, "return (x * x).sum(1) * (1 + condition)")
    task = Blob(labels=True)
    options: dict[str, Any] = {"of": Closed(0.4, labels=True), "task": task, "guider": CFG, "batch": 8, "particles": 2}
    fit = Fit(**options, reward=place, reward_weight=0.7)
    plain = Fit(**options)
    module, base = cast(WeightNetwork, fit.build()), GaussianDenoiser(0.4, conditioning="labels")
    pair = paired(base, base.unconditional())
    with_, omega = fit._loss(module, base, pair, fitting.Scores(place), 5)
    without, _ = plain._loss(module, base, pair, None, 5)
    streams = TrainingStreams(0, 5)
    examples = task.draw(torch.zeros(8), streams)
    sigma, toward = fitting.draw_levels(8, SPACE, 0.1, streams.generator("levels"))
    noise, _ = torch.randn(2, 8, 2, 2, generator=streams.generator("particles"))
    total = 0.0
    for i in range(8):
        label = cast(Tensor, examples.condition)[i : i + 1]
        assert float(omega[i]) == pytest.approx(at(module, float(sigma[i]), float(toward[i]), int(label)), abs=1e-5)
        for j in range(2):
            x = examples.x[i : i + 1] + sigma[i] * noise[i, j]
            guided = (base + float(omega[i]) * (base - base.unconditional()))(x, float(sigma[i]), label)
            total += float((guided**2).sum() * (1 + label)) / 16
    assert float(with_.detach()) == pytest.approx(float(without.detach()) - 0.7 * total, rel=1e-3)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("return x.sum(1) * torch.nan", "is not finite for 8 of 8 samples"),
        ("return torch.where(torch.arange(len(x)) == 0, torch.inf, x.sum(1))", "is not finite for 1 of 8 samples"),
        ("return x", "returned shape (8, 2) of float32 for 8 samples"),
        ("return x.mean()", "returned shape () of float32 for 8 samples"),
        ("return (x.sum(1) > 0)", "returned shape (8,) of bool for 8 samples"),
        ("return 1.0", "returned a float for 8 samples"),
        ("return x.sum(1).detach()", "has no gradient"),
        ("raise KeyError('no\\nsuch')", "raised KeyError"),
    ],
)
def test_a_reward_that_cannot_be_used_is_refused_in_one_line(code: str, said: str, tmp_path: Path) -> None:
    place = write(tmp_path, code)
    with pytest.raises(LearnedError) as caught:
        small(Closed(), Closed(0.3), reward=place).check()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nothing", "reward is 'nothing': write module:function or FILE.py:function"),
        ("no_such_module:f", "reward no_such_module:f cannot be imported: ModuleNotFoundError"),
        ("math:no_such", "has no function 'no_such'"),
    ],
)
def test_a_reward_that_is_not_there_is_refused(place: str, said: str) -> None:
    with pytest.raises((GuideplugError, ValueError)) as caught:
        small(Closed(), Closed(0.3), reward=place).check()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@final
@frozen
class Coordinate(Reward):
    """The first coordinate, or something that is wrong with it."""

    name = "coordinate"
    scale: float = option(1.0, help="factor")
    wrong: str = option("", help="what is wrong")

    def score(self, x0: Tensor, condition: Any) -> Tensor:
        scores = self.scale * x0[:, 0]
        return {"nan": scores * math.nan, "shape": x0, "gradient": scores.detach()}.get(self.wrong, scores)


class Catalog:
    """The installed strategies, and one reward."""

    def __init__(self) -> None:
        self.registry = Registry.installed()

    def find(self, kind: str, name: str) -> Any:
        return Coordinate if (kind, name) == ("reward", "coordinate") else self.registry.find(kind, name)

    def names(self, kind: str) -> list[str]:
        return [*self.registry.names(kind), *(["coordinate"] if kind == "reward" else [])]


@pytest.mark.slow
def test_a_reward_by_its_name_is_that_of_a_plugin(tmp_path: Path) -> None:
    fit = small(Closed(0.4), Closed(0.0), Blob(0.5), iterations=150)
    reader = Reader(Catalog())
    read = reader.replaced(fit, "reward", "coordinate(scale=6)", "fit")
    assert read == evolve(fit, reward=Coordinate(scale=6.0))
    place = write(tmp_path, "return 6 * x[:, 0]")
    own = reader.replaced(fit, "reward", place, "fit")
    assert own.reward == place
    assert reader.replaced(own, "reward", "none", "fit") == fit
    (plain, _), (more, _), (same, _) = fitted(fit), fitted(read), fitted(own)
    pair = levels((0.8, 0.5))
    assert at(more, *pair) > at(plain, *pair) + 0.3
    assert at(more, *pair) == at(same, *pair)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("nan", "is not finite for 8 of 8 samples"),
        ("shape", "returned shape (8, 2) of float32 for 8 samples"),
        ("gradient", "has no gradient"),
    ],
)
def test_a_reward_of_a_plugin_is_held_to_the_same(wrong: str, said: str) -> None:
    with pytest.raises(LearnedError) as caught:
        small(Closed(), Closed(0.3), reward=Coordinate(wrong=wrong)).check()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coordinat", "write module:function or FILE.py:function, or the name of a reward that a plugin offers"),
        ("coordinat(scale=2)", "expected a text, and no reward is called 'coordinat'"),
    ],
)
def test_a_reward_that_no_plugin_offers_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(GuideplugError) as caught:
        Reader(Catalog()).replaced(small(Closed(), Closed(0.3)), "reward", parse(text), "fit")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rewards_code_is_part_of_the_identity(tmp_path: Path) -> None:
    fit = small(Closed(), Closed(0.3), reward=write(tmp_path, "return x.sum(1)"))
    before = fit.content()
    assert before != evolve(fit, reward=None).content()
    other = tmp_path / "other"
    other.mkdir()
    assert before != evolve(fit, reward=write(other, "return x.sum(1) + 1")).content()


def test_a_reward_that_fails_later_ends_the_fit_in_one_line(tmp_path: Path) -> None:
    place = write(tmp_path, "return x.sum(1) * (torch.nan if len(x) > 8 else 1.0)")
    fit = small(Closed(), Closed(0.3), reward=place, iterations=40)
    fit.check()
    with pytest.raises(GuideplugError, match=r"diverged by step 32: the loss is nan.*reward") as caught:
        fitted(fit)
    assert "\n" not in str(caught.value)
