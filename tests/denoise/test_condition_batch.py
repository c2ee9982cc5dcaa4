"""Conditions as one batch: which go through a network together, padded where masks mark what is valid."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nested_conditions import FORMS, Reading, drawn

from guideplug.denoise import Leaf, Space, concatenate, mapped, parts_of, select_rows, tally, why_apart
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition


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


@settings(deadline=None, derandomize=True, max_examples=60)
@given(FORMS, st.lists(FORMS, max_size=2), st.integers(1, 3), st.integers(0, 99))
def test_one_pass_with_nested_conditions_is_each_asked_alone(form, other_forms, batch, seed):
    generator, net = torch.Generator().manual_seed(seed), Reading()
    x, given = torch.randn(batch, 2, generator=generator), drawn(form, batch, generator)
    fixed = [drawn(other, 1, generator) for other in [form, *other_forms]]
    guided = net
    for weight, other in enumerate(fixed, 1):
        guided = guided + weight * (net - net.under(other))
    with tally() as counts:
        denoised = guided(x, 1.0, given)
    expected = net(x, 1.0, given)
    for weight, other in enumerate(fixed, 1):
        expected = expected + weight * (net(x, 1.0, given) - net(x, 1.0, other))
    torch.testing.assert_close(denoised, expected, rtol=1e-4, atol=1e-3)
    alike = all(concatenate([given, other])[0] for other in fixed)
    assert counts[net].calls == 1 if alike else counts[net].calls > 1


@settings(deadline=None, derandomize=True, max_examples=60)
@given(FORMS, st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 99))
def test_rows_of_a_batch_are_those_of_the_conditions_in_it(form, batches, seed):
    generator = torch.Generator().manual_seed(seed)
    conditions = [drawn(form, batch, generator) for batch in batches]
    fits, together = concatenate(conditions)
    assert fits
    assert why_apart(conditions) == ""
    begin = 0
    for batch, condition in zip(batches, conditions, strict=True):
        ours = parts_of(select_rows(together, slice(begin, begin := begin + batch)))
        theirs = parts_of(condition)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


DECLARED = {"states": "valid"}


def states(*lengths, longest=None, mask=None):
    """A row of ones per length, padded with noise to the longest, and maybe a mask of a type."""
    longest = longest or max(lengths)
    valid = torch.arange(longest) < torch.tensor(lengths)[:, None]
    condition = {"states": torch.where(valid[..., None], 1.0, 7.0).expand(-1, -1, 3)}
    return condition if mask is None else {**condition, "valid": valid.to(mask)}


class Masked(Leaf):
    """A denoiser that adds the number of valid tokens per sample."""

    masks = DECLARED

    def denoise(self, x, sigma, condition):
        mask = condition.get("valid")
        tokens = condition["states"] if mask is None else condition["states"] * mask[..., None].to(x.dtype)
        return x + tokens.sum((1, 2))[:, None]


@pytest.mark.parametrize(
    ("conditions", "mask"),
    [
        ([states(2), states(4)], [[1, 1, 0, 0], [1, 1, 1, 1]]),
        ([states(2, 1, mask=torch.int64), states(3, mask=torch.int64)], [[1, 1, 0], [1, 0, 0], [1, 1, 1]]),
        ([states(2, 1, mask=torch.bool), states(3)], [[1, 1, 0], [1, 0, 0], [1, 1, 1]]),
        ([states(2), {**states(2), "valid": None}, states(1, longest=2, mask=torch.float32)], [[1, 1], [1, 1], [1, 0]]),
        ([states(2), states(2)], None),
    ],
    ids=["no masks", "masks of both", "a mask of one", "None for a mask", "equal lengths need none"],
)
def test_a_declared_mask_pads_sequences(conditions, mask):
    fits, together = concatenate(conditions, DECLARED)
    assert fits
    assert ("valid" in together) == (mask is not None)
    if mask is not None:
        assert together["valid"].tolist() == mask
    net = Masked(Space((2,)))
    whole = net(torch.zeros(sum(len(each["states"]) for each in conditions), 2), 1.0, together)
    alone = [net(torch.zeros(len(each["states"]), 2), 1.0, each) for each in conditions]
    assert torch.equal(whole, torch.cat(alone))


def test_a_network_that_declares_its_masks_is_called_once():
    net, x = Masked(Space((2,))), torch.zeros(2, 2)
    with tally() as counts:
        value = (net + 2.0 * (net - net.under(states(3))))(x, 1.0, states(5, 2, mask=torch.bool))
    assert counts[net].calls == 1
    assert value[:, 0].tolist() == [3 * 15 - 2 * 9, 3 * 6 - 2 * 9]


def test_masks_are_filled_inside_of_nested_conditions():
    nested = [{"more": [states(2)]}, {"more": [states(3)]}]
    assert concatenate(nested, DECLARED)[1]["more"][0]["valid"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert concatenate(nested) == (False, None)


APART = {
    "text is of lengths 2 and 4, and has no mask": [{"text": torch.zeros(1, 2, 3)}, {"text": torch.zeros(1, 4, 3)}],
    "the condition is of shapes (B, 2) and (B, 3, 3)": [torch.zeros(1, 2), torch.zeros(1, 3, 3)],
    "more.size is float32 on cpu and int64 on cpu": [
        {"more": {"size": torch.zeros(1)}},
        {"more": {"size": torch.zeros(1, dtype=torch.int64)}},
    ],
    "image is none and a tensor": [{"image": None}, {"image": torch.zeros(1)}],
    "image is a list and a dict": [{"image": [None]}, {"image": {}}],
    "more[0].size is in one and not in another": [
        {"more": [{"size": torch.zeros(1)}]},
        {"more": [{}]},
    ],
    "more has 2 and 1 parts": [{"more": [None, None]}, {"more": [None]}],
}


@pytest.mark.parametrize("reason", APART)
def test_why_conditions_form_no_batch(reason):
    assert concatenate(APART[reason]) == (False, None)
    assert why_apart(APART[reason]) == reason


def test_a_batch_of_conditions_is_none_of_their_tensors():
    one = {"text": torch.zeros(1, 2), "image": None}
    together = concatenate([one, mapped(one, torch.clone)])[1]
    assert together["image"] is None
    together["text"].fill_(1)
    assert not one["text"].any()
