"""``guideplug sample`` with a range: a sweep over weights, carried out and printed."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideplug.cli.echo import echo
from guideplug.cli.json_output import print_json_text
from guideplug.cli.report import page_told
from guideplug.cli.table import print_table, table_width
from guideplug.executors.interrupt import Interrupted, handle_signals
from guideplug.experiments.weights import PARTS, WeightSweep, plan_sweep, run_sweep
from guideplug.files.display import display_path
from guideplug.files.opening import MOST_EVENTS, list_folder
from guideplug.files.reading import read_text
from guideplug.run.console import Console, print_line
from guideplug.run.experiment import folder_name
from guideplug.run.failure import INCOMPLETE
from guideplug.run.folder import RunFolder
from guideplug.run.progress import progress
from guideplug.run.resolve import Request
from guideplug.run.threads import busy_note
from guideplug.store import Store, with_bundle

__all__ = ["sweep_command"]

LEGEND = "+ better, - worse than unguided: the 95 % interval of the paired difference leaves out 0; * primary metric"


def sweep_command(path: Path | None, request: Request, options: Mapping[str, Any], command: str) -> None:
    """Sample the networks of a request at each weight of its guider's range, and print what came of it."""
    plan = plan_sweep(path, request)
    out = None if options["out"] is None else Path(options["out"])
    folder = RunFolder.create(out, f"{folder_name(plan.config)}-weights", PARTS)
    store = Store.default() if path is None else with_bundle(Store.default(), path)
    as_json = options["as_json"]
    console = Console(stderr=as_json)
    if not as_json and (note := busy_note(plan.config.threads)):
        echo(note, err=True)
    listener = None if as_json else progress(console)

    def leave() -> None:
        if listener is not None:
            listener.close()
        echo(f"interrupted; the samples that were drawn are in {display_path(folder.path)}", err=True)

    try:
        with handle_signals(leave) as stop:
            sweep = run_sweep(plan, folder, store, stop, [] if listener is None else [listener], command)
    except Interrupted as interrupted:
        leave()
        sys.exit(interrupted.exit_code)
    page, unwritten = page_told(folder.path)
    if as_json:
        print_json_text(read_text(folder.path / "weights.json", MOST_EVENTS, folder.path))
    else:
        _tell(console, sweep, folder.path, page)
    if failures := [*sweep.failures, *unwritten]:
        echo(f"error: {'; '.join(map(str, failures))}; all else is kept in {display_path(folder.path)}", err=True)
        sys.exit(INCOMPLETE)


def _tell(console: Console, sweep: WeightSweep, folder: Path, page: str | None) -> None:
    title = f"{sweep.task}, {sweep.expression}, {sweep.samples:,} samples at each weight"
    header, rows = sweep.rows()
    if fewer := table_width(header, rows) > console.width:
        header, rows = sweep.rows(sweep.primary)
    print_table(console, title, header, rows, words=1)
    if fewer:
        print_line(console, f"the other metrics: {display_path(folder / 'weights.md')}")
    for line in (LEGEND, *(f"warning: {text}" for text in sweep.warnings), *sweep.sentences()):
        print_line(console, line)
    print_line(console, f"seconds: {float(sweep.record['seconds']):.1f}")
    for figure in sorted(list_folder(folder / "figures", "*.png")):
        print_line(console, f"figure: {display_path(figure)}")
    if page is not None:
        print_line(console, f"page: {page}")
    print_line(console, f"folder: {display_path(folder)} (weights.md, weights.csv, weights.json, samples)")
