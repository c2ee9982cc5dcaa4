"""Random nests of conditions, and a network that reads all of them."""

import torch
from hypothesis import strategies as st

from guideplug.denoise import Leaf, Space, parts_of, per_row

TENSORS = st.tuples(
    st.sampled_from([(), (2,), (3, 2), (4, 1)]), st.sampled_from([torch.float32, torch.int64, torch.bool])
)
NAMES = st.sampled_from(["text", "size", "a.b", "c[0]", "d:none", "e%"])


def _nested(parts):
    return st.one_of(st.lists(parts, min_size=1, max_size=3), st.dictionaries(NAMES, parts, min_size=1, max_size=3))


FORMS = st.recursive(st.one_of(st.none(), TENSORS), _nested, max_leaves=6)
"""The form of a condition: a shape and type per tensor, None, and dicts and lists of these."""


def drawn(form, batch, generator):
    """A condition of a form, with random values."""
    if isinstance(form, dict):
        return {name: drawn(part, batch, generator) for name, part in form.items()}
    if isinstance(form, list):
        return [drawn(part, batch, generator) for part in form]
    if form is None:
        return None
    shape, dtype = form
    return torch.randint(0, 5, (batch, *shape), generator=generator).to(dtype)


class Reading(Leaf):
    """A denoiser that adds a number per sample, which depends on every part of the condition and on its place."""

    def __init__(self):
        super().__init__(Space((2,)))

    def denoise(self, x, sigma, condition):
        total = torch.zeros(len(x), dtype=x.dtype)
        for place, part in enumerate(parts_of(condition).values()):
            total = total + (place + 1) * part.to(x.dtype).reshape(len(x), -1).sum(1)
        return x + 0.1 * per_row(total, x)
