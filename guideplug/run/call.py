"""A whole run as one call, `guideplug.run`: what the command of that name does, for notebooks, searches and clusters.

The command's options are the arguments. What the command prints, the call returns; what it refuses, the call raises.
"""

import contextlib
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from guideplug.errors import UsageError
from guideplug.executors.interrupt import Interrupted, interruptible
from guideplug.executors.torchrun import refuse_torchrun
from guideplug.files.display import display_path
from guideplug.files.opened import reading_once
from guideplug.guide import Guider
from guideplug.observe import Listener, Observer
from guideplug.recipe import Recipe
from guideplug.run.arguments import call_text, check_classes, expression_of, option_text
from guideplug.run.console import Console
from guideplug.run.earlier import check_same, other_torch, resumable
from guideplug.run.experiment import Experiment, folder_name
from guideplug.run.folder import RunFolder
from guideplug.run.outcome import Outcome
from guideplug.run.prepare import Resolved, prepare
from guideplug.run.progress import progress as progress_on
from guideplug.run.resolve import Request, read_file
from guideplug.run.result import RunResult
from guideplug.run.short_observers import with_short
from guideplug.run.summary import incomplete
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.store import Store, with_bundle
from guideplug.task import Network, Task

__all__ = ["carry_out", "run"]


@reading_once()
def run(
    guider: str | Guider | None = None,
    *,
    config: str | Path | None = None,
    task: str | Task | None = None,
    denoiser: str | Network | None = None,
    selector: str | Selector | None = None,
    sampler: str | Sampler | None = None,
    batch: int | None = None,
    duration: str | None = None,
    seed: int | None = None,
    samples: int | None = None,
    streams: str | None = None,
    models: Mapping[str, str | Path | Recipe] | None = None,
    sets: Mapping[str, Any] | None = None,
    device: str | None = None,
    observers: Sequence[str | Observer] | None = None,
    preview: str | None = None,
    measure: str | None = None,
    plugins: Sequence[str | Path] = (),
    out: str | Path | None = None,
    resume: str | Path | None = None,
    fresh: bool = False,
    bundle: bool = False,
    store: str | Path | None = None,
    progress: bool = False,
    listeners: Sequence[Listener] = (),
) -> RunResult:
    """Train, select, guide, sample and measure, as ``guideplug run`` does, with the same bits and the same files.

    Strategies are expressions, such as ``"autoguidance(weight=2.0)"``, or instances, ``Autoguidance(weight=2.0)``.
    None leaves an argument to the configuration file, and else to the task; ``"none"`` is no guider or no selector.

    Nothing is printed unless ``progress`` or an observer does. Ctrl-C in the main thread is a `KeyboardInterrupt` that
    leaves a folder to ``resume``; other threads are never interrupted. The number of torch's threads is put back. Code
    that ``plugins``, ``config`` or an expression names is run. ``guideplug report FOLDER`` makes the page of a run.

    Args:
        guider: how to guide.
        config: a TOML file, or a run's folder, whose values the other arguments override.
        task, denoiser, selector, sampler: the data, the main network's architecture, what is trained on, how to sample.
        batch: examples drawn for a step.
        duration: how long to train: ``"512it"``, ``"3.3Mex"``, ``"90s"``.
        seed: decides initial weights and every draw of the training.
        samples: of each arm.
        streams: the samples' random streams: ``"counter"``, the default, or ``"edm2"`` for those of EDM2's sampler.
        models: networks for roles: a file, a recipe's expression, or a recipe.
        sets: single options by their keys: ``{"train.lr": 1e-3, "threads": 1}``; texts are read as expressions.
        device: ``"cpu"``, ``"cuda"``; by default CUDA where there is one.
        observers: observers of the run, such as ``"tensorboard"``.
        preview, measure: samples as PNG, and metrics, along the training, as in ``"every=500it,samples=64"``: short for
            ``observers=["preview(every=500it,samples=64)"]``.
        plugins: local plugin files.
        out: a new folder for the results; by default one under ``runs/``.
        resume: the folder of an interrupted run, to go on with it; leave out ``config`` and ``out``.
        fresh: train every network anew, even if it is stored.
        bundle: copy the networks' store entries into the folder, so that it runs elsewhere without training.
        store: the folder where trained networks are kept; by default that of the command.
        progress: whether to show bars, or lines where there is no terminal.
        listeners: receive each event of this process's run; unlike observers they are in no configuration.

    Raises:
        GuideplugError: what is wrong, where, and what to do: before any work, or what failed in it; the folder is kept.
        KeyboardInterrupt: the run was interrupted; a note says how to go on.
    """
    refuse_torchrun()
    if resume is not None and (out is not None or config is not None):
        raise UsageError("resume names the folder and its configuration: give no out and no config")
    arguments = {
        "guider": guider, "task": task, "denoiser": denoiser, "selector": selector, "sampler": sampler,
        "batch": batch, "duration": duration, "seed": seed, "samples": samples, "streams": streams,
        "device": device,
    }  # fmt: skip
    values = {key: expression_of(value) for key, value in arguments.items() if value is not None}
    if plugins:
        values["plugins"] = [str(path) for path in plugins]
    networks = {role: expression_of(model) for role, model in (models or {}).items()}
    pairs = [(key, option_text(key, value)) for key, value in (sets or {}).items()]
    instances = [*arguments.values(), *(observers or ()), *(models or {}).values()]
    folder = None if resume is None else resumable(Path(resume))
    place = config if folder is None else folder.config
    file = None if place is None else read_file(Path(place))
    named = None if observers is None else [expression_of(observer) for observer in observers]
    configured = () if file is None else file.values.get("observers", ())
    watching = with_short(named, {"preview": preview, "measure": measure}, configured)
    if watching is not None:
        values["observers"] = watching
    command = call_text("run", {**values, "models": networks, "sets": dict(pairs), "config": config, "out": out})

    def check(run: Resolved) -> Resolved:
        for instance in instances:
            check_classes(instance, run.registry)
        if folder is not None and file is not None:
            record = folder.record() if folder.begun else {}
            check_same(run, folder.path, file, record)
            if note := other_torch(record):
                warnings.warn(note, stacklevel=5)
        return run

    threads = torch.get_num_threads()
    try:
        prepared = prepare(Request(values=values, models=networks, sets=pairs, file=file), check).run
        if folder is None:
            folder = RunFolder.create(None if out is None else Path(out), folder_name(prepared.config))
        kept = Store.default() if store is None else Store(Path(store))
        if file is not None:
            kept = with_bundle(kept, file.folder)
        experiment = Experiment(
            prepared.config, prepared.registry, kept, folder, fresh=fresh, bundle=bundle, command=command
        )
        with contextlib.closing(progress_on(Console())) if progress else contextlib.nullcontext() as bars:
            experiment.listeners = [*listeners, *([] if bars is None else [bars])]
            outcome = carry_out(experiment)
        if outcome.failures:
            warnings.warn(incomplete(outcome, f"guideplug.run(resume={str(folder.path)!r})"), stacklevel=2)
    finally:
        torch.set_num_threads(threads)
    return RunResult(outcome, experiment.config)


def carry_out(experiment: Experiment) -> Outcome:
    """Run the experiment; then pass a stopping signal on to this process's own handler."""
    try:
        with interruptible():
            return experiment.run()
    except Interrupted as interrupted:
        number = interrupted.exit_code - 128
    with _noting(f"go on with guideplug.run(resume={display_path(experiment.folder.path)!r})"):
        signal.raise_signal(number)
        raise KeyboardInterrupt  # this run stops even if the handler returns


@contextlib.contextmanager
def _noting(text: str) -> Iterator[None]:
    """A note on whatever is raised in the block."""
    try:
        yield
    except BaseException as error:
        error.add_note(text)
        raise
