"""Commands in children of one warm process, measured: time, memory, what was printed, how it ended.

Run as a program it is that process. It has imported everything and gone through each command once with good files.
For each request, a line of JSON, it forks; so the child's peak memory begins at what is shared with its parent, and how
much it grows (``ru_maxrss`` at the end less at the beginning) is what the command itself took. A child that takes a
gigabyte of addresses more than its parent is refused memory, and one that takes 10 s of a processor, or waits longer
than it may, is killed. Children have no capabilities: root, too, is refused files without permissions.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOM = 1024**3
LONGEST = 10


class Children:
    """The warm process, seen from the tests."""

    def __init__(self, folder: Path, warm: Sequence[Sequence[str]], around: Path | None = None) -> None:
        """Start it.

        Args:
            folder: where it warms up.
            warm: the commands that it goes through.
            around: where store, list of trusted code and caches are meanwhile; None for the folder.
        """
        environment = {**os.environ, **own(around or folder), "OMP_NUM_THREADS": "1", "HOME": str(around or folder)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(warm)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=environment,
            text=True,
        )
        self._answer()

    def __call__(self, folder: Path, *arguments: str, seconds: float = LONGEST) -> dict[str, Any]:
        """Run a command in a folder, for so many seconds at most."""
        assert self._process.stdin is not None
        request = {"folder": str(folder), "arguments": arguments, "seconds": seconds}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the warm process has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


def command(arguments: list[str]) -> int:
    """Run a command as the program would."""
    from guideplug.cli.main import main

    try:
        main(arguments, prog_name="guideplug")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def own(folder: Path) -> dict[str, str]:
    """The places of a user, all in one folder, as environment variables; that of caches where there is a folder."""
    places = {"GUIDEPLUG_STORE": str(folder / "store"), "GUIDEPLUG_TRUSTED": str(folder / "trusted")}
    return places | ({"XDG_CACHE_HOME": str(folder / "cache")} if (folder / "cache").is_dir() else {})


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _without_capabilities() -> None:
    """Give up what makes root pass over permissions (capset(2), version 3); elsewhere than on Linux nothing."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if sys.platform == "linux":
        ctypes.CDLL(None).capset(header, none)


def _child(folder: str, arguments: list[str], seconds: float) -> None:
    os.chdir(folder)
    outside = Path(folder).parent
    os.environ |= own(outside)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(outside / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    limit = _addresses() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
    signal.setitimer(signal.ITIMER_REAL, seconds)  # one that waits for ever
    _without_capabilities()
    before = resource.getrusage(resource.RUSAGE_SELF)
    code = 70
    try:
        code = command(arguments)
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    after = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "code": code,
        "megabytes": (after.ru_maxrss - before.ru_maxrss) / 1024,
        "seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }
    (outside / "measured").write_text(json.dumps(found))


def serve(warm: list[list[str]]) -> None:
    """Warm up, then answer requests."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    codes = [command(arguments) for arguments in warm]
    command(["run", "no such configuration"])
    command(["sample", "no such folder"])
    assert not any(codes), f"a good command failed: {codes}"
    answers.write(json.dumps({"warm": len(codes)}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        begin = time.perf_counter()
        outside = Path(request["folder"]).parent
        (outside / "measured").unlink(missing_ok=True)
        child = os.fork()
        if not child:
            _child(request["folder"], request["arguments"], request["seconds"])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        measured = outside / "measured"
        found = json.loads(measured.read_text()) if measured.is_file() else {"code": f"killed: {status}"}
        texts = {name: (outside / name).read_text(errors="surrogateescape") for name in ("stdout", "stderr")}
        answers.write(json.dumps({**found, **texts, "wall": time.perf_counter() - begin}) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
