"""Conditions that are dropped in training."""

from typing import Any, cast

import pytest
import torch

from guideplug.errors import ConditionError
from guideplug.train.dropping import dropped


def test_dropped_sequences_are_padded_where_a_mask_marks_them() -> None:
    text = {"text": torch.ones(3, 4, 2), "text_mask": torch.ones(3, 4, dtype=torch.bool)}
    null = {"text": torch.full((3, 1, 2), 5.0), "text_mask": torch.ones(3, 1, dtype=torch.bool)}
    mixed = cast(Any, dropped(text, null, torch.tensor([False, True, False])))
    assert mixed["text"][:, :, 0].tolist() == [[1, 1, 1, 1], [5, 0, 0, 0], [1, 1, 1, 1]]
    assert mixed["text_mask"].tolist() == [[True] * 4, [True, False, False, False], [True] * 4]


@pytest.mark.parametrize(
    ("null", "reason"),
    [
        (torch.zeros(3, 2), r"the condition is of shapes \(B, 4, 2\) and \(B, 2\)"),
        (torch.zeros(3, 2, 2), "the condition is of lengths 4 and 2, and has no mask"),
        (None, "the condition is a tensor and none"),
    ],
)
def test_a_null_condition_of_another_kind_is_refused(null: Any, reason: str) -> None:
    with pytest.raises(ConditionError, match=rf"condition_dropout: .* \({reason}\); set it to 0"):
        dropped(torch.ones(3, 4, 2), null, torch.tensor([False, True, False]))
