"""Content of the page of one run."""

import datetime
from collections.abc import Sequence
from typing import Any

from guideplug.files.display import display_path
from guideplug.files.opening import is_there
from guideplug.metrics.statistics import Difference
from guideplug.report.charts import training_charts
from guideplug.report.html import image, rendered
from guideplug.report.reading import ReadRun, as_number, as_table
from guideplug.report.slider import slider_of
from guideplug.run.failure import Failure, failure_of
from guideplug.run.image_pictures import PICTURES
from guideplug.run.summary import ARROWS, FAILED
from guideplug.run.verdict import number, signed

__all__ = ["page_of_run", "title_of"]

BETTER = {"higher": "higher is better", "lower": "lower is better", "truth": "nearer to the truth is better"}
PHASES = {
    "train": "training of main",
    "reference": "training of the other networks",
    "score": "scoring for selection, within training",
    "select": "selecting, within training",
    "sample": "sampling",
    "metrics": "metrics",
    "intervals": "intervals of differences",
    "weights": "samples at other weights, for the slider",
}
STATUS = {
    "finished": "",
    "running": "This run has not finished: it is running, or was killed.",
    "interrupted": "This run was interrupted and can be resumed.",
    "failed": "This run failed: the log of its command says why.",
    "incomplete": "Parts of this run failed, and are listed below: resuming the run does them again.",
}
LISTED = {"part", "name", "reason"}
"""The keys of a failure that a page shows."""
LARGEST_FIGURE = 2_500_000
LONGEST = 60
"""Characters of an expression in the heading."""


def page_of_run(run: ReadRun) -> str:
    """The page of a run, as HTML."""
    slider = slider_of(run.sweep) if run.sweep else _no_slider(run)
    return rendered(
        "run.html",
        title=title_of(run),
        heading=title_of(run, LONGEST),
        run=run,
        status=STATUS.get(run.status, f"Its status is {run.status}."),
        facts=_facts(run),
        figure=_figure(run),
        pictures=[
            {"data": image(data), "caption": PICTURES[name]}
            for name, data in run.pictures.items()
            if len(data) <= LARGEST_FIGURE
        ],
        slider=slider if isinstance(slider, dict) else None,
        no_slider=slider if isinstance(slider, str) else "",
        metrics=_metrics(run),
        charts=training_charts(run.events),
        evaluations=_evaluations(run),
        seconds=_seconds(run),
        versions=_plain(run.record.get("versions")),
        provenance=_provenance(run),
        plugins=_plugins(run),
        networks=_plain(run.record.get("networks")),
        failures=[str(failure) for failure in _failures(run)],
        texts={key: _lines(run.words.get(key)) for key in ("guidance", "selection", "costs", "next", "notes")},
        repeat=str(run.words.get("repeat", "")),
        citations=str(run.words.get("citations", "")),
    )


def _failures(run: ReadRun) -> list[Failure]:
    """The parts that failed, as far as ``metrics.json`` lists them as it should."""
    listed = run.metrics.get("failures")
    rows = [as_table(row) for row in (listed if isinstance(listed, list) else [])]
    return [failure_of({key: str(value) for key, value in row.items()}) for row in rows if {*row} >= LISTED]


def _no_slider(run: ReadRun) -> str:
    """The reason why there is no slider."""
    failed = next((str(failure) for failure in _failures(run) if failure.part == "slider"), "")
    return failed or str(run.words.get("no_slider") or "There are none in its folder.")


def title_of(run: ReadRun, longest: int | None = None) -> str:
    """Task, guider and selector; by their names alone where their options make them longer than ``longest``."""

    def written(key: str) -> str:
        text = str(run.words[key])
        return text if longest is None or len(text) <= longest else text.partition("(")[0]

    words = run.words
    if not words.get("task"):
        return run.path.resolve().name or str(run.path)
    guider = f"guided by {written('guider')}" if words.get("guider") else "unguided"
    selector = f", trained with {written('selector')}" if words.get("selector") else ""
    return f"{written('task')}, {guider}{selector}"


def _facts(run: ReadRun) -> list[tuple[str, str]]:
    seconds = as_table(run.metrics.get("seconds"))
    trained = sum(as_number(seconds.get(key)) or 0.0 for key in ("train", "reference"))
    samples = as_number(run.metrics.get("samples"))
    steps = as_number(as_table(run.metrics.get("selection")).get("iterations"))
    per_arm = []
    for arm, counts in as_table(run.metrics.get("evaluations")).items():
        outputs = sum(as_number(as_table(count).get("outputs")) or 0 for count in as_table(counts).values())
        if samples:
            per_arm.append(f"{arm} {outputs / samples:g}")
    facts = [
        ("Samples", f"{samples:,.0f} per arm" if samples else ""),
        ("Training", f"{steps:,.0f} steps" + (f", {_duration(trained)}" if trained else "") if steps else ""),
        ("Outputs per sample", ", ".join(per_arm)),
        ("Seed", _text(run.words.get("seed"))),
    ]
    return [(name, text) for name, text in facts if text]


def _figure(run: ReadRun) -> dict[str, str] | None:
    if run.figure is None:
        return None
    name, data = run.figure
    arms = [arm for arm in as_table(run.metrics.get("arms")) if arm != "exact"]
    moving = (run.path / "figures" / name).with_suffix(".gif")
    return {
        "name": name,
        "data": image(data) if len(data) <= LARGEST_FIGURE else "",
        "alt": _alt(run, arms),
        "caption": f"{', '.join(arms).capitalize() or 'Samples'}: the same noise in each arm that was drawn.",
        "moving": f"figures/{moving.name}" if is_there(moving) else "",
    }


