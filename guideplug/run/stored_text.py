"""What a run says of itself, kept as data: ``words.json`` in its folder.

Which way a metric is better, the sentences, the citations and the next commands come from the run's plugins. Kept in a
file, a page needs none of them: it can be made elsewhere, years later, and making it executes nothing that the folder
names. Of a folder without that file they are worked out with what is installed.
"""

import functools
import json
from pathlib import Path
from typing import Any

from guideplug.config import shell_quote, short
from guideplug.errors import GuideplugError
from guideplug.files.atomic import adding_to, whole_file
from guideplug.guide import Guider
from guideplug.recipe import MainRecipe
from guideplug.registry.registry import Registry
from guideplug.run.citation import bibtex
from guideplug.run.experiment import Outcome
from guideplug.run.folder import RunFolder, read_json
from guideplug.run.measure import metrics_of
from guideplug.run.resolve import Request, RunConfig, read_file, resolve
from guideplug.run.summary import cost_sentences, guidance_sentence, next_commands, notes, selection_sentence
from guideplug.run.sweep import strength

__all__ = ["WORDS", "keep_words", "words_of"]

WORDS = "words.json"


def keep_words(config: RunConfig, outcome: Outcome, registry: Registry) -> None:
    """Write ``words.json`` into the folder of a run that has ended."""
    with adding_to(outcome.folder), whole_file(outcome.folder / WORDS) as file:
        file.write((json.dumps(_words(config, outcome, registry), indent=1) + "\n").encode())


def words_of(folder: Path, registry: Registry | None = None) -> dict[str, Any]:
    """The words of a run: those in its folder, else worked out anew from its configuration and its metrics.

    Raises:
        GuideplugError: they are not there, and cannot be worked out with what is installed.
    """
    if (folder / WORDS).is_file():
        return read_json(folder / WORDS)
    run = RunFolder.existing(folder)
    file = read_file(run.config)
    known = registry if registry is not None else _installed()
    # Nothing is run, so neither the run's device nor its networks' files need be there.
    config = resolve(Request(values={"device": "cpu"}, file=file, check_files=False), known)
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").is_file() else None
    table = metrics_of(config.task, known)
    figure = run.figure(config.task.name)
    if metrics is None:
        return _plain_words(config, known, str(file.values.get("device", "")))
    return _words(config, Outcome(folder, metrics, table, figure), known)


@functools.cache
def _installed() -> Registry:
    """Installed plugins alone: what a folder names is not loaded on its word."""
    return Registry.installed()


def _words(config: RunConfig, outcome: Outcome, registry: Registry) -> dict[str, Any]:
    words = _plain_words(config, registry, config.device)
    return words | {
        "notes": [*words["notes"], *(f"warning: {text}" for text in outcome.metrics.get("warnings", ()))],
        "guidance": guidance_sentence(config, outcome),
        "selection": selection_sentence(config, outcome),
        "costs": cost_sentences(outcome),
        "next": next_commands(config, outcome, registry.names(Guider.kind)),
        "repeat": f"guideplug run {shell_quote(str(outcome.folder / 'config.toml'))}",
    }


def _plain_words(config: RunConfig, registry: Registry, device: str) -> dict[str, Any]:
    """What is known before anything is done."""
    main, slides = config.main, strength(config.guider)
    if isinstance(slides, str):
        reason = slides
    elif config.weights == ():
        reason = "The configuration asks for no weights: [report] weights is empty."
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
            {"name": metric.name, "better": metric.better, "aspect": metric.aspect}
            for metric in metrics_of(config.task, registry)
        ],
        "notes": notes(config),
        "no_slider": reason,
        "citations": citations,
    }
