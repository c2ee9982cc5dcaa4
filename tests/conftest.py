"""The modules beside the tests, as names to import; at the end, how many blocks of the documentation were run."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Add up what the tests of the documentation recorded."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "documentation":
                counts.update(value)
    if counts:
        run = counts["executed"] + counts["dry run"]
        terminalreporter.write_line(
            f"documentation blocks run: {run} ({counts['executed']} executed, {counts['dry run']} as dry runs); "
            f"{counts['read']} read, {counts['not code']} output or formulas"
        )
