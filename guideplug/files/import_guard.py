"""The import of a plugin changes nothing for others: what it changes in this process is put back.

A plugin that patches torch, seeds a generator or changes the current folder would decide what the networks of others
compute, or where files go, though nothing of it is used. So what it changed is put back, and where that decides, the
plugin is refused. What libraries may change when they are imported, such as filters of warnings, is put back alone.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from guideplug.errors import PluginError
from guideplug.files.module_names import ModuleNames
from guideplug.files.process_state import ABSENT, SETTINGS

__all__ = ["ImportGuard"]

MOST = 3
"""Most names in a message."""

_refused: dict[str, str] = {}
"""The reasons by module: a second import is none, and would change nothing."""


class ImportGuard:
    """Compares the process before and after each of several imports."""

    def __init__(self) -> None:
        self._names = ModuleNames()
        self._values = [setting.value() for setting in SETTINGS]

    @contextlib.contextmanager
    def watch(self, module: str = "", *, names: bool = True) -> Iterator[None]:
        """Put back what the block changes in this process.

        Args:
            module: the module that is imported, of which Python keeps the first import.
            names: whether names in modules are compared as well, and not later by `put_back_names`.

        Raises:
            PluginError: the block changed what decides for others, or did so the first time.
        """
        if module in _refused:
            raise PluginError(_refused[module])
        deciding: list[str] = []
        try:
            yield
        finally:
            deciding += self.put_back_names() if names else []
            deciding += self._put_back_settings()
        if deciding:
            more = f" and {len(deciding) - MOST} more" if len(deciding) > MOST else ""
            reason = (
                f"its import changes {', '.join(deciding[:MOST])}{more}, which decides what other code does: do that "
                "inside of what you offer, and put it back there"
            )
            if module:
                _refused[module] = reason
            raise PluginError(reason)

    def put_back_names(self) -> list[str]:
        """Put back what names in modules stood for; the names that had changed."""
        changed = list(self._names.changed())
        _restore(restore for _, restore in changed)
        self._names.settle()
        self._names.note()
        return [name for name, _ in changed]

    def _put_back_settings(self) -> list[str]:
        """Put back settings of the process; those that had changed, and decide."""
        values = [setting.value() for setting in SETTINGS]
        changed = [
            (setting, before, now)
            for setting, before, now in zip(SETTINGS, self._values, values, strict=True)
            if before is not ABSENT and now is not ABSENT and now != before
        ]
        _restore(partial(setting.write, before) for setting, before, _ in changed)
        self._values = [setting.value() for setting in SETTINGS] if changed else values
        return [setting.name for setting, before, now in changed if setting.decides(before, now)]


def _restore(restores: Iterable[Callable[[], object]]) -> None:
    for restore in restores:
        with contextlib.suppress(Exception):  # such as a number of threads that can be set only once
            restore()
