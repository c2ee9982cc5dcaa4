"""The reference pages of the documentation are what the code says: ``python tests/test_reference.py`` writes them.

docs/reference/configuration.md has the keys of a configuration and of ``--set``, docs/reference/strategies.md every
installed strategy with its options, docs/reference/python.md the public names.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import attrs
import click
import pytest

import guideplug
from guideplug import Registry, Strategy, Task, Train, TrainOptions
from guideplug.cli.main import main
from guideplug.cli.strategy_data import strategy_data, type_name
from guideplug.config import format_value, write
from guideplug.experiments.comparison.config_file import OWN_KEYS
from guideplug.run.resolve import KEYS, NUMBERS, STRATEGIES, RunConfig

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by `python tests/test_reference.py` from the code; edit the code. -->"

DEFAULTS: Mapping[str, str] = {
    "task": "the preset `default`, which is `tree`",
    "denoiser": "the task's",
    "guider": "`none`",
    "selector": "`none`",
    "sampler": "the task's",
    "seed": "that of the task's recipe, `0`",
    "samples": "the task's",
    "threads": "1 below a million parameters, else the physical cores",
    "device": "`cuda` where there is one, else `cpu`",
    "duration": "the task's",
    "batch": "the task's",
    "train": "the task's recipe, below",
    "models": "the task's recipes",
    "report": "nine weights, from off to twice as far as the run's",
    "observers": "`[]`",
}
"""What a key is when it is not given, where no field has the default."""
TYPES: Mapping[str, str] = {
    **dict.fromkeys(STRATEGIES, "expression"),
    **dict.fromkeys(NUMBERS, "int"),
    "streams": "name",
    "device": "name",
    "duration": "duration",
    "batch": "int",
    "train": "table",
    "models": "table of paths and expressions",
    "report": "table",
    "observers": "list of expressions",
    "plugins": "list of paths",
}
WORDS = {
    "train": "How the main network is trained: a key for each option below, `--set train.KEY=VALUE`.",
    "models": "Networks for roles: paths, or recipes' expressions; `--model ROLE=...`, `--set models.ROLE.KEY=VALUE`.",
    "report": "`weights`: those that the [page's slider](../reports.md#the-slider) moves through; `[]` for none.",
    "observers": "Who watches; they decide nothing. `--observer EXPR`.",
    "plugins": "Local plugin files; `--plugin FILE.py`.",
    "device": "`cpu`, `cuda`, `cuda:1` ...",
}
KINDS_OF = {
    "task": "Tasks",
    "guider": "Guiders",
    "weight": "Weight schedules",
    "selector": "Selectors",
    "sampler": "Samplers",
    "denoiser": "Networks",
    "recipe": "Recipes",
    "schedule": "Learning-rate schedules",
    "noise": "Noise distributions",
    "objective": "Objectives",
    "reward": "Rewards",
    "features": "Features",
    "observer": "Observers",
    "metric": "Metrics",
    "study": "Studies",
}
"""The order of the page of strategies; kinds that are not named here follow."""


def cell(text: str) -> str:
    """A text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    return f"`{cell(text)}`"


def table(*rows: tuple[str, ...]) -> list[str]:
    """Rows of a table, the first its heading."""
    head, *rest = rows
    return [f"| {' | '.join(row)} |" for row in (head, tuple("---" for _ in head), *rest)] + [""]


def default_of(attribute: Any) -> str:
    if attribute.default is attrs.NOTHING:
        return "must be given"
    value = attribute.default.factory() if hasattr(attribute.default, "factory") else attribute.default
    return code(format_value(write(value)))


def linked(source: str) -> str:
    """A source with its address as a link."""
    return re.sub(r"https?://[^\s,]+", lambda found: f"<{found[0]}>", source)


def helps(command: str) -> dict[str, str]:
    """What the command line says of its options, by their names without dashes."""
    found = cast(click.Group, main).commands[command]
    options = [parameter for parameter in found.params if isinstance(parameter, click.Option)]
    return {option.opts[0].removeprefix("--").replace("-", "_"): option.help or "" for option in options}


