"""Functions of the user's own code, called so that their mistakes are one line each."""

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from guideplug import DenoiserError, GuideplugError, PythonRef

__all__ = ["OwnFunction", "loaded"]


@frozen
class OwnFunction:
    """A function loaded by its name; functions of equal names are equal."""

    place: str
    who: str
    function: Callable[..., Any] = field(eq=False, repr=False)

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns.

        Raises:
            DenoiserError: it raises.
        """
        try:
            return self.function(*arguments)
        except GuideplugError:
            raise
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise DenoiserError(
                f"{self.who} {self.place} raised {said}, for samples of shape {tuple(arguments[0].shape)}"
            ) from error

    @property
    def short(self) -> str:
        """The function's name alone."""
        return self.place.rpartition(":")[2]


def loaded(place: str, who: str) -> OwnFunction:
    """The function that ``module:function`` or ``FILE.py:function`` names; ``who`` begins messages about it.

    Raises:
        RecipeError: it cannot be imported, or is no function.
    """
    return OwnFunction(place, who, PythonRef(place, f"{who} {place}").load())
