"""``guideplug sample`` as one call, `guideplug.sample_run`: networks guided anew, at one weight or at several."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from guideplug.config import has_range
from guideplug.executors.interrupt import interruptible
from guideplug.executors.torchrun import refuse_torchrun
from guideplug.experiments.weights.result import WeightSweep
from guideplug.experiments.weights.run_sweep import PARTS, run_sweep
from guideplug.experiments.weights.sweep_plan import plan_sweep
from guideplug.files.opened import reading_once
from guideplug.guide import Guider
from guideplug.observe import Listener
from guideplug.recipe import Recipe
from guideplug.run.arguments import call_text, check_classes, expression_of, option_text
from guideplug.run.call import carry_out
from guideplug.run.console import Console
from guideplug.run.experiment import Experiment, folder_name
from guideplug.run.folder import RunFolder
from guideplug.run.progress import progress as progress_on
from guideplug.run.resolve import Request
from guideplug.run.result import RunResult
from guideplug.run.sampled import prepare_sample
from guideplug.sample import Sampler
from guideplug.store import Store
from guideplug.task import Network, Task

__all__ = ["sample_run"]


@reading_once()
def sample_run(
    folder: str | Path | None = None,
    guider: str | Guider | None = None,
    *,
    task: str | Task | None = None,
    denoiser: str | Network | None = None,
    sampler: str | Sampler | None = None,
    seed: int | None = None,
    samples: int | None = None,
    streams: str | None = None,
    models: Mapping[str, str | Path | Recipe] | None = None,
    sets: Mapping[str, Any] | None = None,
    device: str | None = None,
    plugins: Sequence[str | Path] = (),
    out: str | Path | None = None,
    store: str | Path | None = None,
    progress: bool = False,
    listeners: Sequence[Listener] = (),
) -> RunResult | WeightSweep:
    """Guide a finished run, or a network of your own, without training it, as ``guideplug sample`` does.

    A guider with a range, ``"autoguidance(weight=1:3:0.25)"``, is drawn and measured at each number, from the same
    noise; its folder has a table, curves and a grid. Arguments are otherwise those of `guideplug.run`.

    Args:
        folder: of a finished run; None for networks of your own, which ``models`` names.
        guider: how to guide; by default as the run did.
        task, denoiser: of a network of your own.
        sampler, seed, samples, streams: of the samples; ``seed`` decides their noise.
        models, sets, device, plugins, out, store, progress, listeners: as of `guideplug.run`.

    Returns:
        The finished run; of a range, a `WeightSweep`.

    Raises:
        GuideplugError: what is wrong, where, and what to do: before any work, or what failed in it.
        KeyboardInterrupt: the work was interrupted.
    """
    refuse_torchrun()
    arguments = {"guider": guider, "task": task, "denoiser": denoiser, "sampler": sampler, "sample_seed": seed,
                 "samples": samples, "streams": streams, "device": device}  # fmt: skip
    values = {key: expression_of(value) for key, value in arguments.items() if value is not None}
    if plugins:
        values["plugins"] = [str(path) for path in plugins]
    networks = {role: expression_of(model) for role, model in (models or {}).items()}
    pairs = [(key, option_text(key, value)) for key, value in (sets or {}).items()]
    request = Request(values=values, models=networks, sets=pairs)
    earlier = None if folder is None else Path(folder)
    place = None if out is None else Path(out)
    command = call_text("sample_run", {"folder": folder, **values, "models": networks, "sets": dict(pairs), "out": out})
    kept = Store.default() if store is None else Store(Path(store))
    threads = torch.get_num_threads()
    with contextlib.closing(progress_on(Console())) if progress else contextlib.nullcontext() as bars:
        listening = [*listeners, *([] if bars is None else [bars])]
        try:
            if has_range(str(values.get("guider", ""))):
                plan = plan_sweep(earlier, request)
                sweep_folder = RunFolder.create(place, f"{folder_name(plan.config)}-weights", PARTS)
                with interruptible() as stop:
                    return run_sweep(plan, sweep_folder, kept, stop, listening, command)
            run = prepare_sample(earlier, request).run
            for instance in [*arguments.values(), *(models or {}).values()]:
                check_classes(instance, run.registry)
            run_folder = RunFolder.create(place, f"{folder_name(run.config)}-sampled")
            experiment = Experiment(run.config, run.registry, kept, run_folder, listening, "sample", command=command)
            return RunResult(carry_out(experiment), experiment.config)
        finally:
            torch.set_num_threads(threads)
