"""One line per event; durations and amounts in words."""

from collections.abc import Mapping
from typing import Any

__all__ = ["amount", "event_line", "lasting"]


def event_line(name: str, data: Mapping[str, Any]) -> str:
    """The line of an event; "" for one that adds nothing."""
    match name:
        case "run":
            return f"{data.get('kind', 'run')} {'goes on' if data.get('resumed') else 'begins'}"
        case "found":
            return f"{data['role']}: {_origin(data)}"
        case "train":
            begins = f"goes on from step {data['step']:,}" if data["step"] else "begins"
            return f"training {data['role']} {begins}: {amount(data['total'], data['unit'])}"
        case "step":
            kept = data.get("kept")
            share = f", {kept:.0%} kept so far" if kept is not None and kept < 0.995 else ""
            loss = "-" if data["loss"] is None else f"{data['loss']:.4g}"
            return (
                f"training {data['role']}: {progress(data['reached'], data['total'], data['unit'])}, loss {loss}{share}"
            )
        case "checkpoint":
            return f"saved {data['role']} at step {data['step']:,}"
        case "preview":
            return f"drew {data['path']} at step {data['step']:,} of {data['role']}"
        case "training_metrics":
            return f"{data['role']} at step {data['step']:,}, {data['weights']}: {_values(data['values'])}"
        case "trained":
            return f"trained {data['role']}: {data['step']:,} steps in {lasting(data['seconds'])}"
        case "sample":
            return f"sampling {data['arm']}: {data['done']:,} of {data['total']:,}"
        case "sampled":
            return f"sampled {' and '.join(data['arms'])}"
        case "measure":
            metric = f": {data['metric']}, {data['done'] + 1} of {data['total']}" if "metric" in data else ""
            return f"measuring {data['arm']}{metric}"
        case "metrics":
            return f"{data['arm']}: {_values(data['values'])}"
        case "figure":
            return f"drew {data['path']}"
        case "network" | "trial":
            return f"{name} {data['done']:,} of {data['total']:,}: {data['which']}, {lasting(data['seconds'])}"
        case "training":
            return f"trained {data['done']:,} of {data['total']:,}: {data['which']}, {lasting(data['seconds'])}"
        case "price":
            return f"an iteration {data['which']} takes {1000 * data['seconds']:.3g} ms"
        case "cell":
            where = f"{data['selector']}, seed {data['seed']}, step {data['at']:,}"
            return f"measured {data['done']:,} of {data['total']:,}: {where}"
        case "unread":
            return f"{data['bytes'] / 2**20:,.0f} MiB of the log are left out here"
        case "warning":
            return f"warning: {data['text']}"
        case "observer":
            return f"observer {data['observer']} failed at {data['at']} ({data['error']})"
        case "end":
            return f"{data['status']}: {data['error']}" if data.get("error") else str(data["status"])
    return ""


def _values(values: Mapping[str, float | None]) -> str:
    return ", ".join(f"{key} {'-' if value is None else format(value, '.4g')}" for key, value in values.items())


def _origin(data: Mapping[str, Any]) -> str:
    if "path" in data:
        without = f", names without {data['prefix']!r}" if data.get("prefix") else ""
        return f"loaded from {data['path']}{without}"
    if "folder" not in data:
        return "made on the spot"
    took = f", trained in {lasting(data['seconds'])}" if data.get("seconds") else ""
    return f"found in the store{took}"


def amount(number: float, unit: str) -> str:
    """A duration in its unit: 4,096 it, 3.3 Mex, 90 s."""
    if unit == "ex" and number >= 1e6:
        return f"{number / 1e6:.4g} Mex"
    return f"{number:,.0f} {unit}"


def progress(done: float, total: float, unit: str) -> str:
    """The part done of the total, in the unit."""
    if unit == "ex" and total >= 1e6:
        return f"{done / 1e6:.3g} of {total / 1e6:.4g} Mex"
    return f"{done:,.0f} of {total:,.0f} {unit}"


def lasting(seconds: float) -> str:
    """A time: 8.2 s, 75 s, 12 min, 3.4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
