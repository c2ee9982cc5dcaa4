"""Finite data: the forms of items, what is refused, and draws that depend on the step alone."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from guideplug.errors import ConfigError
from guideplug.rng import TrainingStreams
from guideplug.train.dataset import FiniteData

X = torch.arange(24.0).reshape(8, 3)
LABELS = torch.arange(8) % 3


class Items(Dataset[Any]):
    """A data set of given items."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Batched(Items):
    """One that fetches many at once."""

    asked: list[list[int]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        self.asked = [*getattr(self, "asked", []), indices]
        return [self.items[index] for index in indices]

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("one by one")


FORMS: dict[str, Any] = {
    "tensors": TensorDataset(X),
    "labelled tensors": TensorDataset(X, LABELS),
    "x": Items(list(X)),
    "x, number": Items([(x, int(label)) for x, label in zip(X, LABELS, strict=True)]),
    "x, tensor": Items([(x, label) for x, label in zip(X, LABELS, strict=True)]),
    "x, dict": Items([(x, {"label": label, "mask": x > 3}) for x, label in zip(X, LABELS, strict=True)]),
    "x, dict of numbers": Items([(x, {"label": int(label)}) for x, label in zip(X, LABELS, strict=True)]),
    "list": Items([[x, label] for x, label in zip(X, LABELS, strict=True)]),
    "batched": Batched([(x, label) for x, label in zip(X, LABELS, strict=True)]),
    "batched x": Batched(list(X)),
}


def streams(step: int = 0, seed: int = 0) -> TrainingStreams:
    return TrainingStreams(seed, step, "cpu")


@pytest.mark.parametrize("form", FORMS)
def test_items_of_every_form(form: str) -> None:
    data = FiniteData(FORMS[form])
    assert data.count == 8
    ids = torch.tensor([5, 0, 5])
    x, condition = data.items(ids)
    assert torch.equal(x, X[ids])
    if form in ("tensors", "x", "batched x"):
        assert condition is None
    elif "dict" in form:
        assert isinstance(condition, dict)
        assert torch.equal(condition["label"], LABELS[ids])
        if form == "x, dict":
            assert torch.equal(condition["mask"], X[ids] > 3)
    else:
        assert isinstance(condition, Tensor)
        assert torch.equal(condition, LABELS[ids])


def test_many_are_fetched_at_once() -> None:
    dataset = Batched(list(X))
    data = FiniteData(dataset)
    data.items(torch.tensor([3, 1]))
    assert dataset.asked == [[0], [3, 1]]


@pytest.mark.parametrize("form", FORMS)
def test_a_draw_is_noised_items(form: str) -> None:
    data = FiniteData(FORMS[form])
    sigma = torch.linspace(0.1, 2, 64)
    drawn = data.draw(sigma, streams())
    assert drawn.ids is not None
    assert drawn.ids.dtype == torch.int64
    assert set(drawn.ids.tolist()) == set(range(8))
    assert torch.equal(drawn.target, X[drawn.ids])
    noise = (drawn.x - drawn.target) / sigma[:, None]
    assert 0.8 < float(noise.std()) < 1.2
    _, condition = data.items(drawn.ids)
    if condition is None:
        assert drawn.condition is None
    elif isinstance(condition, Tensor):
        assert isinstance(drawn.condition, Tensor)
        assert torch.equal(drawn.condition, condition)
    else:
        assert isinstance(drawn.condition, dict)
        for name, part in condition.items():
            assert torch.equal(drawn.condition[name], part)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_draw_depends_on_seed_and_step_alone(seed: int, step: int) -> None:
    data, again = FiniteData(FORMS["x, tensor"]), FiniteData(FORMS["labelled tensors"])
    sigma = torch.full((256,), 0.5)
    torch.manual_seed(step)
    before = torch.random.get_rng_state()
    one = data.draw(sigma, streams(step, seed))
    data.draw(sigma, streams(step + 1, seed))
    two = again.draw(sigma, streams(step, seed))
    assert torch.equal(one.x, two.x)
    assert one.ids is not None
    assert two.ids is not None
    assert torch.equal(one.ids, two.ids)
    assert torch.equal(torch.random.get_rng_state(), before)
    for other in (data.draw(sigma, streams(step + 1, seed)), data.draw(sigma, streams(step, seed + 1))):
        assert other.ids is not None
        assert not torch.equal(other.ids, one.ids)
        assert not torch.equal(other.x - other.target, one.x - one.target)


class NoLength(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(X)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (NoLength(), "NoLength has no length: give a map-style data set, whose items have stable indices"),
        (Items([]), "Items is empty: nothing can be trained on it"),
        (TensorDataset(X[:0]), "TensorDataset is empty: nothing can be trained on it"),
        (TensorDataset(X.long()), "TensorDataset yields samples of type torch.int64: convert them to float32"),
        (Items([(X[0].to(torch.uint8), 1)]), "Items yields samples of type torch.uint8: convert them to float32"),
        (TensorDataset(X, LABELS, LABELS), "TensorDataset yields items that are neither x nor (x, condition)"),
        (Items(["text"]), "Items yields items that are neither x nor (x, condition)"),
        (Items([(X[0], "text")]), "Items yields items that are neither x nor (x, condition)"),
        (Items([(X[0], {"caption": "text"})]), "Items yields items that are neither x nor (x, condition)"),
        (Items([{"x": X[0]}]), "Items yields items that are neither x nor (x, condition)"),
        (Items([(X[0], (1, "text"))]), "Items yields items that are neither x nor (x, condition)"),
        (Items([object()]), "Items yields items that make no batch (default_collate: batch must contain tensors"),
        (Items([None]), "Items yields items that make no batch (default_collate: batch must contain tensors"),
    ],
)
def test_what_cannot_be_trained_on(dataset: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FiniteData(dataset)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_items_of_several_shapes_are_found_when_they_meet() -> None:
    data = FiniteData(Items([torch.zeros(2), torch.zeros(3)]))
    with pytest.raises(ConfigError, match=r"^Items yields items that make no batch \(stack expects each tensor to be"):
        data.items(torch.tensor([0, 1]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_every_kind_of_float(dtype: torch.dtype) -> None:
    data = FiniteData(TensorDataset(X.to(dtype), LABELS > 0))
    assert data.draw(torch.ones(5), streams()).target.dtype == dtype
    assert len(data.fingerprint()) == 64


def test_the_fingerprint_is_of_the_bytes() -> None:
    plain = FiniteData(TensorDataset(X, LABELS)).fingerprint()
    assert len(plain) == 64
    assert FiniteData(FORMS["x, tensor"]).fingerprint() == plain
    assert FiniteData(FORMS["batched"]).fingerprint() == plain
    changed = X.clone()
    changed[7, 2] += 1e-5
    others: dict[str, Dataset[Any]] = {
        "a value": TensorDataset(changed, LABELS),
        "a label": TensorDataset(X, LABELS.flip(0)),
        "the order": TensorDataset(X.flip(0), LABELS.flip(0)),
        "the number": TensorDataset(X[:7], LABELS[:7]),
        "the shape": TensorDataset(X.reshape(8, 3, 1), LABELS),
        "the type": TensorDataset(X.double(), LABELS),
        "no labels": TensorDataset(X),
        "a name": FORMS["x, dict of numbers"],
        "another condition": FORMS["x, dict"],
    }
    prints = {plain, *(FiniteData(dataset).fingerprint() for dataset in others.values())}
    assert len(prints) == 1 + len(others)


def test_the_fingerprint_reads_all_of_it() -> None:
    """Beyond the first chunk, too."""
    one, two = torch.zeros(9, 2), torch.zeros(9, 2)
    two[8] = 1
    first, second = FiniteData(TensorDataset(one)), FiniteData(TensorDataset(two))
    assert first.fingerprint(chunk=4) != second.fingerprint(chunk=4)
    assert first.fingerprint(chunk=4) == FiniteData(TensorDataset(one.clone())).fingerprint(chunk=4)
