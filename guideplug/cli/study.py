"""``guideplug study``: the list of studies, or one carried out, with its findings printed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
import torch

from guideplug.cli.commands import observers_given
from guideplug.cli.echo import echo
from guideplug.cli.estimate import estimates_of
from guideplug.cli.experiment_progress import ExperimentProgress
from guideplug.cli.experiment_scope import end_incomplete, executor_of, experiment_scope
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json, print_json_text
from guideplug.cli.report import page_told
from guideplug.cli.table import print_table, table_width
from guideplug.config import Reader, command_line, format_value, parse, write
from guideplug.errors import ExpressionError, RunError, UsageError
from guideplug.executors import Executor
from guideplug.experiments.studies import Plan, failures, planned, run_study, shown, write_report
from guideplug.files.atomic import at_work_in, check_unchanged, cleared, whole_file
from guideplug.files.display import display_path
from guideplug.files.opening import MOST_EVENTS
from guideplug.files.reading import parse_toml, read_text
from guideplug.observe import Observer, RunInfo
from guideplug.registry.registry import Registry
from guideplug.run.carried import carried, settled
from guideplug.run.console import Console
from guideplug.run.earlier import no_links
from guideplug.run.event_scope import event_scope
from guideplug.run.failure import Failures
from guideplug.run.folder import EventLog, RunFolder
from guideplug.run.prepare import plugin_files
from guideplug.store import Store
from guideplug.study import Findings, Report, Study

__all__ = ["study_command"]

CONFIG = "study.toml"
WIDTH = 160


def study_command(expression: str | None, options: Mapping[str, Any]) -> None:
    """``guideplug study``."""
    guard(options, expression)
    resume = None if options["resume"] is None else Path(options["resume"]).absolute()
    if resume is not None and (expression is not None or any(options[key] for key in ("out", "sets"))):
        raise UsageError("--resume names the folder, whose study goes on as it is: leave out STUDY, --set and --out")
    written: list[str] = []
    common: dict[str, Any] = {}
    if resume is not None:
        expression, common, written = _read(resume)
        no_links(resume)
    plugins = plugin_files(written, options["plugins"])
    registry = Registry.installed(plugins)
    if expression is None:
        _list(registry, plugins, as_json=options["as_json"])
        return
    if options["device"] is not None:
        common["device"] = options["device"]
    if plugins:
        common["plugins"] = plugins
    watching = observers_given(options).get("observers", common.pop("observers", []))
    observers: tuple[Observer, ...] = Reader(registry).read(watching, tuple[Observer, ...], "observers")
    for observer in observers:
        observer.check()
    study = _study(expression, options["sets"], registry)
    executor = executor_of(options, registry)
    plan = planned(study, registry, common)
    store = Store.default()
    if options["dry_run"]:
        _dry_run(plan, store, as_json=options["as_json"])
        return
    if resume is not None:
        folder = resume
    else:
        out = None if options["out"] is None else Path(options["out"])
        folder = RunFolder.create(out, f"study-{study.name}", parts=("trials",)).path
    with at_work_in(folder):
        if resume is None or options["plugins"]:  # what is measured from here on is measured with these
            named = {"observers": [format_value(write(observer)) for observer in observers]} if observers else {}
            table = {"study": format_value(write(study)), **named, **plan.common}
            with whole_file(folder / CONFIG) as file:
                file.write(tomli_w.dumps(carried(folder, table)).encode())
        _go(plan, registry, store, executor, folder, options, observers, resumed=resume is not None)


def _list(registry: Registry, files: Sequence[str], *, as_json: bool) -> None:
    summaries: dict[str, str] = {}
    for name in registry.names(Study.kind):
        study = registry.find(Study.kind, name)
        summaries[name] = f"a preset for {study}" if isinstance(study, str) else study.summary()
    if as_json:
        print_json([{"name": name, "summary": summary} for name, summary in summaries.items()])
        return
    if not summaries:
        echo("no installed plugin brings a study")
        return
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        echo(f"{name:<{width}}  {summary}")
    first = next(iter(summaries))
    run, show = (command_line(*words, first, plugins=files) for words in (["study"], ["plugins", "show"]))
    echo(f"run one with {run}; its options: {show}")


def _study(expression: str, sets: tuple[tuple[str, str], ...], registry: Registry) -> Study:
    reader = Reader(registry)
    study: Study = reader.expression(expression, Study, "study")
    for key, text in sets:
        try:
            value = parse(text)
        except ExpressionError as error:
            raise ExpressionError(f"--set {key}: {error}") from None
        study = reader.replaced(study, key.removeprefix("study."), value, study.name)
    return study


def _read(folder: Path) -> tuple[str, dict[str, Any], list[str]]:
    """The study of a folder, the values its runs share, and its plugin files."""
    path = folder / CONFIG
    check_unchanged(path)
    try:
        table = settled(folder, parse_toml(path, folder))
        expression = table.pop("study")
    except FileNotFoundError:
        raise UsageError(f"{folder} is not the folder of a study: it has no {CONFIG}") from None
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path} is damaged ({error}): start the study anew in another folder") from None
    plugins = table.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise RunError(f"{path} is damaged (plugins is no list of texts): start the study anew in another folder")
    return str(expression), table, plugins


def _dry_run(plan: Plan, store: Store, *, as_json: bool) -> None:
    """Print the plan of a study."""
    torch.set_num_threads(plan.configs[0].threads)
    missing = [network.recipe for network in plan.networks if store.find(network.key) is None]
    estimates = estimates_of(missing)
    known = [seconds for seconds in estimates if seconds is not None]
    if as_json:
        record = {
            "study": format_value(write(plan.study)),
            "axes": plan.axes,
            "trials": len(plan.trials),
            "networks": len(plan.networks),
            "found": len(plan.networks) - len(missing),
            "seconds": sum(known),
            "without estimate": len(estimates) - len(known),
        }
        print_json(record)
        return
    echo(f'study = "{format_value(write(plan.study))}"')
    for name, axis in plan.axes.items():
        echo(f"# {name}: {', '.join(map(str, axis))}")
    echo(f"# {len(plan.trials):,} trials of {plan.configs[0].samples:,} samples each")
    echo(f"# {len(plan.networks)} networks, of which the store has {len(plan.networks) - len(missing)}")
    others = f", without {len(estimates) - len(known)} whose time is not known" if len(known) < len(estimates) else ""
    echo(f"# training takes about {sum(known):.0f} s here{others}; sampling and metrics come on top")


def _go(
    plan: Plan,
    registry: Registry,
    store: Store,
    executor: Executor,
    folder: Path,
    options: Mapping[str, Any],
    observers: Sequence[Observer],
    *,
    resumed: bool,
) -> None:
    as_json = options["as_json"]
    progress = None if as_json else ExperimentProgress(Console())
    listeners = [] if progress is None else [progress]
    config = {"study": format_value(write(plan.study)), **plan.common}
    observed = RunInfo(folder, "study", config, resumed)
    with experiment_scope("study", folder, progress):
        cleared(folder, ("trials",))
        log = EventLog(folder / "events.jsonl")
        with event_scope([log, *listeners], observers, observed, {"study": plan.expression}) as events:
            findings = run_study(plan, registry, folder, store, executor=executor, observers=events)
        failures_of = Failures()
        report, files = write_report(plan, findings, folder, failures_of)
    page, unwritten = page_told(folder)
    failed = [f"metric {name!r} failed ({reason})" for row in findings.rows for name, reason in row.failures.items()]
    failed += [*map(str, failures_of.listed), *map(str, unwritten)]
    if as_json:
        print_json_text(read_text(folder / "study.json", MOST_EVENTS, folder))
    else:
        _tell(findings, report)
        if page is not None:
            echo(f"page: {page}")
        echo(f"folder: {display_path(folder)} ({', '.join(file.name for file in files)})")
    end_incomplete(failed, folder, "study")


def _tell(findings: Findings, report: Report) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for name, table in report.tables.items():
        header, rows = list(table.columns), shown(table)
        words = sum(all(isinstance(row[place], str) for row in table.rows) for place in range(len(header)))
        if words == 1 and table_width(header, rows) > console.width and len(rows) < len(header):
            turned = zip(header, *rows, strict=True)  # its rows fit where its columns do not
            header, *rows = map(list, turned)
        print_table(console, name, header, rows, words=words)
    for sentence in [*report.sentences, *failures(findings)]:
        echo(f"- {sentence}")
