"""Several ways of doing one thing, timed in turn: medians, and ratios to one of them."""

import statistics
import time
from collections.abc import Callable


def medians(rounds: int, ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of each way, the median over rounds in which all take their turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            times[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def show(title: str, seconds: dict[str, float], against: str) -> None:
    """A table of medians and of ratios to one of them."""
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:<44} {value:9.3f} ms   {value / seconds[against]:6.3f} x {against}")
