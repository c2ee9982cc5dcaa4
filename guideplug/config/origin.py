"""Where a strategy comes from, and the errors that name it: one constructor for broken contracts.

A class belongs to the distribution whose entry point leads to its module, or to a local file. Read from the module
alone, so that it is known without a registry, also of helper classes that are not offered.
"""

import contextlib
import errno
import functools
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import attrs

from guideplug.config.strategy import Strategy
from guideplug.config.walk import walk
from guideplug.errors import ConfigError, ContractError, GuideplugError, Interrupted, lacks_memory

__all__ = ["breach", "described", "named", "origin_of", "plugin_errors", "refused_beforehand"]

GROUP = "guideplug"
"""The entry-point group of plugins, as in `guideplug.registry.names`, which imports nothing."""
LOCAL = "guideplug_local_"
"""Prefix of the modules of local plugin files."""
CORE = "guideplug"
REFUSED = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP,
    errno.ENAMETOOLONG,
}  # fmt: skip
"""Error numbers of the machine, which are no fault of a plugin."""


def breach(strategy: Strategy, contract: str) -> ContractError:
    """The error of a strategy that breaks its contract: it names the strategy, its distribution and the contract.

    Args:
        strategy: the strategy.
        contract: what it did, and what to do instead, as in "returned None for the levels: return floats that fall".
    """
    return ContractError(f"{named(strategy)} {contract}")


def named(strategy: Strategy) -> str:
    """The strategy in messages: kind, name, and the distribution or file that it comes from."""
    return f"{strategy.kind} {strategy.name!r} of {origin_of(type(strategy).__module__)}"


def origin_of(module: str) -> str:
    """The distribution of a module with its version, or the local file."""
    root = module.partition(".")[0]
    if root == CORE:
        return f"guideplug {_version(CORE)}"
    with contextlib.suppress(LookupError):
        return _distribution(root, tuple(sys.path))
    file = getattr(sys.modules.get(module), "__file__", None)
    return f"the local file {file}" if file else f"the module {module}"


@functools.lru_cache(maxsize=256)
def _distribution(root: str, path: tuple[str, ...]) -> str:
    """The distribution whose entry point leads to a top-level module, with its version; reading all takes 20 ms.

    Args:
        root: the module.
        path: where distributions are searched: the key of what is remembered.

    Raises:
        LookupError: there is none, which is not remembered: it may be installed later.
    """
    if not root.startswith(LOCAL):
        for point in importlib.metadata.entry_points(group=GROUP):
            if point.module.partition(".")[0] == root and point.dist is not None:
                return f"{point.dist.name} {point.dist.version}"
    raise LookupError(root)


def described(value: object) -> str:
    """A value that is no answer, in words: None, a number, or its type."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**9):
        return repr(value)
    kind = type(value)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"a {kind.__name__} of shape {tuple(shape)} and type {str(dtype).removeprefix('torch.')}"
    article = "an" if kind.__name__[0] in "aeiouAEIOU" else "a"
    return f"{article} {kind.__name__}"


@contextmanager
def plugin_errors() -> Iterator[None]:
    """A block in which whatever the code of a plugin raises becomes one line that names it; ``__cause__`` is kept.

    Errors that users can fix pass, and so do errors of the machine, interrupts, and bugs outside of plugins.

    Raises:
        ContractError: the plugin, what it raised, and in which line.
    """
    try:
        yield
    except (GuideplugError, Interrupted, KeyboardInterrupt):
        raise
    except BaseException as error:
        if lacks_memory(error) or (isinstance(error, OSError) and error.errno in REFUSED):
            raise
        frames = _frames(error)
        places = [place for place, (frame, _) in enumerate(frames) if _of_plugin(frame)]
        if not places:
            raise
        frame, line = frames[places[-1]]
        message = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
        where = f"in {Path(frame.f_code.co_filename).name}, line {line}"
        raise ContractError(f"{_blamed(frames[: places[-1] + 1])} raised {message}, {where}") from error


@contextmanager
def refused_beforehand() -> Iterator[None]:
    """`plugin_errors` before any work: a broken contract is then an error of the configuration.

    Raises:
        ConfigError: the plugin, and what it raised or broke.
    """
    try:
        with plugin_errors():
            yield
    except ContractError as error:
        raise ConfigError(str(error)) from error


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """The frames of an exception with their lines, outermost first."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return frames


def _of_plugin(frame: FrameType) -> bool:
    """Whether a frame is of a plugin's own code."""
    module = str(frame.f_globals.get("__name__", ""))
    root = module.partition(".")[0]
    if module.startswith(LOCAL):
        return True
    if root == CORE:
        return False
    try:
        return bool(_distribution(root, tuple(sys.path)))
    except LookupError:
        return False


def _blamed(frames: list[tuple[FrameType, int]]) -> str:
    """The strategy whose code is the last frame: the nearest one of its module that is at work in the frames."""
    module = str(frames[-1][0].f_globals["__name__"])
    root = module.partition(".")[0]
    for frame, _ in reversed(frames):
        for strategy in _strategies(frame):
            if type(strategy).__module__.partition(".")[0] == root:
                return named(strategy)
    return f"the plugin of {origin_of(module)}"


def _strategies(frame: FrameType) -> Iterator[Strategy]:
    """The strategies that a frame's variables hold, ``self`` first; a network stands for the strategy that built it."""
    variables: list[Any] = [frame.f_locals.get("self"), *frame.f_locals.values()]
    for value in variables:
        built_by = getattr(value, "built_by", None) if not isinstance(value, type | ModuleType) else None
        if isinstance(built_by, Strategy):
            yield built_by
        if isinstance(value, Strategy) or (attrs.has(type(value)) and not isinstance(value, type)):
            yield from walk(value, Strategy)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
