"""Every numeric option of every command and strategy at extreme values, as command lines: generated, not listed.

Options of commands come from the click tree, options of strategies from the registry, keys of configurations from
`TrainOptions` and the schemas. Each case is the cheapest command that reads the option, structures it, and uses it:
``explain``, or a dry run.
"""

import itertools
import json
import types
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Union, cast, get_args, get_origin

import attrs
import click
import numpy as np
from snapshots import write_snapshot

from guideplug import Duration, Network, Recipe, Registry, Study, Task, TrainOptions, strategy
from guideplug.cli.main import main
from guideplug.config import Strategy, format_value, write
from guideplug.testing.examples import required

__all__ = ["Case", "cases", "prepare_folder"]

BIG = "9" * 5000
VALUES = (
    "0", "-1", "inf", "-inf", "nan", "1e39", str(10**18), str(2**64), "1e-320", "", "many", BIG, "1_000", " 3 ", "٣",
)  # fmt: skip
LENGTHS = (*(f"{value}it" for value in VALUES[:9]), *(f"{value}s" for value in VALUES[:9]), *VALUES[9:])
"""The same as lengths of trainings."""

LISTS = {("mixture", "shares"): "[%, %, %, %]", ("points", "columns"): "[%, 2]"}
"""How a value is written in options that take a list of a certain length."""
NEEDED = {
    "of": "main", "on": "synthetic(of=main, count=64)", "guider": "autoguidance", "guiders": "[autoguidance]",
    "selector": "jest", "share": "0.5", "group": "0", "number": "1", "value": "1", "low": "0.1", "high": "1",
    "ema": "0.1", "folder": "snapshots",
}  # fmt: skip
"""Values of options without a default, beside those of `Strategy.example`."""
FURTHER = {
    "resampled": {"of": "synthetic(of=main, count=64)"}, "degraded": {"noise": "0.1"},
    "fine-tune": {"on": NEEDED["on"]}, "fit": {"guider": "autoguidance"}, "post-hoc": {"denoiser": "mixture-mlp"},
}  # fmt: skip
"""Values of options that one strategy needs otherwise."""
QUICK = {
    "mixture": "mixture(count=64)", "gaussian": "gaussian(count=64)", "digits": "digits", "tree": "tree",
}  # fmt: skip
RUN = ("run", "--dry-run", "--device", "cpu", "--set", "threads=1")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "run": (*RUN, "--task", "gaussian"),
    "compare": ("compare", "--dry-run", "--device", "cpu", "--task", "gaussian", "--set", "threads=1"),
    "study": ("study", "figure1", "--dry-run", "--device", "cpu"),
    "sample": ("sample", "one"),
    "watch": ("watch", "one", "--once"),
    "evaluate": ("evaluate", "one/samples.npz", "--task", "gaussian"),
    "check": ("check", "one/denoisers/main.safetensors", "--task", "gaussian"),
    "explain": ("explain", "autoguidance", "--task", "gaussian"),
    "store prune": ("store", "prune", "--dry-run"),
}
"""A cheap good command line for each command that has a numeric option."""


@attrs.frozen
class Case:
    """A command line with one option at an extreme value.

    Args:
        place: what has the option, such as "guider cfg" or "run".
        option: its name.
        typed: its value as typed.
        arguments: the command line.
        file: the text of the configuration ``case.toml``; empty where there is none.
    """

    place: str
    option: str
    typed: str
    arguments: tuple[str, ...]
    file: str = ""

    @property
    def name(self) -> str:
        """A short name."""
        typed = self.typed if len(self.typed) < 30 else f"{self.typed[:8]}... ({len(self.typed)})"
        return f"{self.place} {self.option}={typed!r}"


def prepare_folder(folder: Path) -> list[list[str]]:
    """Files that the cases read, in an empty folder, and commands that make more; these warm a process up as well."""
    rows = "\n".join(f"{number * 0.1},{(number * 7 % 5) * 0.2}" for number in range(100))
    (folder / "table.csv").write_text(f"a,b\n{rows}\n")
    np.save(folder / "images.npy", np.arange(40 * 64).astype(np.uint8).reshape(40, 8, 8, 1))
    (folder / "snapshots").mkdir()
    network = strategy("mixture-mlp", Network).build(strategy(QUICK["gaussian"], Task))
    for moment, length in itertools.product((1, 2, 3), ("0.050", "0.100")):
        write_snapshot(folder / "snapshots" / f"network-snapshot-{moment:07d}-{length}.pkl", network)
    short_run = ("--samples", "8", "--duration", "2it", "--device", "cpu", "--set", "threads=1")
    return [
        ["run", "--task", "gaussian", *short_run, "--out", "one"],
        ["explain", "cfg", "--task", "digits"],
        ["explain", "autoguidance", "--task", "tree"],
        ["explain", "sims", "--task", "mixture(count=64)"],
        [*RUN, "--task", "gaussian", "--selector", "jest"],
        ["evaluate", "one/samples.npz", "--task", "gaussian"],
        ["compare", "--dry-run", "--task", "gaussian"],
        ["study", "figure1", "--dry-run"],
    ]


