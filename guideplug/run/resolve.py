"""A run's configuration: a request resolved to every option, and written as TOML that repeats the run.

Values come from, in order of precedence: ``--set``, the other options of the command line, a TOML file, the task's
defaults. The result names every option of every strategy, and the recipe of every network.
"""

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import tomli_w
import torch

from guideplug.config import (
    NONE,
    Reader,
    at_least,
    format_value,
    means_none,
    named,
    option,
    parse,
    refused_beforehand,
    short,
    write,
)
from guideplug.config.tree import Call, ListValue, Literal, Value, Word, field_name, is_name
from guideplug.errors import ConfigError, ExpressionError, RecipeError, SelectionError, UsageError, nearest
from guideplug.files.reading import installed_memory, parse_toml
from guideplug.guide import Guider, needs_of
from guideplug.observe import Observer
from guideplug.recipe import MainRecipe, Recipe, architecture
from guideplug.registry.registry import Registry
from guideplug.rng import DEFAULT_STREAMS, STREAMS
from guideplug.run.carried import settled
from guideplug.run.roles import Roles
from guideplug.run.task_answers import check_task
from guideplug.run.threads import MOST_THREADS, default_threads
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.task import Network, Task
from guideplug.train.selection import plan_of

__all__ = [
    "KEYS",
    "ConfigFile",
    "Request",
    "RunConfig",
    "observers_table",
    "read_file",
    "read_toml",
    "resolve",
    "to_table",
    "to_toml",
]

STRATEGIES = ("task", "denoiser", "guider", "selector", "sampler")
NUMBERS = ("seed", "samples", "sample_seed", "sample_batch", "threads")
KEYS = (
    *STRATEGIES,
    *NUMBERS,
    "streams",
    "device",
    "duration",
    "batch",
    "train",
    "models",
    "report",
    "observers",
    "plugins",
)
TABLES = ("train", "models", "report")


@attrs.frozen
class ConfigFile:
    """A configuration file that has been read: where it is, and its values by key."""

    path: Path
    values: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The folder that it is in."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def models(self) -> Mapping[str, Any]:
        """The networks that it names for roles."""
        models: Mapping[str, Any] = self.values.get("models", {})
        return models


@attrs.frozen
class Request:
    """What the user asked for, before it is resolved.

    Args:
        values: by key, as texts or plain values; strategies as expressions.
        models: for roles, a path, or a recipe's expression or table.
        sets: ``(key, text)`` pairs of ``--set``.
        spare_models: for roles, networks that are used if a strategy needs the role.
        spare_guider: the guider that the spare networks were made for; a spare network is ignored in a role for which
            the run's guider needs another network.
        file: a configuration file, whose values the others override.
        check_files: whether the files that recipes load must exist and match.
        spare_roles: whether roles that no strategy needs may be named, as in one request for several runs.
    """

    values: Mapping[str, Any] = attrs.field(factory=dict)
    models: Mapping[str, Any] = attrs.field(factory=dict)
    sets: Sequence[tuple[str, str]] = ()
    spare_models: Mapping[str, Any] = attrs.field(factory=dict)
    spare_guider: Any = None
    file: ConfigFile | None = None
    check_files: bool = True
    spare_roles: bool = False


@attrs.frozen(kw_only=True)
class RunConfig:
    """A resolved run: ``main`` is the main network's recipe, ``models`` those of the other roles."""

    task: Task
    main: Recipe
    guider: Guider | None
    selector: Selector | None
    sampler: Sampler
    models: Mapping[str, Recipe]
    samples: int = option(help="samples of each arm", validator=at_least(1))
    sample_seed: int = option(0, help="seed of the samples' random streams")
    streams: str = option(
        DEFAULT_STREAMS,
        help="the samples' random streams: counter, or edm2 for those of EDM2's sampler",
    )
    sample_batch: int = option(4096, help="samples per batch", validator=at_least(1))
    device: str = option("cpu", help="cpu, cuda, cuda:1 ...")
    threads: int = option(1, help="processor threads; the same bits need the same number", validator=at_least(1))
    plugins: tuple[str, ...] = option((), help="local plugin files")
    weights: tuple[float, ...] | None = option(
        None,
        help="[report] weights: those that the report's slider offers; none for a choice around the guider's own",
    )
    observers: tuple[Observer, ...] = option((), help="observers of the run; they do not change its results")

    @property
    def recipes(self) -> dict[str, Recipe]:
        """The recipes of all roles, the main one last, after its prerequisites."""
        return {**self.models, "main": self.main}


