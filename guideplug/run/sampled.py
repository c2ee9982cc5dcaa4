"""The run of ``guideplug sample``: networks of an earlier run, or of the user's own, guided or sampled anew."""

from pathlib import Path

from guideplug.errors import UsageError
from guideplug.run.earlier import check_networks, request_of_networks
from guideplug.run.folder import RunFolder
from guideplug.run.prepare import Prepared, Resolved, prepare
from guideplug.run.resolve import Request

__all__ = ["prepare_sample"]


def prepare_sample(folder: Path | None, request: Request) -> Prepared:
    """A run that samples networks which are there; nothing is trained or written yet.

    Args:
        folder: that of an earlier run, whose networks are used where the guider still means the same ones; None for
            a network of the user's own, which the request names.
        request: the user's request.

    Raises:
        GuideplugError: what is missing, or wrong with the configuration or with how the parts work together.
    """
    if folder is None:
        return _of_own_network(request)
    earlier = RunFolder.existing(folder)

    def check(run: Resolved) -> Resolved:
        check_networks(run, earlier.record(), request)
        return run

    return prepare(request_of_networks(earlier, request), check)


def _of_own_network(request: Request) -> Prepared:
    if "main" not in request.models:
        raise UsageError("sample what? give the folder of a run, or a network: --model main=PATH_OR_EXPRESSION")
    if "task" not in request.values:
        raise UsageError("--task is missing: name the task that the network of --model main is for")
    return prepare(request)
