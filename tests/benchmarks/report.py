"""Seconds for the report of twenty runs, and bytes of a page, on made-up folders of real size.

    python tests/benchmarks/report.py

Budgets: 10 s for twenty runs with a page each, libraries imported, as this process worked, whatever else the machine
does; 5 MB a run; 1.2 MB without data.
"""

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from guideplug.report import write_page, write_report_of

RUNS = 20


def _made() -> ModuleType:
    place = Path(__file__).parents[1] / "report" / "made.py"
    spec = importlib.util.spec_from_file_location("made", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Measure, print, and fail where a budget is exceeded."""
    fakes = _made()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        folders = []
        for seed in range(RUNS):
            shape = (2,) if seed % 2 else (3, 64, 64)
            folders.append(fakes.run_folder(root / f"run-{seed}", seed=seed, shape=shape))
            (folders[-1] / "figures" / "toy.png").write_bytes(fakes.picture(1000, 400, seed=seed))
        begin, busy = time.perf_counter(), time.process_time()
        page = write_report_of(folders, root / "report.html")
        seconds, busy = time.perf_counter() - begin, time.process_time() - busy
        largest = max((folder / "report.html").stat().st_size for folder in folders)
        bare = fakes.run_folder(root / "bare")
        for name in ("sweep.npz", "figures/toy.png", "events.jsonl"):
            (bare / name).unlink()
        without = write_page(bare).stat().st_size
        print(f"{RUNS} runs: {seconds:.2f} s, of which this process worked {busy:.2f} s")
        print(f"the page of all: {page.stat().st_size / 1e6:.2f} MB")
        print(f"largest page of a run: {largest / 1e6:.2f} MB; without data {without / 1e6:.2f} MB")
        if busy > 10 or largest > 5e6 or without > 1.2e6:
            sys.exit("a budget is exceeded")


if __name__ == "__main__":
    main()
