"""The texts of a run, stored as data: ``words.json`` in its folder.

Directions of metrics, sentences, citations and next commands come from the run's plugins. Stored in a file, they let a
page be made without the plugins, on any machine, without executing code that the folder names. For a folder without the
file they are computed with the installed plugins.
"""

import functools
import json
from pathlib import Path
from typing import Any

from guideplug.config import command_line, short
from guideplug.errors import GuideplugError
from guideplug.files.atomic import whole_file
from guideplug.files.display import display_path
from guideplug.files.opening import is_there
from guideplug.recipe import MainRecipe
from guideplug.registry.registry import Registry
from guideplug.run.citation import bibtex
from guideplug.run.folder import RunFolder, read_json
from guideplug.run.measure import metrics_of
from guideplug.run.next_commands import next_commands
from guideplug.run.outcome import Outcome
from guideplug.run.resolve import Request, RunConfig, read_file, resolve
from guideplug.run.summary import cost_sentences, guidance_sentence, notes, selection_sentence
from guideplug.run.sweep import strength, too_costly

__all__ = ["WORDS", "keep_words", "words_of"]

WORDS = "words.json"


def keep_words(config: RunConfig, outcome: Outcome, registry: Registry) -> None:
    """Write ``words.json`` into the folder of a run."""
    with whole_file(outcome.folder / WORDS) as file:
        file.write((json.dumps(_words(config, outcome, registry, build=True), indent=1) + "\n").encode())


def words_of(folder: Path, registry: Registry | None = None) -> dict[str, Any]:
    """The texts of a run: those in its folder, else computed from its configuration and its metrics.

    Raises:
        GuideplugError: they are missing, and cannot be computed with the installed plugins.
    """
    if is_there(folder / WORDS):
        return read_json(folder / WORDS)
    run = RunFolder.existing(folder)
    file = read_file(run.config, folder)
    known = registry if registry is not None else _installed()
    # Nothing is run, so the run's device and its networks' files may be missing.
    config = resolve(Request(values={"device": "cpu"}, file=file, check_files=False), known)
    metrics = read_json(folder / "metrics.json") if is_there(folder / "metrics.json") else None
    table = metrics_of(config.task, known)
    figure = run.figure(config.task.name)
    if metrics is None:
        return _plain_words(config, known, str(file.values.get("device", "")))
    return _words(config, Outcome(folder, metrics, table, figure), known, build=False)


@functools.cache
def _installed() -> Registry:
    """Installed plugins alone: code that a folder names is not loaded."""
    return Registry.installed()


def _words(config: RunConfig, outcome: Outcome, registry: Registry, *, build: bool) -> dict[str, Any]:
    words = _plain_words(config, registry, config.device)
    return words | {
        "notes": [*words["notes"], *(f"warning: {text}" for text in outcome.metrics.get("warnings", ()))],
        **({"failures": [str(failure) for failure in outcome.failures]} if outcome.failures else {}),
        "guidance": guidance_sentence(config, outcome),
        "selection": selection_sentence(config, outcome),
        "costs": cost_sentences(config, outcome),
        "next": next_commands(config, outcome, registry, build=build),
        "repeat": command_line("run", Path(display_path(outcome.folder / "config.toml"))),
    }


def _plain_words(config: RunConfig, registry: Registry, device: str) -> dict[str, Any]:
    """Texts that the configuration alone decides."""
    main, slides = config.main, strength(config.guider)
    if isinstance(slides, str):
        reason = slides
    elif config.weights == ():
        reason = "The configuration asks for no weights: [report] weights is empty."
    elif costly := too_costly(config):
        reason = costly
    else:
        reason = "The samples of this task are too large to keep at several weights."
    try:
        citations = bibtex(config, registry, registry.plugin("core").version)
    except GuideplugError:
        citations = ""
    return {
        "task": short(config.task),
        "guider": None if config.guider is None else short(config.guider),
        "selector": None if not isinstance(main, MainRecipe) or main.selector is None else short(main.selector),
        "seed": main.training_seed,
        "device": device,
        "metrics": [
            {"name": metric.name, "better": metric.better, "aspect": metric.aspect, "formula": metric.formula}
            for metric in metrics_of(config.task, registry)
        ],
        "notes": notes(config),
        "no_slider": reason,
        "citations": citations,
    }
