"""Libraries that a strategy imports when it is used, and that are an extra of its distribution."""

import importlib.util
from collections.abc import Iterator, Mapping

__all__ = ["missing_libraries"]


def missing_libraries(libraries: Mapping[str, str]) -> Iterator[str]:
    """A line per library that is not installed, with how to install it.

    Args:
        libraries: the requirement by import name, as in ``{"wandb": "guideplug-wandb[wandb]"}``.
    """
    for library, requirement in libraries.items():
        if importlib.util.find_spec(library) is None:
            yield f"needs {library}: pip install '{requirement}'"
