"""One experiment from configuration to report; the package itself does one where it is called.

    result = guideplug.run("autoguidance", task="digits")

That is `guideplug.run.call.run`, which has the arguments. The modules are imported as those of any other package.
"""

import inspect
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package: one name for modules, ``guideplug.run.resolve``, and for a call, ``guideplug.run(...)``."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Do a whole run: `guideplug.run.call.run`."""
        from guideplug.run.call import run

        return run(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        from guideplug.run.call import run

        return inspect.signature(run)


sys.modules[__name__].__class__ = _Callable