def key_rows() -> Iterator[tuple[str, ...]]:
    said = helps("run")
    fields = {attribute.name: attribute for attribute in attrs.fields(RunConfig)}
    for key in KEYS:
        field = fields.get(key)
        words = WORDS.get(key) or said.get(key) or (field.metadata["help"] if field is not None else "")
        default = DEFAULTS.get(key) or default_of(field)
        yield code(key), TYPES[key], default, cell(words[0].upper() + words[1:].rstrip("."))


def option_rows(cls: Any) -> Iterator[tuple[str, ...]]:
    attrs.resolve_types(cls)
    for attribute in attrs.fields(cls):
        unit = f" ({attribute.metadata['unit']})" if attribute.metadata["unit"] else ""
        meaning = cell(attribute.metadata["help"]) + unit
        yield code(attribute.name), cell(type_name(attribute.type)), default_of(attribute), meaning


def registered_tasks(registry: Registry) -> Iterator[Task]:
    """The tasks that need no options of the user's."""
    for cls in registry.classes(Task):  # type: ignore[type-abstract]
        if all(a.default is not attrs.NOTHING for a in attrs.fields(cls)):  # type: ignore[arg-type]
            yield cls()


def train_rows(registry: Registry) -> list[tuple[str, ...]]:
    """The options of training in which the tasks differ from the defaults, a column a task."""
    recipes = {task.name: task.recipe("main", None) for task in registered_tasks(registry)}
    chosen = {name: recipe.options for name, recipe in recipes.items() if isinstance(recipe, Train)}
    rows: list[tuple[str, ...]] = [("option", *map(code, chosen))]
    for attribute in attrs.fields(TrainOptions):
        values = [code(format_value(write(getattr(options, attribute.name)))) for options in chosen.values()]
        default = None if attribute.default is attrs.NOTHING else default_of(attribute)
        if any(value != default for value in values):
            rows.append((code(attribute.name), *values))
    return rows