@refused_beforehand()
def resolve(request: Request, registry: Registry) -> RunConfig:
    """The run that a request means, with every option.

    Raises:
        UsageError: what is wrong, where, and what to do; nothing has been run.
    """
    raw = {} if request.file is None else dict(request.file.values)
    raw |= {key: value for key, value in request.values.items() if value is not None}
    train = dict(raw.pop("train", {}))
    models = {**raw.pop("models", {}), **request.models}
    report = dict(raw.pop("report", {}))
    for key in ("duration", "batch"):
        if key in raw:
            train[key] = raw.pop(key)
    sets = [_split_key(key, text) for key, text in request.sets]
    for (head, rest), value, text in sets:
        if not rest and head in NUMBERS:
            raw[head] = value
        elif not rest and head in ("duration", "batch"):
            train[head] = value
        elif not rest and head in (*STRATEGIES, "streams", "device"):
            raw[head] = text
        elif head == "train" and rest:
            train[rest] = value
        elif head == "report":
            report[rest] = value
        elif head == "models" and rest and "." not in rest:
            models[rest] = text

    reader = Reader(registry)
    changes = {key: [(rest, value) for (head, rest), value, _ in sets if head == key and rest] for key in STRATEGIES}

    def strategy(key: str, kind: type, default: object) -> Any:
        chosen = raw.get(key, default)
        if means_none(chosen) and key not in ("guider", "selector"):
            raise ConfigError(f"{key} is none: a run has one; name it, or leave it to the task")
        try:
            value_read = None if chosen is None or means_none(chosen) else reader.read(chosen, kind, key)
        except ExpressionError as error:
            raise ExpressionError(f"{key}: {error}") from None
        for rest, value in changes[key]:
            if value_read is None:
                raise ConfigError(f"--set {key}.{rest}: no {key} is chosen; give --{key}")
            value_read = reader.replaced(value_read, rest, value, key)
        return value_read

    if "task" not in raw and "default" not in registry.names("task"):
        raise ConfigError(f"no task is chosen: give --task; known: {', '.join(registry.names('task')) or 'none'}")
    task: Task = strategy("task", Task, "default")
    check_task(task)
    base = task.recipe("main", None)
    if not isinstance(base, MainRecipe):
        raise RecipeError(
            f"{named(task)} has no train recipe for its main network: it must offer one under the role 'main'"
        )
    options = base.options
    for name, value in train.items():
        options = reader.replaced(options, name, value, "train")
    seed = _whole(reader, raw, "seed", base.seed)
    network: Network = strategy("denoiser", Network, base.denoiser)
    plain = base.with_options(task=task, denoiser=network, options=options, seed=seed)
    guider: Guider | None = strategy("guider", Guider, None)
    selector: Selector | None = strategy("selector", Selector, None)
    sampler: Sampler = strategy("sampler", Sampler, task.sampler())
    if selector is not None:
        _check_plan(selector, options.batch)

    renewed = renewed_roles(_earlier_guider(request.spare_guider, reader), guider, task, plain)
    networks = {role: model for role, model in request.spare_models.items() if role not in renewed} | models
    roles = Roles(reader, plain, sampler, networks, _model_changes(sets), check_files=request.check_files)
    main: Recipe = roles.named("main") if "main" in models else plain
    own_network = architecture(main)
    if request.check_files and "sampler" not in raw and isinstance(own_network, Network):
        sampler = strategy("sampler", Sampler, own_network.sampler(task))
        roles.sampler_is(sampler)
    like = main.with_options(selector=None, models={}, start=None) if isinstance(main, MainRecipe) else plain
    if selector is not None and not isinstance(main, MainRecipe):
        raise ConfigError(
            f"selector {selector.name!r} has nothing to select from: the main network is a {main.name!r} recipe, "
            "not trained from scratch; leave out --selector, or give it to a fine-tuning, as in "
            "fine-tune(of=..., on=..., selector=...)"
        )
    if isinstance(main, MainRecipe):
        main = main.with_options(
            selector=selector,
            models={} if selector is None else roles.needed(selector.needs(task, like), f"selector {selector.name!r}"),
        )
        roles.main_is(main)
    needed: dict[str, Recipe] = {}
    if guider is not None:
        trained = main if isinstance(main, MainRecipe) else plain
        needs = {**{role: None for role in guider.may_use() if role in models}, **needs_of(guider, task, trained)}
        needed = roles.needed(needs, f"guider {guider.name!r}")
        if request.file is not None:
            before = _earlier_guider(request.file.values.get("guider"), reader)
            _check_networks_of_file(request.file, request.models, guider, renewed_roles(before, guider, task, trained))
    if isinstance(main, MainRecipe):
        main.check()
    if "main" in roles.changed and "main" not in models:
        raise ConfigError("--set models.main: it is trained here; write --set train.KEY, denoiser.KEY or seed")
    for role in [*models, *roles.changed]:
        if role not in {"main", *roles.known} and not request.spare_roles:
            known = ", ".join(sorted(roles.known)) or "none beside main"
            flag = f"--model {role}" if role in models else f"--set models.{role}"
            raise RecipeError(f"{flag}: nothing in this run has a role {role!r}; its roles are {known}")
    for role in {*(main.models if isinstance(main, MainRecipe) else ()), *needed}:
        if not is_name(role):
            raise RecipeError(f"the role {role!r} is no name: write a letter, then letters, digits, - or _")
    device = _device(str(raw.get("device", "auto")))
    numbers = {
        key: _whole(reader, raw, key, default)
        for key, default in (("samples", task.samples()), ("sample_seed", 0), ("sample_batch", 4096), ("threads", 1))
    }
    if "threads" not in raw:
        numbers["threads"] = default_threads(main)
    if request.check_files:  # the shape of a sample may come from a file
        _check_room("samples", numbers["samples"], task)
        _check_room("batch", options.batch, task)
    try:
        return RunConfig(
            task=task,
            main=main,
            guider=guider,
            selector=selector,
            sampler=sampler,
            models={**(main.models if isinstance(main, MainRecipe) else {}), **needed},
            streams=_streams(str(raw.get("streams", DEFAULT_STREAMS))),
            device=device,
            **numbers,
            plugins=reader.read(raw.get("plugins", ()), tuple[str, ...], "plugins"),
            weights=_weights(reader, report),
            observers=reader.read(raw.get("observers", ()), tuple[Observer, ...], "observers"),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _earlier_guider(expression: Any, reader: Reader) -> Guider | None:
    """The guider of an earlier configuration."""
    return None if expression is None or means_none(expression) else reader.read(expression, Guider, "guider")


def renewed_roles(before: Guider | None, guider: Guider | None, task: Task, main: Recipe) -> set[str]:
    """The roles for which a guider needs another network than an earlier guider, in the same run."""
    if before is None or guider is None:
        return set()
    needs = needs_of(before, task, main)
    return {role for role, recipe in needs_of(guider, task, main).items() if role in needs and needs[role] != recipe}


def _check_networks_of_file(file: ConfigFile, models: Mapping[str, Any], guider: Guider, renewed: set[str]) -> None:
    """Refuse a guider that means other networks than those that the file beside it names."""
    for role in sorted(renewed & (file.models.keys() - models.keys())):
        raise UsageError(
            f"guider {short(guider)} asks for another network in the role {role!r} than [models.{role}] of "
            f"{file.path}: give --model {role}=..., or take that table out of the file"
        )


def _whole(reader: Reader, raw: Mapping[str, Any], key: str, default: int) -> int:
    number: int = reader.read(raw.get(key, default), int, key)
    if number < (0 if key in ("seed", "sample_seed") else 1):
        least = "0 or more" if key in ("seed", "sample_seed") else "at least 1"
        raise ConfigError(f"{key} is {number}: it must be {least}")
    most = MOST_THREADS if key == "threads" else 2**63 - 1
    if number > most:
        raise ConfigError(f"{key} is {number:.3g}: it must be at most {most:,}")
    return number


def _weights(reader: Reader, report: Mapping[str, Any]) -> tuple[float, ...] | None:
    """The weights of the report's slider: empty for no slider, None for automatic ones."""
    for key in report:
        if key != "weights":
            raise ConfigError(f"[report] has an unknown key {key!r}{nearest(key, ('weights',))}; known: weights")
    if "weights" not in report:
        return None
    weights: tuple[float, ...] = reader.read(report["weights"], tuple[float, ...], "report.weights")
    for weight in weights:
        if not math.isfinite(weight):
            raise ConfigError(f"report.weights holds {weight}: give finite numbers, as in [1.0, 1.5, 2.0]")
    return weights


def _check_room(key: str, count: int, task: Task) -> None:
    """Refuse samples that exceed this machine's memory, before work begins."""
    size, memory = 4 * count * math.prod(task.space.shape), installed_memory()
    if size > memory:
        raise ConfigError(
            f"{key} is {count:,}: of task {task.name!r} they take {size / 1e9:,.0f} GB, and this machine has "
            f"{memory / 1e9:,.0f} GB of memory: give fewer"
        )


def _check_plan(selector: Selector, batch: int) -> None:
    try:
        plan_of(selector, batch, selector.init())
    except SelectionError as error:
        raise ConfigError(str(error)) from None
    except ValueError as error:
        raise ConfigError(f"selector {selector.name!r} with batch {batch}: {error}") from None


def _model_changes(sets: Sequence[tuple[tuple[str, str], Value, str]]) -> dict[str, list[tuple[str, Value]]]:
    changes: dict[str, list[tuple[str, Value]]] = {}
    for (head, rest), value, _ in sets:
        role, _, inner = rest.partition(".")
        if head == "models" and inner:
            changes.setdefault(role, []).append((inner, value))
    return changes


def _split_key(key: str, text: str) -> tuple[tuple[str, str], Value, str]:
    """A ``--set`` as its key's head and rest, the value, and its text."""
    head, _, rest = key.partition(".")
    head = field_name(head)
    if head == "plugins":
        raise ConfigError(f"--set {key}: plugins are named by --plugin FILE.py")
    if head == "observers":
        raise ConfigError(f"--set {key}: observers are named by --observer EXPR")
    if head not in KEYS:
        raise ConfigError(f"--set {key}: no such key{nearest(head, KEYS)}; known: {', '.join(KEYS[:-2])}")
    if not rest and head in TABLES:
        example = {"train": "lr=0.01", "models": "weak=PATH", "report": "weights=[1.0,2.0]"}[head]
        raise ConfigError(f"--set {key}: name what in it, as in {head}.{example}")
    if rest and head not in (*STRATEGIES, *TABLES):
        raise ConfigError(f"--set {key}: {head} is a plain value; write --set {head}=VALUE")
    try:
        return (head, rest), parse(text), text
    except ExpressionError as error:
        raise ExpressionError(f"--set {key}: {error}") from None


def read_file(path: Path, within: Path | None = None) -> ConfigFile:
    """A TOML configuration, or the one in a run folder; its keys are known.

    Args:
        path: a file that the user names, or a folder.
        within: the folder that a file belongs to, if the user names that; no link may lead out of it.

    Raises:
        ConfigError: it is missing, not TOML, or has an unknown key.
    """
    if path.is_dir():
        return ConfigFile(path, read_toml(path / "config.toml", KEYS, path))
    return ConfigFile(path, read_toml(path, KEYS, within))


def read_toml(path: Path, keys: Sequence[str], within: Path | None = None) -> dict[str, Any]:
    """The values of a TOML file with known keys, with paths made absolute; values of table keys must be tables.

    Raises:
        ConfigError: it is missing, not TOML, or has an unknown key.
    """
    try:
        raw = parse_toml(path, within)
    except FileNotFoundError:
        raise ConfigError(f"configuration {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration {path} is not TOML: {error}") from None
    except ValueError as error:
        raise ConfigError(f"configuration {path} cannot be used: {error}") from None
    for key in raw:
        if key not in keys:
            raise ConfigError(f"configuration {path} has an unknown key {key!r}{nearest(key, keys)}")
    for key in TABLES:
        if not isinstance(raw.get(key, {}), dict):
            raise ConfigError(f"configuration {path}: {key} must be a table, [{key}]")
    table: dict[str, Any] = settled(path.parent, raw)
    return table


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device is {name!r}: give cpu, cuda, cuda:1, ...") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device is {name!r}: give cpu, cuda, cuda:1, ...")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {name!r}, and no CUDA device can be used here: give --device cpu")
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise ConfigError(f"device is {name!r}, and there are {torch.cuda.device_count()} CUDA devices, from cuda:0 on")
    return name


