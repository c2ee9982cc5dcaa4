"""Conditions: which go through a network as one batch, and what each sample gets of them."""

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug.denoise import (
    as_arguments,
    concatenate,
    equal_conditions,
    expand,
    in_type,
    is_condition,
    labels_of,
    mapped,
    mixed_rows,
    on_device,
    parts_of,
    same_form,
    select_rows,
    with_parts,
)
from guideplug.errors import ConditionError
from guideplug.testing import CONDITIONS, example_condition


def same(left, right):
    theirs = parts_of(right)
    return same_form(left, right) and all(torch.equal(part, theirs[name]) for name, part in parts_of(left).items())


def rows_of(condition):
    return range(len(next(iter(condition.values())) if isinstance(condition, dict) else condition))


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
    "nested": {"text": torch.arange(3.0), "added": {"size": torch.arange(3), "image": None}},
    "a list": [torch.arange(3), {"text": torch.arange(3.0)}, None],
}
every_kind = pytest.mark.parametrize("condition", KINDS.values(), ids=KINDS)


@every_kind
def test_a_condition_is_its_form_and_its_parts(condition):
    assert is_condition(condition)
    assert same(with_parts(condition, parts_of(condition)), condition)


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
    assert not same_form(KINDS[name], copy) or name == other or {name, other} == {"labels", "embeddings"}


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


@pytest.mark.parametrize("value", [3, "text", ["text"], {"a": 1}, {"a": {"b": 1.0}}, {0: torch.zeros(1)}, [[3]]])
def test_what_is_no_condition(value):
    assert not is_condition(value)


REFUSED = [
    ({"a": {"b": 3.0}}, "condition 'a.b' is 3.0: give a tensor, batch first, as in torch.tensor([3, 7]), or a dict or "
     "list of such tensors"),
    (["a photo"], "condition '[0]' is a str: give a tensor, batch first"),
    ([torch.zeros(())], "condition '[0]' has no batch axis: give a tensor of shape (B, ...), not a scalar"),
    ({"a": [torch.zeros(2, 4)]}, "condition 'a[0]' has batch 2, x has batch 3: give one row per sample, or a single "
     "row; a list holds parts, not samples: pad its tensors to one, with a mask"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "message"), REFUSED)
def test_a_refused_part_is_named_by_its_place(condition, message):
    with pytest.raises(ConditionError) as caught:
        expand(condition, 3)
    assert str(caught.value).startswith(message)


def test_floating_point_parts_take_a_type_and_others_stay():
    condition = {"text": torch.zeros(1, 2), "more": [torch.zeros(1, dtype=torch.int64), torch.zeros(1).bool(), None]}
    changed = in_type(condition, torch.bfloat16)
    assert [part.dtype for part in parts_of(changed).values()] == [torch.bfloat16, torch.int64, torch.bool]
    assert same_form(changed, condition)


def test_a_tuple_stays_one():
    one, two = mapped((torch.zeros(1), None), lambda part: part + 1)
    assert (one.item(), two) == (1.0, None)
    assert same_form((None,), [None])


def test_which_kind_a_condition_is_is_decided_in_its_own_files():
    package = Path(__file__).parents[2] / "guideplug"
    decided = re.compile(r"isinstance\([\w.]*condition[\w.]*, [^)]*(Mapping|dict)")
    files = [path.relative_to(package).as_posix() for path in package.rglob("*.py") if decided.search(path.read_text())]
    assert sorted(files) == [f"denoise/{name}.py" for name in ("condition", "condition_batch", "condition_file")]
