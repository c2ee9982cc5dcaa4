"""Conditions: which go through a network as one batch, and what each sample gets of them."""

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug.denoise import (
    Leaf,
    Space,
    as_arguments,
    as_arrays,
    concatenate,
    equal_conditions,
    expand,
    from_arrays,
    from_parts,
    is_condition,
    labels_of,
    mapped,
    mixed_rows,
    on_device,
    parts_of,
    same_names,
    select_rows,
    tally,
)
from guideplug.errors import ConditionError
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    return left is right if left is None else torch.equal(left, right)


def rows_of(condition):
    return range(len(next(iter(condition.values())) if isinstance(condition, dict) else condition))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.sampled_from(CONDITIONS[1:]), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 9))
def test_concatenated_conditions_mean_row_by_row_what_they_meant_alone(kind, batches, seed):
    generator = torch.Generator().manual_seed(seed)
    net = GaussianDenoiser(0.1, conditioning=kind)
    parts = [example_condition(kind, batch, generator) for batch in batches]
    if kind == "masked":  # of unequal length
        parts = [{name: part[:, : 2 + i] for name, part in each.items()} for i, each in enumerate(parts)]
    fits, together = concatenate(parts)
    assert fits
    alone = torch.cat([net.mean_of(part, torch.zeros(batch, 2)) for part, batch in zip(parts, batches, strict=True)])
    torch.testing.assert_close(net.mean_of(together, torch.zeros(sum(batches), 2)), alone)


def test_padding_is_zeros_where_the_mask_is_false():
    short = {"text": torch.ones(1, 2, 3), "text_mask": torch.ones(1, 2, dtype=torch.bool)}
    long = {"text": torch.ones(2, 4, 3), "text_mask": torch.ones(2, 4, dtype=torch.bool)}
    fits, together = concatenate([short, long])
    assert fits
    assert together["text"].shape == (3, 4, 3)
    assert together["text_mask"].tolist() == [[True, True, False, False], [True] * 4, [True] * 4]
    assert together["text"].sum(2).tolist() == [[3, 3, 0, 0], [3] * 4, [3] * 4]


MASK = torch.ones(1, 2, dtype=torch.bool)
UNFIT = {
    "None beside a tensor": [None, torch.zeros(1)],
    "a tensor beside None": [torch.zeros(1), None],
    "a tensor beside a mapping": [torch.zeros(1), {"a": torch.zeros(1)}],
    "a mapping beside None": [{"a": torch.zeros(1)}, None],
    "other shapes": [torch.zeros(1, 2), torch.zeros(1, 3)],
    "other types": [torch.zeros(1), torch.zeros(1, dtype=torch.int64)],
    "other names": [{"a": torch.zeros(1)}, {"b": torch.zeros(1)}],
    "fewer names": [{"a": torch.zeros(1), "b": torch.zeros(1)}, {"a": torch.zeros(1)}],
    "a tensor beside a mapping with an unnamed part": [torch.zeros(1), {"": torch.zeros(1)}],
    "what is no condition": [[0.0], [1.0]],
    "more names": [{"a": torch.zeros(1)}, {"a": torch.zeros(1), "b": torch.zeros(1)}],
    "lengths without a mask": [{"a": torch.zeros(1, 2, 3)}, {"a": torch.zeros(1, 4, 3)}],
    "features beside a mask": [
        {"a": torch.zeros(1, 2, 3), "a_mask": MASK},
        {"a": torch.zeros(1, 2, 4), "a_mask": MASK},
    ],
}


@pytest.mark.parametrize("name", UNFIT)
def test_conditions_that_differ_do_not_concatenate(name):
    assert concatenate(UNFIT[name]) == (False, None)


def test_none_concatenates_with_none():
    assert concatenate([None, None]) == (True, None)
    assert concatenate([{}, {}]) == (True, {})


class Mean(Leaf):
    """A denoiser that adds the mean of whatever tensor it is given."""

    def denoise(self, x, sigma, condition):
        if isinstance(condition, dict):
            condition = condition["a"]
        return x if condition is None else x + condition.flatten(1).mean(1, keepdim=True)


@pytest.mark.parametrize(
    ("conditions", "num_calls"),
    [
        ([torch.ones(1, 2), torch.ones(1, 2)], 1),
        ([torch.ones(1, 2), torch.ones(1, 3)], 2),
        ([torch.ones(1, 2), {"a": torch.ones(1, 2)}], 2),
        ([{"a": torch.ones(1, 2, 3), "a_mask": MASK}, {"a": torch.ones(1, 2, 3), "a_mask": MASK}], 1),
        ([torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 3)], 3),
    ],
)
def test_a_network_is_called_once_where_conditions_fit_else_once_for_each(conditions, num_calls):
    net = Mean(Space((2,)))
    x = torch.zeros(3, 2)
    given, *others = conditions
    guided = net
    for i, other in enumerate(others):
        guided = guided + (i + 1) * (net - net.under(other))
    with tally() as counts:
        value = guided(x, 1.0, given)
    assert (counts[net].calls, counts[net].outputs) == (num_calls, 3 * len(conditions))
    expected = net(x, 1.0, given)
    for i, other in enumerate(others):
        expected = expected + (i + 1) * (net(x, 1.0, given) - net(x, 1.0, other))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_one_row_expands_to_the_batch(kind):
    one = example_condition(kind, 1, torch.Generator().manual_seed(0))
    many = expand(one, 3)
    assert kind == "none" or list(rows_of(many)) == [0, 1, 2]
    for row in range(3):
        assert same(select_rows(many, slice(row, row + 1)), one)
    assert same(expand(many, 3), many)