def _streams(name: str) -> str:
    if name not in STREAMS:
        raise ConfigError(f"streams is {name!r}{nearest(name, STREAMS)}: give {' or '.join(STREAMS)}")
    return name


def to_toml(config: RunConfig) -> str:
    """The configuration as TOML that resolves to itself."""
    return tomli_w.dumps({**observers_table(config), **to_table(config)})


def observers_table(config: RunConfig) -> dict[str, Any]:
    """Observers as values of the configuration's TOML; empty without observers."""
    observers = [format_value(write(observer)) for observer in config.observers]
    return {"observers": observers} if observers else {}


def to_table(config: RunConfig) -> dict[str, Any]:
    """The values that decide a run, as in its TOML."""
    main = config.main
    plain = isinstance(main, MainRecipe) and main.task == config.task and main.on is None and main.start is None
    table: dict[str, Any] = {"task": format_value(write(config.task))}
    if isinstance(main, MainRecipe) and plain:
        table["denoiser"] = format_value(write(main.denoiser))
    for key, strategy in (("guider", config.guider), ("selector", config.selector), ("sampler", config.sampler)):
        table[key] = NONE if strategy is None else format_value(write(strategy))
    if isinstance(main, MainRecipe) and plain:
        table["seed"] = main.seed
    table |= {key: getattr(config, key) for key in NUMBERS if key != "seed"}
    if config.streams != DEFAULT_STREAMS:
        table["streams"] = config.streams
    table["device"] = config.device
    if config.plugins:
        table["plugins"] = list(config.plugins)
    if isinstance(main, MainRecipe) and plain:
        table["train"] = _table(main.options)
    models: dict[str, Any] = {
        role: "main" if recipe == config.main else _table(recipe, config.main) for role, recipe in config.models.items()
    }
    if not plain:
        models["main"] = _table(main)
    if models:
        table["models"] = models
    if config.weights is not None:
        table["report"] = {"weights": list(config.weights)}
    return table


