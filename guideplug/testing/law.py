"""A law: a name, a fix, and a test that raises if it is violated.

A check such as `guideplug.testing.check_guider` raises for the first violated law. ``guideplug plugins check`` tries
each law separately and prints the findings.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import attrs

from guideplug.errors import Interrupted

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
        reason: None if it holds; else the violation, which may be empty.
        fix: advice if it does not hold.
    """

    law: str
    reason: str | None = None
    fix: str = ""

    @property
    def holds(self) -> bool:
        """Whether the law holds."""
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
        """The names of the laws."""
        return [law.name for law in self._laws]

    def add(
        self, name: str, fix: str, *, where: Callable[[Subject], bool] = lambda subject: True, premise: bool = False
    ) -> Callable[[Test], Test]:
        """Decorate the test of a law, a function of the subject.

        Args:
            name: the law in words.
            fix: advice if it does not hold.
            where: the subjects that it concerns.
            premise: whether later laws are skipped if it does not hold.
        """

        def decorate(test: Test) -> Test:
            self._laws.append(_Law(name, fix, test, where, premise))
            return test

        return decorate

    def check(self, subject: Subject) -> None:
        """Raise `AssertionError` naming the first violated law; other exceptions of a test pass unchanged."""
        for law in self._laws:
            try:
                if law.concerns(subject):
                    law.test(subject)
            except AssertionError as error:
                reason = f" ({error})" if str(error) else ""
                raise AssertionError(f"this does not hold: {law.name}{reason}") from error

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """A finding per law; any exception counts as a violation."""
        for law in self._laws:
            try:
                if not law.concerns(subject):
                    continue
                law.test(subject)
            except (Interrupted, KeyboardInterrupt):
                raise
            except BaseException as error:  # a plugin may raise anything, SystemExit included
                yield Finding(law.name, reason_of(error), law.fix)
                if law.premise:
                    return
            else:
                yield Finding(law.name)


def reason_of(error: BaseException) -> str:
    """One line: the exception, and its file and line outside of this package, if any."""
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