def configuration() -> str:
    """The page of keys."""
    registry = Registry.installed()
    lines = [
        "# Configuration",
        "",
        NOTE,
        "",
        "Every key of a run's TOML file, which `--set KEY=VALUE` takes as well, and every key of a comparison's.",
        "What a run was given and what it took by default stand together in its `config.toml`. An unknown key is an",
        "error. [How they are written](../command-line.md#a-configuration-file), and [the rules of",
        "`--set`](../command-line.md#single-options).",
        "",
        "## A run",
        "",
        "A strategy is an [expression](../grammar.md), or a table with its `name`. Its options are keys below it:",
        "`guider.weight`, `sampler.num_steps`. The names and options that are installed: [strategies](strategies.md).",
        "",
        *table(("key", "type", "default", "meaning"), *key_rows()),
        "## Training",
        "",
        "The table `[train]`, and the options of every recipe that trains (`models.ROLE.options.KEY`).",
        "",
        *table(("option", "type", "default", "meaning"), *option_rows(TrainOptions)),
        "What the tasks choose instead:",
        "",
        *table(*train_rows(registry)),
        "## A comparison",
        "",
        "`guideplug compare CONFIG.toml` takes the keys of a run but `guider`, `selector` and `seed`, and these:",
        "",
        *table(("key", "what it may be"), *[(code(key), cell(kind)) for key, (_, kind) in OWN_KEYS.items()]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def strategies() -> str:
    """The page of everything that is installed."""
    registry = Registry.installed()
    lines = [
        "# Strategies",
        "",
        NOTE,
        "",
        "Everything that guideplug and its plugins bring, as `guideplug plugins show NAME` prints it. Any of it can be",
        "named in an [expression](../grammar.md). On your machine other plugins may bring more.",
        "",
    ]
    offered = [offer.kind for plugin in registry.plugins for offer in plugin.offers]
    for kind in [kind for kind in dict.fromkeys([*KINDS_OF, *offered]) if kind in offered]:
        lines += [f"## {KINDS_OF.get(kind, kind)}", ""]
        for name in registry.names(kind):
            lines += entry(registry, kind, name)
    return "\n".join(lines).rstrip() + "\n"


def entry(registry: Registry, kind: str, name: str) -> list[str]:
    """One strategy: what it is, who brings it, its options."""
    plugin = next(plugin for plugin in registry.plugins for o in plugin.offers if (o.kind, o.name) == (kind, name))
    lines = [f"### {name} {{#{kind}-{name}}}", ""]
    cls = registry.find(kind, name)
    data = strategy_data(cls, kind, name)
    if "preset" in data:
        return [*lines, f"A preset for `{data['preset']}`, whose options it takes. From `{plugin.distribution}`.", ""]
    source = f" Source: {linked(cell(data['source']))}." if data["source"] else ""
    summary = cell(data["summary"])
    lines += [f"{summary}{'' if summary.endswith('.') else '.'} From `{plugin.distribution}`.{source}", ""]
    if data["options"]:
        lines += table(("option", "type", "default", "meaning"), *option_rows(cls))
    return lines


ROOMS = {
    "denoise": "Denoisers",
    "weights": "Denoisers",
    "adapters": "Your own networks",
    "check": "Your own networks",
    "perturb": "Your own networks",
    "tensors": "Your own networks",
    "files.checkpoints.reading": "Your own networks",
    "run.open_network": "Your own networks",
    "guide": "Guiders",
    "select": "Selectors",
    "sample": "Samplers",
    "noise": "Noise and randomness",
    "task": "Tasks and data",
    "metrics": "Tasks and data",
    "dataset": "Tasks and data",
    "data_check": "Tasks and data",
    "reward": "Rewards",
    "features": "Features",
    "objective": "Recipes and training",
    "recipe": "Recipes and training",
    "recipes": "Recipes and training",
    "degrade": "Recipes and training",
    "study": "Studies",
    "paired": "Studies",
    "held_out": "Studies",
    "config": "Options and expressions",
    "imported": "Options and expressions",
    "hooks": "Plugins",
    "registry": "Plugins",
    "observe": "Plugins",
    "run.call": "Experiments",
    "run.result": "Experiments",
    "errors": "Errors",
}
"""The headings under which the names of a room stand; rooms that are not named here stand under their own name."""


def python() -> str:
    """The page of public names, whose words mkdocstrings takes from the code."""
    lines = [
        "# Python",
        "",
        NOTE,
        "",
        "The public names: what plugins and code of yours import from `guideplug`. Everything else may change",
        "without notice. `import guideplug` is quick; a name brings torch when it is first used. Checks and closed",
        "forms for tests are in [`guideplug.testing`](../hooks.md#checks).",
        "",
    ]
    headings: dict[str, list[str]] = {}
    rooms = list(dict.fromkeys([*ROOMS, *guideplug._ROOMS]))
    for room in [room for room in rooms if room in guideplug._ROOMS]:
        headings.setdefault(ROOMS.get(room, room), []).extend(
            f"{home(room, name)}.{name}" for name in guideplug._ROOMS[room]
        )
    for heading, names in headings.items():
        lines += [f"## {heading}", ""]
        for name in names:
            lines += [f"::: {name}", ""]
    return "\n".join(lines).rstrip() + "\n"


def home(room: str, name: str) -> str:
    """The module in which a public name is defined, where its documentation is."""
    value = getattr(import_module(f"guideplug.{room}"), name)
    module = getattr(value, "__module__", None)
    return module if isinstance(module, str) and module.startswith("guideplug.") else f"guideplug.{room}"


WRITTEN: Mapping[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "strategies.md": strategies,
    "python.md": python,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_reference_is_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == WRITTEN[name](), f"{name}: run python tests/test_reference.py"


def test_every_key_and_every_option_is_there() -> None:
    keys, options = (FOLDER / "configuration.md").read_text(), (FOLDER / "strategies.md").read_text()
    for key in [*KEYS, *OWN_KEYS, *(attribute.name for attribute in attrs.fields(TrainOptions))]:
        assert f"| `{key}` |" in keys
    for plugin in Registry.installed().plugins:
        for offer in plugin.offers:
            under = options.split(f"{{#{offer.kind}-{offer.name}}}")[1].split("\n### ")[0]
            if not isinstance(offer.what, str):
                assert issubclass(offer.what, Strategy)
                for attribute in attrs.fields(cast(Any, offer.what)):
                    assert f"| `{attribute.name}` |" in under


def test_every_public_name_is_there_once() -> None:
    lines = (FOLDER / "python.md").read_text().splitlines()
    names = [line.rpartition(".")[2] for line in lines if line.startswith("::: ")]
    assert sorted(names) == guideplug.__all__


def rewrite() -> None:
    for name, page in WRITTEN.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    rewrite()
