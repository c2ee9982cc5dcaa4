"""Conditions as arrays in files."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nested_conditions import FORMS, drawn

from guideplug.denoise import as_arrays, equal_conditions, from_arrays, is_part, parts_of


@settings(deadline=None, derandomize=True, max_examples=100)
@given(FORMS, st.integers(0, 99))
def test_arrays_are_the_condition(form, seed):
    condition = drawn(form, 2, torch.Generator().manual_seed(seed))
    arrays = as_arrays(condition)
    assert all(map(is_part, arrays))
    assert len({*map(len, arrays.values())} | {2 if parts_of(condition) else 0}) == 1
    others = {"samples": np.zeros(3), "conditional": np.ones(1), "start": np.ones(1)}
    assert equal_conditions(from_arrays({**arrays, **others}), condition)


def test_the_names_of_flat_conditions():
    assert list(as_arrays(torch.zeros(2))) == ["condition"]
    assert list(as_arrays({"text": torch.zeros(2), "text_mask": torch.zeros(2)})) == [
        "condition.text",
        "condition.text_mask",
    ]
    nested = {"added": {"size": torch.zeros(2), "images": [torch.zeros(2), None]}}
    assert list(as_arrays(nested)) == [
        "condition.added.size",
        "condition.added.images[0]",
        "condition.added.images[1]:none",
    ]


def test_types_that_numpy_lacks_are_written_as_float32():
    text = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    assert torch.equal(from_arrays(as_arrays({"text": text}))["text"], text.float())


@pytest.mark.parametrize("name", ["condition.text", "condition[0]"])
@pytest.mark.parametrize("first", [False, True])
def test_a_part_beside_its_whole_is_refused(name, first):
    names = ["condition", name][:: -1 if first else 1]
    with pytest.raises(ValueError, match="is an array beside arrays of parts of it"):
        from_arrays({each: np.zeros(2) for each in names})
