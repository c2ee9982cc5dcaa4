"""One experiment: networks, samples guided and unguided from the same noise, metrics, a figure, files."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import tomli_w
import torch

from guideplug.config import command_line, format_value, named, plugin_errors, short, write
from guideplug.denoise import Denoiser, Leaf
from guideplug.errors import ContractError, RunError, WriteError, visible
from guideplug.executors.interrupt import Interrupted, StopToken, defer_signals, handle_signals
from guideplug.files.atomic import at_work_in, changed_files, cleared
from guideplug.files.display import display_path
from guideplug.files.opening import is_there
from guideplug.files.tensors import write_tensors
from guideplug.guide import nested_guiders
from guideplug.observe import Listener, Observers, RunInfo
from guideplug.recipe import MainRecipe, architecture
from guideplug.registry.registry import Registry
from guideplug.run.arms import check_weights, draw_arms_of_run, evaluations_by_role
from guideplug.run.builder import Built, StoreBuilder
from guideplug.run.carried import carried, files_of
from guideplug.run.checked import check_lines
from guideplug.run.code import code_of, code_of_plugin
from guideplug.run.folder import EventLog, RunFolder
from guideplug.run.moments import TrainingMoments
from guideplug.run.outcome import Outcome
from guideplug.run.preflight import denoiser_of, guided
from guideplug.run.resolve import RunConfig, observers_table, to_table
from guideplug.run.results import Results, kept_samples, save_samples
from guideplug.run.tried import try_arms
from guideplug.store import Store, write_bundle
from guideplug.task import Arm

__all__ = ["Experiment", "folder_name"]


@attrs.define
class Experiment:
    """A resolved run, ready to go.

    Args:
        config: everything resolved.
        registry: for further metrics.
        store: where networks are kept.
        folder: where the results go.
        listeners: receive events beside the event log and the configuration's observers, such as progress bars.
        kind: "run", or "sample" where the networks of another run are guided.
        fresh: train every network anew.
        bundle: copy the stored networks into the folder; a resumed run does so if it began so.
        command: the command line, for the record.
    """

    config: RunConfig
    registry: Registry
    store: Store
    folder: RunFolder
    listeners: Sequence[Listener] = ()
    kind: str = "run"
    fresh: bool = False
    bundle: bool = False
    command: str = ""
    _warnings: list[str] = attrs.field(factory=list, init=False)
    _resumed: bool = attrs.field(default=False, init=False)

    def run(self) -> Outcome:
        """Carry out the run.

        Raises:
            GuideplugError: what failed; the folder is kept and records the failure.
            UsageError: another process is at work in the folder.
            Interrupted: SIGINT or SIGTERM; the folder can be resumed.
        """
        check_weights(self.config.guider, self.config.samples)
        with at_work_in(self.folder.path):
            return self._run()

    def _run(self) -> Outcome:
        torch.set_num_threads(self.config.threads)
        with handle_signals(self._leave) as stop:
            try:
                return self._observed(stop)
            except WriteError as error:
                raise RunError(f"{error}; {self._resume}") from None
            except OSError as error:
                failure = f"a file cannot be written ({error.strerror or error}: {error.filename})"
                raise RunError(f"{failure}; {self._resume}") from None

    def _observed(self, stop: StopToken) -> Outcome:
        """Carry out the run, and record its final status."""
        cleared(self.folder.path, ("denoisers", "figures"))
        resumed = self._resumed = is_there(self.folder.config)
        if not resumed:
            self._write_config()
        record = self._record()
        if self.folder.begun:  # resumed: keep the command that began the run
            before = self.folder.record()
            record["command"] = before.get("command", self.command)
            self.bundle = self.bundle or before.get("bundle", False)
        record["bundle"] = self.bundle
        self.folder.write_json("run.json", {**record, "status": "running"})
        observers = Observers([EventLog(self.folder.events), *self.listeners])
        watched = RunInfo(self.folder.path, self.kind, to_table(self.config), resumed)
        observers.open(self.config.observers, watched)
        observers("run", folder=display_path(self.folder.path), kind=self.kind, resumed=resumed, **self._plan())
        status, failed = "failed", None
        try:
            with plugin_errors():
                outcome = self._work(observers, stop)
            self._check_files()
            status = "incomplete" if outcome.failures else "finished"
            failed = "; ".join(map(str, outcome.failures)) or None
        except Interrupted:
            status = "interrupted"
            raise
        except OSError as error:
            failed = f"a file cannot be written ({error.strerror or error}: {error.filename})"
            raise
        except Exception as error:
            failed = " ".join(f"{error}".split()) or type(error).__name__
            raise
        finally:
            with defer_signals():
                observers("end", status=status, error=failed)
                observers.close()
                with (
                    nullcontext() if status in ("finished", "incomplete") else suppress(WriteError)
                ):  # report the first failure, not this one
                    self.folder.update_record(status=status)
        return outcome

    def _check_files(self) -> None:
        """Refuse results that were changed while observers had the folder.

        Raises:
            ContractError: the files, and who had their folder.
        """
        changed = changed_files(self.folder.path) if self.config.observers else []
        if changed:
            who = " or ".join(map(named, self.config.observers))
            raise ContractError(
                f"{who} changed files of the run, {', '.join(changed[:3])}: a listener writes to a subfolder of its own"
            )

    @property
    def resume(self) -> str:
        """The command that resumes the run."""
        return command_line("run", "--resume", Path(display_path(self.folder.path)), store=self.store.elsewhere)

    @property
    def _resume(self) -> str:
        return f"go on with {self.resume}"

    def _leave(self) -> None:
        """Close the run of a process that a signal cannot stop, as it is in one long computation."""
        sys.stderr.write(visible(f"interrupted; go on with: {self.resume}") + "\n")
        sys.stderr.flush()
        for listener in self.listeners:
            listener.close()
        self.folder.update_record(status="interrupted")

    def _plan(self) -> dict[str, Any]:
        """The plan of the run and its process, for listeners that see events alone."""
        config = self.config
        strategies = {"task": config.task, "guider": config.guider, "selector": config.selector}
        return {
            **{name: None if strategy is None else short(strategy) for name, strategy in strategies.items()},
            "roles": list(config.recipes),
            "arms": ["unguided"] if config.guider is None else ["unguided", "guided"],
            "samples": config.samples,
            "process": os.getpid(),
            "host": platform.node(),
        }

    def _work(self, observers: Observers, stop: StopToken) -> Outcome:
        config, device = self.config, torch.device(self.config.device)
        moments = TrainingMoments(config, self.registry, observers)
        builder = StoreBuilder(self.store, device, observers, fresh=self.fresh, stop=stop, along=moments.along)
        builder.expect(config.recipes)
        self._warn(observers, config.main.cautions())
        built: dict[str, Built] = {}
        for role, recipe in config.recipes.items():
            built[role] = builder.build(recipe)
            self._replace_time_limits(built)
        self._warn(observers, () if self._resumed else moments.missing())
        self._write_networks(built)
        if self.bundle:
            write_bundle(self.store, builder.identities(), self.folder.path)
        models = {role: denoiser_of(item.module, role) for role, item in built.items()}
        self._warn(observers, check_lines(built, config.task, config.samples))
        arms: dict[str, Denoiser] = {"unguided": models["main"]}
        if config.guider is not None:
            arms["guided"] = guided(config.guider, models)
        try_arms(arms, models, config.guider, config.sampler, config.task, device)
        kept = None if self.fresh else kept_samples(self.folder, arms)
        drawn, record = self._drawn(built, models, arms, observers, stop) if kept is None else kept
        titles = {} if config.guider is None else {"guided": f"guided: {short(config.guider)}"}
        drawn = {name: attrs.evolve(arm, title=titles.get(name, name)) for name, arm in drawn.items()}
        observers("sampled", arms=list(drawn), samples=config.samples)
        return Results(config, self.registry, self.folder, observers, stop, models, drawn, record).outcome()

    def _drawn(
        self,
        built: Mapping[str, Built],
        models: Mapping[str, Leaf],
        arms: Mapping[str, Denoiser],
        observers: Observers,
        stop: StopToken,
    ) -> tuple[Mapping[str, Arm], dict[str, Any]]:
        """The samples of each arm, which are kept, and the record of what they cost."""
        config = self.config

        def each(arm: str, done: int, total: int) -> None:
            observers("sample", arm=arm, done=done, total=total)
            stop()

        begin = time.perf_counter()
        drawn, tallies = draw_arms_of_run(
            config,
            arms,
            each=each,
            guider=config.guider,
        )
        seconds = {**_training_seconds(built), "sample": time.perf_counter() - begin}
        save_samples(self.folder, drawn)
        facts = built["main"].facts
        return drawn, {
            "seconds": seconds,
            "evaluations": {arm: evaluations_by_role(counts, models) for arm, counts in tallies.items()},
            "examples": {key: facts.get(key) for key in ("seen", "scored", "backpropagated")},
            "selection": {
                "switched_off_at": facts.get("switched_off_at"),
                "effective_sample_size": facts.get("effective_sample_size"),
                "composition": facts.get("composition"),
                "iterations": facts.get("iterations"),
            },
            "samples": config.samples,
            "found": [role for role, item in built.items() if item.found and item.recipe.stored],
            "warnings": self._warnings,
        }

    def _warn(self, observers: Observers, texts: Iterable[str]) -> None:
        """Emit a warning per text, and keep the texts for ``metrics.json``."""
        for text in texts:
            self._warnings.append(text)
            observers("warning", text=text)

    def _replace_time_limits(self, built: Mapping[str, Built]) -> None:
        """Replace time limits in the configuration by the iterations reached, at once, for a resumed run."""
        reached = {role: item.recipe for role, item in built.items()}
        models = {**self.config.recipes, **reached}
        main = models.pop("main")
        if isinstance(main, MainRecipe):
            main = main.with_options(models={role: models.get(role, recipe) for role, recipe in main.models.items()})
        if main != self.config.main or models != self.config.models:
            self.config = attrs.evolve(self.config, main=main, models=models)
            self._write_config()

    def _write_config(self) -> None:
        """Write ``config.toml``, and copies of the local code that it names."""
        table = carried(self.folder.path, {**observers_table(self.config), **to_table(self.config)})
        self.folder.write_text(self.folder.config, tomli_w.dumps(table))

    def _write_networks(self, built: Mapping[str, Built]) -> None:
        """Write the networks into the folder, each with its description."""
        networks = {}
        for role, item in built.items():
            denoiser = architecture(item.recipe)
            sheet = {
                "denoiser": None if denoiser is None else format_value(write(denoiser)),
                "task": format_value(write(self.config.task)),
                "recipe": format_value(write(item.recipe)),
                "identity": item.identity,
                "facts": dict(item.facts),
            }
            networks[role] = item.identity
            checkpoint = self.folder.checkpoint(role)
            if item.recipe.viewed is None:  # a view has no weights of its own
                write_tensors(checkpoint, item.module.state_dict())
            travelling = carried(self.folder.path, sheet, checkpoint.parent.absolute())
            self.folder.write_text(checkpoint.with_suffix(".json"), json.dumps(travelling, indent=1) + "\n")
        self.folder.update_record(networks=networks)

    def _record(self) -> dict[str, Any]:
        main = self.config.main
        return {
            "command": self.command,
            "started": time.time(),
            "versions": {
                "guideplug": self.registry.plugin("core").version,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "platform": platform.platform(),
            "device": self.config.device,
            "threads": self.config.threads,
            "seeds": {
                "main": main.training_seed,
                "samples": self.config.sample_seed,
            },
            "code": dict(code_of(self.config)),
            "git": _git_commit(),
            "files": files_of(to_table(self.config)),
            "guiders": [
                {"guider": short(guider), "content": content}
                for guider in nested_guiders(self.config.guider)
                if (content := guider.content())
            ],
            "plugins": [
                {
                    "name": plugin.name,
                    "from": str(plugin),
                    "sha256": plugin.digest or None,
                    "decides": code_of_plugin(plugin) if plugin.digest else None,
                    "broken": plugin.broken or None,
                    "disabled": plugin.disabled,
                }
                for plugin in self.registry.plugins
            ],
        }


def folder_name(config: RunConfig) -> str:
    """The name of a run's folder without the time: task, guider and selector."""
    main = config.main
    selector = main.selector if isinstance(main, MainRecipe) else None
    parts = [config.task, config.guider, selector]
    return "-".join(part.name for part in parts if part is not None)


def _training_seconds(built: Mapping[str, Built]) -> dict[str, float]:
    """Seconds of each training, which may have run in an earlier run."""
    main = built["main"].facts
    others = {item.identity: item.facts.get("seconds", 0.0) for role, item in built.items() if role != "main"}
    phases = main.get("phases", {})
    return {
        "train": main.get("seconds", 0.0),
        "reference": sum(others.values()),
        "score": phases.get("score", 0.0),
        "select": phases.get("select", 0.0),
    }


def _git_commit() -> str | None:
    try:
        process = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
