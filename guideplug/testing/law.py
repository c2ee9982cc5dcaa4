"""A law: a name, what to do about it, and a test that raises where it does not hold.

A check of one line, such as `guideplug.testing.check_guider`, raises for the first law that does not hold.
``guideplug plugins check`` tries each by itself and prints what it found.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import attrs

__all__ = ["Finding", "Laws", "must"]

Subject = TypeVar("Subject")
Test = TypeVar("Test", bound=Callable[..., None])


def must(condition: bool, reason: str = "") -> None:
    """Raise `AssertionError` with the reason unless the condition holds."""
    if not condition:
        raise AssertionError(reason)


@attrs.frozen
class Finding:
    """Whether a law holds.

    Args:
        law: its name.
        reason: None where it holds; else what was found instead, which may be empty.
        fix: what to do where it does not.
    """

    law: str
    reason: str | None = None
    fix: str = ""

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.reason is None


@attrs.frozen
class _Law(Generic[Subject]):
    name: str
    fix: str
    test: Callable[[Subject], None]
    concerns: Callable[[Subject], bool]
    premise: bool


class Laws(Generic[Subject]):
    """The laws of a kind, in the order in which they are tried."""

    def __init__(self) -> None:
        self._laws: list[_Law[Subject]] = []

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return [law.name for law in self._laws]

    def add(
        self, name: str, fix: str, *, where: Callable[[Subject], bool] = lambda subject: True, premise: bool = False
    ) -> Callable[[Test], Test]:
        """Decorates the test of a law, a function of the subject.

        Args:
            name: the law in words.
            fix: what to do where it does not hold.
            where: which subjects it concerns.
            premise: whether the laws after it mean nothing where it does not hold.
        """

        def decorate(test: Test) -> Test:
            self._laws.append(_Law(name, fix, test, where, premise))
            return test

        return decorate

    def check(self, subject: Subject) -> None:
        """Raise `AssertionError` naming the first law that does not hold; what a test raises itself is left alone."""
        for law in self._laws:
            try:
                if law.concerns(subject):
                    law.test(subject)
            except AssertionError as error:
                reason = f" ({error})" if str(error) else ""
                raise AssertionError(f"this does not hold: {law.name}{reason}") from error

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """What holds and what does not, law by law; whatever is raised is a law that does not hold."""
        for law in self._laws:
            try:
                if not law.concerns(subject):
                    continue
                law.test(subject)
            except Exception as error:  # a plugin may raise anything
                yield Finding(law.name, reason_of(error), law.fix)
                if law.premise:
                    return
            else:
                yield Finding(law.name)


def reason_of(error: Exception) -> str:
    """One line: what was raised, and in which line of which file outside of this package, if in any."""
    text = " ".join(str(error).split())
    if isinstance(error, AssertionError):
        return text
    trace, where = error.__traceback__, ""
    own = str(Path(__file__).parents[1])
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((own, "<")) and "site-packages" not in file:
            where = f", in {Path(file).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"