def cases(folder: Path) -> Iterator[Case]:
    """Every case.

    Args:
        folder: where examples of strategies may write files.
    """
    yield from _of_commands()
    yield from _of_strategies(folder)
    yield from _of_configurations()


# Options of commands


def numeric_parameters() -> list[tuple[str, click.Option]]:
    """Every option of a command that takes a number, numbers or a length: by its type, or by its metavar."""
    return [
        (path, parameter)
        for path, command in _commands(main, "")
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden and _is_numeric(parameter)
    ]


def _is_numeric(parameter: click.Option) -> bool:
    metavar = parameter.metavar or ""
    numbers = click.types.IntParamType | click.types.FloatParamType
    return isinstance(parameter.type, numbers) or metavar in ("N", "N,N,...", "LENGTH", "DAYS", "SECONDS")


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def _of_commands() -> Iterator[Case]:
    for path, parameter in numeric_parameters():
        for value in LENGTHS if parameter.metavar == "LENGTH" else VALUES:
            typed = f"{parameter.opts[0]}={value}"
            yield Case(path, str(parameter.name), value, (*COMMANDS[path], typed))


# Options of strategies


def numeric(kind: Any) -> bool:
    """Whether a type holds numbers or lengths."""
    if kind in (int, float, Duration):
        return True
    if get_origin(kind) in (Union, types.UnionType, tuple):
        return any(map(numeric, get_args(kind)))
    return False


def strategies(registry: Registry) -> Iterator[tuple[str, str, type[Strategy]]]:
    """Each strategy that is offered, once: kind, name, class."""
    seen: set[type] = set()
    for plugin in registry.plugins:
        for offer in plugin.offers:
            if isinstance(offer.what, type) and offer.what not in seen:
                seen.add(offer.what)
                yield offer.kind, offer.name, offer.what


def numeric_options(cls: type) -> list["attrs.Attribute[Any]"]:
    """The options of a class that hold numbers."""
    attrs.resolve_types(cast(Any, cls))
    return [field for field in attrs.fields(cast(Any, cls)) if field.init and numeric(field.type)]


def _of_strategies(folder: Path) -> Iterator[Case]:
    for kind, name, cls in strategies(Registry.installed()):
        options = numeric_options(cls)
        kept = _needed(cls, folder) if options else {}
        for field in options:
            others = [f"{key}={text}" for key, text in kept.items() if key != field.alias]
            for value in LENGTHS if _is_length(field.type) else VALUES:
                for shape in [LISTS[name, field.name]] if (name, field.name) in LISTS else _shapes(field.type):
                    written = [*others, f"{field.alias}={shape.replace('%', value)}"]
                    text = f"{name}({', '.join(written)})"
                    yield Case(f"{kind} {name}", str(field.alias), value, _used(kind, name, text))


def _needed(cls: type[Strategy], folder: Path) -> dict[str, str]:
    """The options that a strategy needs beside the one at an extreme value, as texts."""
    texts = {key: format_value(write(value)) for key, value in cls.example(folder).items()}
    if issubclass(cls, Study):  # few trials: two members of each list
        defaults = {field.alias: field.default for field in attrs.fields(cast(Any, cls))}
        lists = {key: value for key, value in defaults.items() if isinstance(value, tuple) and value}
        texts |= {key: format_value(write(value[:2])) for key, value in lists.items()}
    for field in required(cls):
        if field.name in texts:
            continue
        if issubclass(cls, Recipe) and field.name not in NEEDED:
            continue  # a recipe's task, network and options are the main one's
        texts[field.name] = NEEDED[field.name]
    return texts | FURTHER.get(cls.name, {})


def _is_length(kind: Any) -> bool:
    return kind is Duration or (get_origin(kind) is not None and any(map(_is_length, get_args(kind))))


def _shapes(kind: Any) -> list[str]:
    """How a value is written in an option of a type."""
    parts = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    shapes = ["%"] if any(part in (int, float, Duration) for part in parts) else []
    for part in parts:
        if get_origin(part) is tuple:
            inner = get_args(part)
            one = _shapes(inner[0])[0]
            shapes.append("[" + ", ".join([one] * (1 if inner[-1] is Ellipsis else len(inner))) + "]")
    return shapes


