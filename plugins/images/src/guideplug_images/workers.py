"""Images of a collection in order, ready to be kept: decoded here, and by worker processes where that takes long.

The images are the same whatever their number. It is the number of cores; workers begin where a process has decoded for
`PATIENCE` seconds, since a worker takes some to start. They end with this process, however it ends, and receive no
signal of its terminal. Unlike those of `multiprocessing` they do not execute the user's script anew. What is in memory
already, and items of data sets, which the user's own code gives, stay in this process.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, TypeAlias, final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from guideplug_images.collection import Collection, ImageError, Opener
from guideplug_images.picture import fit

__all__ = ["ready_images"]

PATIENCE = 5.0
"""Seconds of decoding in this process before workers are started."""
MOST_WORKERS = 16
CHUNK = 32
"""Images of one request to a worker."""
AHEAD = 4
"""Chunks per worker that are decoded before they are taken."""
Settings: TypeAlias = tuple[Opener, int | None, Literal[1, 3] | None]
Answer: TypeAlias = tuple[list[NDArray[Any]], str]
"""Images, and why the next one cannot be used; empty if all can."""
START = (
    "import sys; from multiprocessing.connection import Connection; pipe = Connection(int(sys.argv[1])); "
    "sys.path[:] = pipe.recv(); from guideplug_images.workers import serve; serve(pipe)"
)


def ready_images(
    collection: Collection, size: int | None, channels: Literal[1, 3] | None
) -> Generator[NDArray[Any], None, None]:
    """Each image at a side, uint8 (C, H, W); with ``channels`` None in its own channels. Latents as they are.

    Close the iterator to end its workers before it is exhausted.

    Raises:
        ImageError: an image cannot be read, or a worker has died.
    """
    begin, count, index = time.monotonic(), len(collection.names), 0
    opener, workers = collection.opener(), min(_cores(), MOST_WORKERS)
    while index < count and (opener is None or workers < 2 or time.monotonic() - begin < PATIENCE):
        yield _ready(collection.image(index), size, channels)
        index += 1
    if index < count:
        assert opener is not None
        names = collection.names[index:]
        with contextlib.closing(_Workers(collection.where, (opener, size, channels), workers)) as pool:
            yield from pool.images(names)


def _cores() -> int:
    if os.name != "posix":  # a pipe is handed on by its number
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ready(image: NDArray[Any], size: int | None, channels: Literal[1, 3] | None) -> NDArray[Any]:
    if image.dtype != np.uint8:  # a latent
        return np.ascontiguousarray(image)
    return fit(image, size, channels or (1 if image.shape[2] == 1 else 3))


@define(eq=False)
class _Worker:
    process: "subprocess.Popen[bytes]"
    pipe: Connection
    chunk: int | None = None


@final
@define(eq=False)
class _Workers:
    where: str
    settings: Settings
    count: int
    workers: list[_Worker] = field(factory=list)

    def images(self, names: Sequence[str]) -> Iterator[NDArray[Any]]:
        """The images of names, in order; a refusal comes at its image's turn."""
        chunks = [names[begin : begin + CHUNK] for begin in range(0, len(names), CHUNK)]
        waiting, answers = iter(range(len(chunks))), dict[int, Answer]()
        upcoming = next(waiting, None)
        self.workers = [self._started() for _ in range(min(self.count, len(chunks)))]
        for turn in range(len(chunks)):
            while turn not in answers:
                for worker in self.workers:
                    if worker.chunk is None and upcoming is not None and upcoming < turn + AHEAD * self.count:
                        with contextlib.suppress(BrokenPipeError):  # it has died, which its answer shows
                            worker.pipe.send(list(chunks[upcoming]))
                        worker.chunk, upcoming = upcoming, next(waiting, None)
                busy = {worker.pipe: worker for worker in self.workers if worker.chunk is not None}
                for worker in [busy[pipe] for pipe in wait(list(busy))]:  # type: ignore[index]
                    assert worker.chunk is not None
                    answers[worker.chunk] = self._answer(worker, chunks[worker.chunk])
                    worker.chunk = None
            images, refusal = answers.pop(turn)
            yield from images
            if refusal:
                raise ImageError(refusal)

    def close(self) -> None:
        """End the workers, whatever they are at."""
        for worker in self.workers:
            worker.pipe.close()
            worker.process.kill()
            worker.process.wait()

    def _started(self) -> _Worker:
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # the terminal's signals are for this process
            )
        with contextlib.suppress(BrokenPipeError):
            ours.send(sys.path)
            ours.send(self.settings)
        return _Worker(process, ours)

    def _answer(self, worker: _Worker, names: Sequence[str]) -> Answer:
        try:
            answer: Answer = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            code = worker.process.wait()
            end = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with code {code}"
            raise ImageError(
                f"{self.where}: a worker process ended {end} while it decoded {names[0]} to {names[-1]}; nothing is "
                "kept: start again, with more free memory if that ran out"
            ) from None
        return answer


def serve(pipe: Connection) -> None:
    """Answer requests for images, in a worker, until the pipe is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        opener, size, channels = pipe.recv()
        read: Callable[[str], NDArray[Any]] | None = None
        while True:
            images: list[NDArray[Any]] = []
            names, refusal = pipe.recv(), ""
            try:
                read = read or opener()
                for name in names:
                    images.append(_ready(read(name), size, channels))
            except ImageError as error:
                refusal = str(error)
            pipe.send((images, refusal))
