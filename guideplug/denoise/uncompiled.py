"""Guided denoisers are not compiled: their networks are.

What a guider calls depends on the level, as weights and gates do, so that a compiled formula would be traced anew at
levels where another network is asked. The formula costs next to nothing; the networks in it are what pays to compile.
"""

import torch

from guideplug.errors import DenoiserError

__all__ = ["refuse_compiler"]

ADVICE = (
    "a guided denoiser was compiled, of which only the networks can be: write torch.compile(network) where it is "
    "wrapped, and guide that (docs/adapters.md#torchcompile)"
)


@torch.compiler.disable(reason=ADVICE)  # type: ignore[no-untyped-call, untyped-decorator]
def refuse_compiler() -> None:
    """Refuse to be called from code that a compiler traces; it asks ``torch.compiler.is_compiling()`` before.

    Raises:
        DenoiserError: always.
    """
    raise DenoiserError(ADVICE)