def _alt(run: ReadRun, arms: Sequence[str]) -> str:
    """Alternative text of the figure: the values of each aspect's first metric."""
    values = as_table(run.metrics.get("arms"))
    sentences, aspects = [], set()
    for metric in _known_metrics(run):
        if metric["aspect"] in aspects:
            continue
        known = [(arm, as_number(as_table(values.get(arm)).get(metric["name"]))) for arm in arms]
        each = ", ".join(f"{arm} {number(value)}" for arm, value in known if value is not None)
        if each:
            aspects.add(metric["aspect"])
            sentences.append(f"{metric['name']} ({BETTER.get(metric['better'], '')}): {each}")
    return f"Samples side by side: {', '.join(arms)}. {'; '.join(sentences)}."


def _known_metrics(run: ReadRun) -> list[dict[str, str]]:
    """The metrics in the order of the table; undescribed ones last."""
    listed = run.words.get("metrics")
    metrics = [
        {key: str(as_table(item).get(key, "")) for key in ("name", "better", "aspect", "formula")}
        for item in (listed if isinstance(listed, list) else [])
    ]
    names = {item["name"] for item in metrics}
    for values in as_table(run.metrics.get("arms")).values():
        for name in as_table(values):
            if name not in names:
                names.add(name)
                metrics.append({"name": name, "better": "", "aspect": "", "formula": ""})
    return metrics


def _metrics(run: ReadRun) -> dict[str, Any]:
    arms = {name: as_table(values) for name, values in as_table(run.metrics.get("arms")).items()}
    differences = as_table(run.metrics.get("differences"))
    failed = {(failure.name, failure.arm) for failure in _failures(run) if failure.part == "metric"}
    rows = []
    for metric in _known_metrics(run):
        name = metric["name"]
        values = {arm: as_number(measured.get(name)) for arm, measured in arms.items()}
        if all(value is None and (name, arm) not in failed for arm, value in values.items()):
            continue
        row: dict[str, Any] = {
            "name": name,
            "arrow": ARROWS.get(metric["better"], ""),
            "better": BETTER.get(metric["better"], ""),
            "aspect": metric["aspect"],
            "formula": metric["formula"],
            "values": [(FAILED if (name, arm) in failed else number(value), value) for arm, value in values.items()],
        }
        difference = as_table(differences.get(name))
        mean, low, high = (as_number(difference.get(key)) for key in ("difference", "low", "high"))
        if mean is not None and low is not None and high is not None:
            row |= {
                "difference": signed(Difference(mean, low, high, 0)),
                "key": mean,
                "verdict": str(difference.get("verdict", "")),
                "primary": difference.get("primary") is True,
            }
        rows.append(row)
    return {"arms": list(arms), "rows": rows, "differs": bool(differences)}


def _evaluations(run: ReadRun) -> list[dict[str, Any]]:
    samples = as_number(run.metrics.get("samples")) or 0
    rows = []
    for arm, counts in as_table(run.metrics.get("evaluations")).items():
        for role, count in as_table(counts).items():
            numbers = {key: as_number(as_table(count).get(key)) or 0 for key in ("calls", "outputs", "gradients")}
            if not any(numbers.values()):
                continue
            each = f"{numbers['outputs'] / samples:g}" if samples else "-"
            rows.append({"arm": arm, "role": role, **{key: f"{n:,.0f}" for key, n in numbers.items()}, "each": each})
    return rows


def _seconds(run: ReadRun) -> list[dict[str, Any]]:
    seconds = {name: as_number(value) for name, value in as_table(run.metrics.get("seconds")).items()}
    shown = {name: value for name, value in seconds.items() if value is not None and value >= 0.005}
    most = max(shown.values(), default=1.0)
    return [
        {"name": PHASES.get(name, name), "seconds": f"{value:,.2f}", "share": f"{100 * value / most:.1f}"}
        for name, value in shown.items()
    ]


def _provenance(run: ReadRun) -> list[tuple[str, str]]:
    record = run.record
    started = as_number(record.get("started"))
    when = ""
    if started is not None and 0 <= started < 1e11:
        when = datetime.datetime.fromtimestamp(started, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    seeds = ", ".join(f"{name} {value}" for name, value in _plain(record.get("seeds")) if value)
    facts = [
        ("Folder", display_path(run.path)),
        ("Command", _text(record.get("command"))),
        ("Started", when),
        ("Status", run.status),
        ("Device", _text(record.get("device"))),
        ("Threads", _text(record.get("threads"))),
        ("Platform", _text(record.get("platform"))),
        ("Seeds", seeds),
        ("Git commit of the working folder", _text(record.get("git"))),
    ]
    return [(name, text) for name, text in facts if text]


def _plugins(run: ReadRun) -> list[str]:
    listed = run.record.get("plugins")
    rows = []
    for plugin in listed if isinstance(listed, list) else []:
        facts = as_table(plugin)
        broken = f" (broken: {facts['broken']})" if facts.get("broken") else ""
        digest = f" sha256 {str(facts['sha256'])[:16]}…" if facts.get("sha256") else ""
        rows.append(f"{facts.get('from') or facts.get('name')}{digest}{broken}")
    return rows


def _plain(value: Any) -> list[tuple[str, str]]:
    return [(str(name), _text(item)) for name, item in as_table(value).items()]


def _lines(value: Any) -> list[str]:
    """A list of texts from one text or several."""
    if value is None:
        return []
    return [str(line) for line in value] if isinstance(value, list) else [str(value)]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
