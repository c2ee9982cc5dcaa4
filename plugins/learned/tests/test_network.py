"""The weight network: never negative, of labels and levels, from a file and back."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from guideplug import Condition, Level, Space, WeightInput, fill_module
from guideplug.errors import GuideplugError
from guideplug.files.tensors import write_tensors
from guideplug_learned import Fitted, LearnedError, WeightNetwork

LEVELS = (0.002, 80.0, 0.5)
SPACE = Space((2,))
LABELS = torch.tensor([0, 1, 2, 0, 2, 1])


def network(classes: int = 3, seed: int = 0, *, scale: float = 20.0) -> WeightNetwork:
    """One whose last layer is far from its start, so that it differs with everything."""
    found = WeightNetwork(LEVELS, classes, 16, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        found.last *= scale
        found.last_bias.fill_(1.0 if scale > 1 else 0.1)
    return found.eval()


def at(module: WeightNetwork, condition: Condition, sigma: Level, toward: Level | None) -> Tensor:
    return module(WeightInput(sigma, toward, SPACE, condition))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_never_negative_and_finite_everywhere(seed: int) -> None:
    sigma = torch.logspace(-6, 4, 200)
    with torch.no_grad():
        values = at(network(seed=seed), torch.arange(200) % 5 - 1, sigma, sigma / 3)
    assert bool((values >= 0).all())
    assert bool(torch.isfinite(values).all())
    assert float(values.max()) > float(values.min())


def test_some_are_0_and_some_are_not() -> None:
    values = torch.stack([at(network(seed=seed), LABELS, 1.0, 0.5) for seed in range(5)])
    assert 0 < int((values == 0).sum()) < values.numel()


def test_it_begins_nearly_off() -> None:
    values = at(network(scale=1.0).requires_grad_(False), LABELS, torch.logspace(-2, 1, 6), torch.full((6,), 0.001))
    assert float(values.max()) < 0.5
    assert float(values.max()) > 0


def test_both_levels_and_the_label_matter() -> None:
    found = network(seed=1)
    values = {
        at(found, torch.tensor([label]), t, s).item()
        for label in (0, 1)
        for t, s in ((1.0, 0.5), (1.0, 0.3), (2.0, 0.5))
    }
    assert len(values) == 6


def test_a_tensor_of_levels_gives_what_floats_give() -> None:
    found = network()
    for label in (None, LABELS):
        whole = at(found, label, torch.full((6,), 0.7), torch.tensor(0.2)).expand(6)
        torch.testing.assert_close(whole, at(found, label, 0.7, 0.2).expand(6))
        torch.testing.assert_close(whole, at(found, label, torch.full((6,), 0.7, dtype=torch.float64), 0.2).expand(6))
    assert at(found, None, 0.7, 0.2).shape == (1,)
    assert at(found, LABELS, 0.7, 0.2).shape == at(found, LABELS[:2], 0.7, 0.2).repeat(3).shape == (6,)


def test_many_samples_of_few_classes_are_looked_up() -> None:
    """As one by one."""
    found = network()
    torch.testing.assert_close(
        at(found, LABELS, 0.7, 0.2), torch.cat([at(found, LABELS[i : i + 1], 0.7, 0.2) for i in range(6)])
    )


def test_labels_that_it_does_not_know_are_no_condition() -> None:
    found = network()
    values = at(found, torch.tensor([3, -1, 100]), 0.7, 0.2)
    torch.testing.assert_close(values, at(found, None, 0.7, 0.2).expand(3))
    assert not torch.equal(values[:1], at(found, torch.tensor([0]), 0.7, 0.2))


def test_levels_beyond_the_ends_are_the_ends() -> None:
    found = network()
    assert torch.equal(at(found, None, 0.01, 0.0), at(found, None, 0.01, 0.002))
    assert torch.equal(at(found, None, 1000.0, 1.0), at(found, None, 80.0, 1.0))
    assert torch.equal(at(found, None, torch.tensor([0.01]), torch.tensor([0.0])), at(found, None, 0.01, 0.002))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (torch.zeros(2), "float32 of shape (B)"),
        (torch.zeros(2, 4), "float32 of shape (B, 4)"),
        (torch.zeros(2, 4, dtype=torch.int64), "int64 of shape (B, 4)"),
        ({"text": torch.zeros(2, 4)}, "a dict of text"),
        ([torch.zeros(2, 4)], "a list"),
    ],
)
def test_conditions_that_are_no_labels_are_refused_in_one_line(condition: object, said: str) -> None:
    with pytest.raises(LearnedError) as caught:
        at(network(), condition, 1.0, 0.5)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_level_to_go_towards_it_raises() -> None:
    with pytest.raises(ValueError, match="the level that a step goes towards, and there is none"):
        at(network(), None, 1.0, None)


# Files


def test_a_file_says_its_own_sizes(tmp_path: Path) -> None:
    found = network(classes=2, seed=3)
    path = tmp_path / "weights.safetensors"
    write_tensors(path, found.state_dict())
    recipe = Fitted(path=str(path))
    recipe.check()
    again = recipe.build()
    assert isinstance(again, WeightNetwork)
    recipe.make(again, None)  # type: ignore[arg-type]
    assert torch.equal(at(again, LABELS, 0.7, 0.2), at(found, LABELS, 0.7, 0.2))
    assert at(again, None, 1.0, 0.5).item() == pytest.approx(at(found, None, 1.0, 0.5).item())
    assert math.isclose(again._low, 0.002)
    content = recipe.content()
    write_tensors(path, network(classes=2, seed=4).state_dict())
    assert recipe.content() != content


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"layer": torch.zeros(3)}, "holds no weight network"),
        ({"embedding": torch.zeros(3), "levels": torch.zeros(3)}, "holds no weight network"),
        ({"embedding": torch.zeros(3, 4), "levels": torch.tensor([0.1, 1.0, 0.5])}, "lacks"),
    ],
)
def test_a_file_of_something_else_is_refused_in_one_line(
    tensors: dict[str, torch.Tensor], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    write_tensors(path, tensors)
    with pytest.raises(GuideplugError) as caught:
        Fitted(path=str(path)).check()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    found = network()
    with torch.no_grad():
        found.first[0, 0] = math.nan
    write_tensors(tmp_path / "weights.safetensors", found.state_dict())
    with pytest.raises(GuideplugError, match="not finite"):
        Fitted(path=str(tmp_path / "weights.safetensors")).check()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GuideplugError, match="does not exist"):
        Fitted(path=str(tmp_path / "none.safetensors")).check()


def test_the_names_in_files_stay() -> None:
    """What was fitted can be read tomorrow."""
    names = set(network().state_dict())
    assert names == {"levels", "first", "embedding", "second", "second_bias", "last", "last_bias"}
    fill_module(network(), network(seed=2).state_dict(), "memory")


def test_a_weight_of_0_everywhere_can_rise_again() -> None:
    """A part of the gradient passes the zero; the value is 0 all the same."""
    found = network()
    with torch.no_grad():
        found.last_bias.fill_(-1e3)
    optimiser = torch.optim.SGD(found.parameters(), lr=1e4)
    values = at(found, LABELS, 1.0, 0.5)
    assert torch.equal(values, torch.zeros(6))
    (-values.sum()).backward()
    optimiser.step()
    assert float(at(found, LABELS, 1.0, 0.5).detach().min()) > 0
