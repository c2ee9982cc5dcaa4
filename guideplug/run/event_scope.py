"""The listeners of a comparison or a study, open from its beginning to its end."""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from guideplug.executors.interrupt import Interrupted
from guideplug.observe import Listener, Observer, Observers, RunInfo

__all__ = ["event_scope"]


@contextmanager
def event_scope(
    listeners: Iterable[Listener], observers: Iterable[Observer], observed: RunInfo, plan: Mapping[str, Any]
) -> Iterator[Observers]:
    """Listeners, the event log first: ``run`` with a plan, the events of the block, ``end`` with the status."""
    tell = Observers(listeners)
    tell.open(observers, observed)
    where = {"process": os.getpid(), "host": platform.node()}
    tell("run", folder=str(observed.folder), kind=observed.kind, resumed=observed.resumed, **plan, **where)
    status, failed = "failed", None
    try:
        yield tell
        status = "finished"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    except Exception as error:
        failed = " ".join(f"{error}".split()) or type(error).__name__
        raise
    finally:
        tell("end", status=status, error=failed)
        tell.close()
