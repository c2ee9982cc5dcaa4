"""Where tiny commands are born: a process that has imported everything, and forks a child for each that is asked for.

It reads requests and writes answers, a line of JSON each:

    {"start": [ARGUMENT, ...], "cwd": FOLDER, "environment": {...}, "output": FILE, ...}  ->  {"pid": N}
    {"wait": N, "seconds": S}                                                            ->  {"code": N or null}

A child may be told to kill itself at its n-th point. Points are just before and after whatever it writes, renames,
removes, tells, trains or draws, so that they lie in every phase of a run, the moments between two renames included:

    "trace": FILE   the name of each point is written there, a line each
    "die": N        SIGKILL at the N-th; the half of a line is written first where it is one of a log
    "refuse": N     of the writes all but the first N are refused, as if the disk was full
    "hang": NAME    wait for ever at the first point of this name, "compiled": in one call of compiled code
    "clock": S      the clock of the wall goes backwards by S seconds with each look at it
    "limit": BYTES  no file may become larger
"""

import errno
import functools
import hashlib
import json
import os
import resource
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Points:
    """Counts points, and does at the one that was asked for what was asked for."""

    def __init__(
        self, trace: str | None, die: int | None, refuse: int | None, hang: str | None, compiled: bool | None
    ) -> None:
        self.die, self.refuse, self.hang, self.compiled, self.count = die, refuse, hang, compiled, 0
        self.trace = None if trace is None else os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.write = os.write

    def pass_(self, name: str, before_the_end: Callable[[], object] = lambda: None) -> None:
        self.count += 1
        if self.trace is not None:
            self.write(self.trace, f"{name}\n".encode())
        if name == self.hang:
            self.hang = None
            if self.compiled:
                hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
            time.sleep(600)
        if self.count == self.die:
            before_the_end()
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name: Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            called = name(*args)
            self.pass_(f"before {called}")
            result = function(*args, **options)
            self.pass_(f"after {called}")
            return result

        return wrapped

    def written(self, handle: int, data: bytes) -> int:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return self.write(handle, data)
        self.pass_("before line", lambda: self.write(handle, data[: len(data) // 2]))
        self._refuse()
        count = self.write(handle, data)
        self.pass_("after line")
        return count

    def synced(self, handle: int) -> None:
        self._refuse()

    def _refuse(self) -> None:
        if self.refuse is not None:
            self.refuse -= 1
            if self.refuse < 0:
                raise OSError(errno.ENOSPC, "No space left on device")


def _name(path: Any) -> str:
    name = Path(os.fspath(path)).name
    return "half a file" if name.endswith(".tmp") else name if len(name) < 60 else name.lstrip(".0123456789abcdef")


def arm(points: Points) -> None:
    """Patch what has a point."""
    import matplotlib.figure

    import guideplug.files.atomic
    import guideplug.observe
    import guideplug.run.making
    import guideplug.train.training

    guideplug.run.making.SECONDS_BETWEEN_STATES = -1.0  # every step, so that points are where they were
    os.replace = points.around(lambda source, target, **_: f"rename to {_name(target)}", os.replace)  # type: ignore
    os.rename = points.around(lambda source, target, **_: f"rename to {_name(target)}", os.rename)  # type: ignore
    os.unlink = points.around(lambda path, **_: f"remove {_name(path)}", os.unlink)  # type: ignore
    os.mkdir = points.around(lambda path, *_: f"make {_name(path)}", os.mkdir)  # type: ignore
    os.fsync = points.around(lambda handle: "sync", points.synced)  # what is lost without power is another matter
    os.write = points.written  # type: ignore
    guideplug.files.atomic.new_file_beside = points.around(
        lambda *_: "beginning of a file", guideplug.files.atomic.new_file_beside
    )
    observers = guideplug.observe.Observers
    observers.__call__ = points.around(  # type: ignore
        lambda self, event, **data: f"event {event}", observers.__call__
    )
    training = guideplug.train.training.Training
    training._step = points.around(lambda self: f"step of {self.role}", training._step)  # type: ignore
    making = guideplug.run.making.Making
    making.progress = points.around(lambda self, *_: f"progress of {self.role}", making.progress)  # type: ignore
    figure = matplotlib.figure.Figure
    figure.savefig = points.around(lambda self, path, **_: "drawing", figure.savefig)  # type: ignore


def child(request: dict[str, Any]) -> None:
    """The rest of a child's life."""
    os.setpgid(0, 0)
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for handle, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(handle, target)
    if request.get("limit"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
    orders = {name: request.get(name) for name in ("trace", "die", "refuse", "hang", "compiled")}
    if request.get("often"):
        arm(Points(**orders))
    if request.get("clock"):
        steps = iter(range(10**9))
        begin = time.time()
        time.time = lambda: begin - request["clock"] * next(steps)
    from guideplug.cli.main import main

    code: Any = 70
    try:
        main(request["start"], prog_name="guideplug")
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def waited(pid: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        exited, status = os.waitpid(pid, os.WNOHANG)
        if exited:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def warmed(arguments: list[str]) -> None:
    """Import and hash everything that a command does, once for all: by doing one, with an output that nobody reads."""
    import contextlib
    import io
    import tempfile

    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    from guideplug.cli.main import main

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as output:
        os.environ["GUIDEPLUG_STORE"] = f"{folder}/store"
        with contextlib.suppress(SystemExit):
            main([*arguments, "--out", f"{folder}/out"], prog_name="guideplug")
            raise RuntimeError(output.getvalue())
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads must not fork"  # noqa: PTH208


def answer(reply: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


def serve() -> None:
    warmed(sys.argv[1:])
    import guideplug.experiments.comparison.prices as prices

    prices.measure_prices = functools.partial(prices.measure_prices, rounds=2, blocks=1)  # clocks decide no bit
    answer({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer({"code": waited(request["wait"], request["seconds"])})
            continue
        pid = os.fork()
        if pid == 0:
            child(request)
        answer({"pid": pid})


if __name__ == "__main__":
    serve()
