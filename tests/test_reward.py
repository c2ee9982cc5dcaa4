"""Rewards: a plugin offers them by name, the check holds them to their laws, what they read is part of identities."""

import math
from pathlib import Path
from typing import ClassVar, final

import pytest
import torch
from attrs import frozen
from torch import Tensor

from guideplug import Condition, Registry, Reward, option
from guideplug.store.identity import _plain
from guideplug.testing import check_reward

PLUGIN = '''
from attrs import frozen
from guideplug import Reward, hook, option

@frozen
class High(Reward):
    """The first coordinate."""
    name = "high"
    scale: float = option(1.0, help="factor")
    def score(self, x0, condition):
        return self.scale * x0[:, 0]

@hook
def guideplug_rewards():
    return [High]

@hook
def guideplug_presets():
    return {"reward": {"very-high": "high(scale=10)"}}
'''

X = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))


@final
@frozen
class Right(Reward):
    """Minus the squared norm, times a label; or a law broken."""

    name = "right"
    broken: str = option("", help="the law that is broken")
    read: ClassVar[str] = "what a file says"

    def score(self, x0: Tensor, condition: Condition) -> Tensor:
        assert isinstance(condition, Tensor)
        plain = -x0.square().sum(1) * (1 + condition)
        if self.broken == "samples":
            with torch.no_grad():
                x0 *= 2
        if self.broken == "random":
            return plain + torch.rand(len(x0))
        found: dict[str, Tensor] = {
            "number": plain.mean(),
            "finite": plain * math.inf,
            "gradient": plain.detach(),
            "others": plain - plain.mean(),
            "order": plain + torch.arange(len(x0)),
        }
        return found.get(self.broken, plain)

    def content(self) -> str:
        return self.read


def test_plugins_offer_them_by_name(tmp_path: Path) -> None:
    from guideplug.config import Reader

    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    registry = Registry()
    registry.load_file(file)
    assert registry.names("reward") == ["high", "very-high"]
    found = Reader(registry).expression("very-high", Reward)  # type: ignore[type-abstract]
    assert found.score(X, None).tolist() == pytest.approx((10 * X[:, 0]).tolist())


def test_one_that_keeps_the_laws_passes() -> None:
    check_reward(Right(), X, torch.tensor([0, 1, 2, 0, 1, 2]))


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        ("number", "each sample has one number"),
        ("finite", "scores are finite"),
        ("gradient", "scores have a gradient"),
        ("random", "no draw from a global generator"),
        ("others", "a score does not depend on the other samples"),
        ("order", "the order of the batch does not matter"),
        ("samples", "samples are left as they are"),
    ],
)
def test_a_broken_law_is_named(broken: str, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_reward(Right(broken=broken), X, torch.tensor([0, 1, 2, 0, 1, 2]))


def test_what_it_reads_is_part_of_an_identity() -> None:
    assert _plain(Right())["content"] == "what a file says"