@pytest.mark.parametrize("kind", CONDITIONS[1:])
def test_any_other_batch_is_refused(kind):
    two = example_condition(kind, 2, torch.Generator().manual_seed(0))
    with pytest.raises(ConditionError, match="batch 2, x has batch 3"):
        expand(two, 3)


def test_each_part_of_a_mapping_expands_by_itself():
    many = expand({"a": torch.zeros(1, 2), "b": torch.zeros(3)}, 3)
    assert (many["a"].shape, many["b"].shape) == ((3, 2), (3,))


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.sampled_from(CONDITIONS), st.lists(st.integers(0, 5), max_size=6), st.lists(st.integers(0, 3), max_size=3))
def test_rows_of_rows_are_rows(kind, outer, inner):
    condition = example_condition(kind, 6, torch.Generator().manual_seed(0))
    inner = [i for i in inner if i < len(outer)]
    first = torch.tensor(outer, dtype=torch.int64)
    second = torch.tensor(inner, dtype=torch.int64)
    assert same(select_rows(select_rows(condition, first), second), select_rows(condition, first[second]))


@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_mask_of_rows_is_their_indices(kind):
    condition = example_condition(kind, 4, torch.Generator().manual_seed(0))
    mask = torch.tensor([True, False, False, True])
    assert same(select_rows(condition, mask), select_rows(condition, torch.tensor([0, 3])))
    assert same(select_rows(condition, slice(None)), condition)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_every_part_moves_to_a_device(kind):
    moved = on_device(example_condition(kind, 2, torch.Generator().manual_seed(0)), torch.device("meta"))
    parts = moved.values() if isinstance(moved, dict) else [] if moved is None else [moved]
    assert all(part.device.type == "meta" for part in parts)


KINDS = {
    "none": None,
    "labels": torch.tensor([3, 1, 2]),
    "embeddings": torch.arange(6.0).reshape(3, 2),
    "one part": {"text": torch.arange(3.0)},
    "parts": {"text": torch.arange(12.0).reshape(3, 2, 2), "text_mask": torch.ones(3, 2, dtype=torch.bool)},
}
every_kind = pytest.mark.parametrize("condition", KINDS.values(), ids=KINDS)


@every_kind
def test_a_condition_is_its_parts_and_its_arrays(condition):
    assert is_condition(condition)
    assert same(from_parts(parts_of(condition)), condition)
    arrays = as_arrays(condition)
    assert all(name == "condition" or name.startswith("condition.") for name in arrays)
    assert same(
        from_arrays({**arrays, "samples": torch.zeros(3).numpy(), "conditional": torch.ones(1).numpy()}), condition
    )


@every_kind
def test_a_function_takes_a_tensor_by_place_and_parts_by_name(condition):
    def function(*places, **names):
        return names or (places[0] if places else None)

    positional, named = as_arguments(condition)
    assert same(function(*positional, **named), condition)


@every_kind
def test_mapped_changes_each_tensor_in_its_place(condition):
    assert same(mapped(condition, lambda part: part), condition)
    doubled = mapped(condition, lambda part: torch.cat([part, part]))
    assert same(doubled, concatenate([condition, condition])[1])


def test_labels_are_one_tensor_of_whole_numbers():
    assert [name for name, condition in KINDS.items() if labels_of(condition) is not None] == ["labels"]
    assert labels_of(KINDS["labels"]) is KINDS["labels"]
    assert labels_of(torch.zeros(3)) is labels_of(torch.zeros(3, 1, dtype=torch.int64)) is None


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("name", KINDS)
def test_conditions_are_equal_to_their_copies_alone(name, other):
    copy = mapped(KINDS[other], torch.clone)
    assert equal_conditions(KINDS[name], copy) == (name == other)
    assert not same_names(KINDS[name], copy) or name == other or {name, other} == {"labels", "embeddings"}


@every_kind
def test_conditions_that_differ_in_a_row_or_a_type_are_not_equal(condition):
    if condition is None:
        return
    assert not equal_conditions(
        condition, mapped(condition, lambda part: part.flip(0) if part.ndim == 1 else ~part.bool())
    )
    assert not equal_conditions(condition, mapped(condition, torch.Tensor.double))
    assert not equal_conditions(condition, mapped(condition, lambda part: part[:2]))


@every_kind
def test_mixed_rows_come_from_the_one_or_the_other(condition):
    rows = torch.tensor([True, False, True])
    other = mapped(condition, torch.zeros_like)
    mixed = mixed_rows(rows, condition, other)
    assert same(select_rows(mixed, rows), select_rows(condition, rows))
    assert same(select_rows(mixed, ~rows), select_rows(other, ~rows))


@pytest.mark.parametrize("value", [3, "text", [torch.zeros(1)], {"a": 1}, {"a": torch.zeros(1), "b": None}])
def test_what_is_no_condition(value):
    assert not is_condition(value)


def test_which_kind_a_condition_is_is_decided_in_one_file():
    package = Path(__file__).parents[2] / "guideplug"
    decided = re.compile(r"isinstance\([\w.]*condition[\w.]*, [^)]*(Mapping|dict)")
    files = [path.relative_to(package).as_posix() for path in package.rglob("*.py") if decided.search(path.read_text())]
    assert files == ["denoise/condition.py"]