def _table(instance: Any, main: Recipe | None = None) -> dict[str, Any]:
    """The options of a strategy as a TOML table; strategies inside it as expressions, groups of options as tables.

    The main recipe inside it is written as ``main``, so that the file defines it once.
    """
    value = write(instance) if main is None else _naming(write(instance), write(main), "main")
    assert isinstance(value, Call)
    named = {} if value.name == "table" else {"name": value.name}
    return named | {keyword.name: _plain(keyword.value) for keyword in value.kwargs}


def _naming(value: Value, target: Value, name: str) -> Value:
    """The value with each occurrence of ``target`` replaced by a name."""
    match value:
        case Call() if value == target:
            return Word(name)
        case Call():
            kwargs = tuple(
                dataclasses.replace(keyword, value=_naming(keyword.value, target, name)) for keyword in value.kwargs
            )
            return dataclasses.replace(value, kwargs=kwargs)
        case ListValue(items):
            return ListValue(tuple(_naming(item, target, name) for item in items))
    return value


def _plain(value: Value) -> Any:
    match value:
        case Call(name="table"):
            return {keyword.name: _plain(keyword.value) for keyword in value.kwargs}
        case Literal(None):
            return NONE
        case Literal(float() as number) if math.isinf(number):
            return number
        case Literal(plain):
            return plain
        case Word(text):
            return text
        case ListValue(items):
            return [_plain(item) for item in items]
    return format_value(value)
