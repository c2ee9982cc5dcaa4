"""Executors: where the jobs of a comparison or a study run, and how work is stopped."""

from guideplug.executors.executor import Executor, Job, JobResult, Pool, WorkerSource
from guideplug.executors.processes import Processes
from guideplug.executors.serial import Serial

__all__ = ["Executor", "Job", "JobResult", "Pool", "Processes", "Serial", "WorkerSource"]