def _used(kind: str, name: str, text: str) -> tuple[str, ...]:
    """The cheapest command that uses a strategy."""
    explain = ("explain", "autoguidance", "--task", QUICK["gaussian"])
    if kind == "guider":
        network = ("--denoiser", "digits-convolutional") if name == "sliding-window" else ()
        sampler = ("--sampler", "euler") if name == "cfg++" else ()
        return ("explain", text, "--task", QUICK[GUIDED.get(name, "mixture")], *network, *sampler)
    if kind == "weight":
        return ("explain", f"autoguidance(weight={text})", "--task", QUICK["gaussian"])
    if kind == "denoiser":
        return ("explain", "autoguidance", "--task", NETWORKS[name.split("-")[0]], "--denoiser", text)
    if kind == "task":
        return ("explain", "autoguidance", "--task", text)
    if kind == "sampler":
        return (*explain, "--sampler", text)
    if name in ("fit", "fitted"):
        return ("explain", "learned(autoguidance)", "--task", QUICK["gaussian"], "--model", f"weights={text}")
    if name in ("synthetic", "augmented", "resampled"):
        text = f"fine-tune(of=main, on={text})"
    if kind == "recipe":
        task = QUICK["mixture" if "resampled" in text else "gaussian"]
        return ("explain", "autoguidance", "--task", task, "--model", f"weak={text}")
    dry = (*RUN, "--task", QUICK["gaussian"])
    if kind in ("schedule", "noise"):
        return (*dry, "--set", f"train.{kind}={text}")
    if kind in ("selector", "observer"):
        return (*dry, f"--{kind}", text)
    if kind == "executor":
        return (*COMMANDS["compare"], "--executor", text)
    if kind == "features":
        return ("evaluate", "images.npy", "--features", text, "--reference", "images.npy")
    if kind == "study":
        return ("study", text, "--dry-run", "--device", "cpu")
    raise AssertionError(f"no command uses a {kind}: add one here")


NETWORKS = {
    "digits": "digits", "edm": "digits", "edm2": "digits", "images": "digits", "mixture": "gaussian(count=64)",
    "tree": "tree", "points": "points(table.csv)",
}  # fmt: skip
"""The task that a network is tried on, by the first word of its name."""
GUIDED = dict.fromkeys(
    ("perturbed-attention", "smoothed-energy", "skip-layer", "sliding-window", "frequency"), "digits"
)
"""The task that a guider is tried on, where it is not a mixture, which has labels."""


# Keys of configurations


def _of_configurations() -> Iterator[Case]:
    kinds = dict(configuration_keys())
    plain = ("run", "--dry-run", "--device", "cpu", "--task", "gaussian")
    for key, kind in kinds.items():
        for value in LENGTHS if _is_length(kind) else VALUES:
            for shape in _shapes(kind):
                yield Case("--set", key, value, (*plain, "--set", f"{key}={shape.replace('%', value)}"))
    for command, schema in (("run", "config"), ("compare", "compare-config")):
        for key, array in _schema_keys(schema):
            kind = kinds.get(key, tuple[int, ...] if array else int)
            for value in LENGTHS if _is_length(kind) else VALUES:
                for shape in _shapes(kind):
                    yield _of_toml(command, key, value, shape)


def _of_toml(command: str, key: str, value: str, shape: str) -> Case:
    length = key.endswith("duration")
    written = shape.replace("%", json.dumps(value, ensure_ascii=False) if length else value.strip())
    text = f'task = "gaussian"\ndevice = "cpu"\n{key} = {written}\n'
    return Case(f"TOML of {command}", key, value, (command, "case.toml", "--dry-run"), text)


def configuration_keys() -> list[tuple[str, Any]]:
    """The numeric keys of a run's configuration and their types."""
    attrs.resolve_types(TrainOptions)
    plain = [(key, int) for key in ("seed", "samples", "sample_seed", "sample_batch", "threads", "batch")]
    train = [(f"train.{field.name}", field.type) for field in numeric_options(TrainOptions)]
    return [*plain, ("duration", Duration), *train, ("report.weights", tuple[float, ...])]


def _schema_keys(name: str, prefix: str = "", schema: Any = None) -> Iterator[tuple[str, bool]]:
    """The numeric keys of a schema, and whether each is an array."""
    if schema is None:
        schema = json.loads((files("guideplug") / "schemas" / f"{name}.json").read_text())
    for key, described in schema.get("properties", {}).items():
        types_ = described.get("type")
        types_ = types_ if isinstance(types_, list) else [types_]
        if types_ == ["object"]:
            yield from _schema_keys(name, f"{prefix}{key}.", described)
        elif {"integer", "number"} & {*types_} or key == "duration":
            yield prefix + key, False
        elif types_ == ["array"] and described.get("items", {}).get("type") in ("integer", "number"):
            yield prefix + key, True
