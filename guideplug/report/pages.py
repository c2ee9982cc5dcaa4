"""Write the page of a folder, atomically."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from guideplug.config import command_line
from guideplug.errors import GuideplugError, RunError, UsageError
from guideplug.files.atomic import adding_to, whole_file
from guideplug.files.opening import is_there
from guideplug.registry.registry import Registry
from guideplug.report.reading import read_run
from guideplug.report.several import page_of_comparison, page_of_runs, page_of_study
from guideplug.report.single import page_of_run
from guideplug.report.weights import page_of_weights

__all__ = ["PAGE", "write_page", "write_report_of"]

PAGE = "report.html"
COMPARISON, STUDY, SWEEP, RUN = "compare.json", "study.json", "weights.json", "run.json"


def write_page(folder: Path, out: Path | None = None, registry: Registry | None = None) -> Path:
    """Write the page of the folder of a run, a comparison or a study; its path.

    Args:
        folder: the folder.
        out: the page's path; by default ``report.html`` in the folder.
        registry: the run's plugins, if they are loaded.

    Raises:
        GuideplugError: the folder is of another kind, or the file cannot be written.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} does not exist: give the folder of a run, a comparison or a study")
    if is_there(folder / COMPARISON):
        text = _whole(page_of_comparison, folder / COMPARISON)
    elif is_there(folder / STUDY):
        text = _whole(page_of_study, folder / STUDY)
    elif is_there(folder / SWEEP):
        text = _whole(page_of_weights, folder / SWEEP)
    elif is_there(folder / RUN):
        text = page_of_run(read_run(folder, registry))
    else:
        unfinished = next((name for name in ("compare", "study") if is_there(folder / f"{name}.toml")), None)
        hint = f": its {unfinished} has not ended; {command_line(unfinished, '--resume', folder)}" if unfinished else ""
        raise UsageError(f"{folder} holds none of {RUN}, {COMPARISON} and {STUDY}{hint}")
    return _written(out if out is not None else folder / PAGE, text)


def write_report_of(folders: Sequence[Path], out: Path | None = None, registry: Registry | None = None) -> Path:
    """Write the page of one folder, or of several runs: a common page, and a linked page in each run's folder.

    Raises:
        GuideplugError: a folder is not that of a run, or the file cannot be written.
    """
    if len(folders) == 1:
        return write_page(folders[0], out, registry)
    for folder in folders:
        if not is_there(folder / RUN):
            raise UsageError(f"{folder} is not the folder of a run: several are shown together only where all are runs")
    target = out if out is not None else Path(PAGE)
    runs = [read_run(folder, registry) for folder in folders]
    links: list[str | None] = []
    for run in runs:
        page = run.path / PAGE
        try:
            _written(page, page_of_run(run))
        except (GuideplugError, OSError):
            links.append(None)  # a read-only folder has no page to link to
        else:
            relative = os.path.relpath(os.path.realpath(page), os.path.realpath(target.parent))
            links.append(quote(os.fsencode(Path(relative).as_posix())))
    return _written(target, page_of_runs(runs, links))


def _whole(page: Callable[[Path], str], path: Path) -> str:
    try:
        return page(path.parent)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise RunError(f"{path} does not hold what it should ({type(error).__name__}: {error})") from None


def _written(path: Path, text: str) -> Path:
    if path.is_dir():
        raise UsageError(f"--out {path} is a folder: give the name of a file, such as {path / PAGE}")
    if not path.parent.is_dir():
        raise UsageError(f"--out {path}: the folder {path.parent} does not exist")
    with adding_to(path.parent), whole_file(path) as file:
        file.write(text.encode(errors="replace"))
    return path
