"""Inputs that code of others may read and not write: a check without reading a value.

Every write in place raises a tensor's version counter, on any device; writes through ``.data`` and NumPy do not, and
are looked for on a few rows before a run (`guideplug.run.tried`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

__all__ = ["unwritten"]


@contextmanager
def unwritten(refusal: Callable[[str], Exception], **inputs: Tensor) -> Iterator[None]:
    """A block in which the inputs stay as they are.

    Args:
        refusal: the error of what broke the contract that it is given in words.
        inputs: tensors by name; those of inference mode, which have no version, are not looked at.

    Raises:
        Exception: the refusal, where an input was written into.
    """
    before = {name: tensor._version for name, tensor in inputs.items() if not tensor.is_inference()}
    yield
    for name, version in before.items():
        if inputs[name]._version != version:
            raise refusal(f"changed {name} in place: compute out of place, x * 2 and not x.mul_(2) or x *= 2")
