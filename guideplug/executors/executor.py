"""Executors: where the jobs of a comparison or a study run.

An `Executor` is a strategy that the user chooses with ``--executor``. For an experiment it opens a `Pool`, in the
manner of `concurrent.futures`: jobs are submitted, results come in any order, jobs in progress can be cancelled, and in
the end the pool is shut down. It decides nothing: an experiment has the same bits wherever its jobs run. The contract:

- a job may run twice, elsewhere, and out of order; what it returns is plain data;
- a job runs in the main thread of a process, which signals reach;
- a job that is cancelled leaves whole files, and its next try goes on from them;
- a worker that is lost is the result of its job, as a `WorkerLost` that names it;
- a pool schedules nothing: the driver submits no more jobs than the pool's capacity, and no job before its time.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import attrs

from guideplug.config import Strategy, decides_nothing

__all__ = ["Executor", "Job", "JobResult", "Pool", "WorkerSource"]


@attrs.frozen
class Job:
    """A call of a worker's method.

    Args:
        key: its name in messages, unique within an experiment.
        method: the name of the method.
        arguments: plain data.
        after: keys of jobs that end before it begins.
        alone: whether no other job runs meanwhile, as for a measurement of time.
    """

    key: str
    method: str
    arguments: tuple[Any, ...] = ()
    after: frozenset[str] = frozenset()
    alone: bool = False


@attrs.frozen
class JobResult:
    """The result of a job: a value, or the error that it raised.

    Args:
        job: the job.
        value: plain data: None, bool, int, float, str, bytes, NumPy arrays, and lists and dicts of such.
        error: the error, with its traceback as text in ``__cause__`` if it was raised elsewhere; None if there is none.
    """

    job: Job
    value: Any = None
    error: BaseException | None = None


@attrs.frozen
class WorkerSource:
    """Workers, whose methods jobs call.

    Args:
        here: the worker of this process, for executors that run jobs in it.
        make: an importable function that makes a worker elsewhere.
        arguments: its arguments, which can be pickled. They hold the number of threads; a device that the user did not
            name is that of the machine where the worker is made.
    """

    here: object
    make: Callable[..., object]
    arguments: tuple[Any, ...] = ()


class Pool(abc.ABC):
    """An executor at work."""

    @property
    @abc.abstractmethod
    def capacity(self) -> int:
        """Largest number of jobs in progress."""

    @abc.abstractmethod
    def submit(self, job: Job) -> None:
        """Begin a job, or line it up; does not wait for it."""

    @abc.abstractmethod
    def wait(self, seconds: float) -> Sequence[JobResult]:
        """The results that have come, each once; none if none comes within some seconds.

        An error of a job is a result; what is raised here ends the experiment. It is not called after `cancel`.
        """

    @abc.abstractmethod
    def cancel(self) -> None:
        """Ask every job in progress to stop between two steps, with its state saved; returns at once.

        A process is sent one SIGTERM, which its job turns into a stop: a second signal would not wait for the state.
        """

    @abc.abstractmethod
    def shutdown(self) -> None:
        """Wait for cancelled jobs, end those that do not stop, and leave no process; a second call does nothing."""


@decides_nothing
class Executor(Strategy):
    """Where jobs run, chosen by ``--executor``. Final frozen attrs classes; the fields are its options."""

    kind: ClassVar[str] = "executor"

    @abc.abstractmethod
    def open(self, source: WorkerSource) -> Pool:
        """A pool for one experiment; heavy libraries are imported here.

        Raises:
            ConfigError: what the executor needs is not there.
        """
