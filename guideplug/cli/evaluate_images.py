"""``guideplug evaluate --features``: anybody's images, measured by features beside a reference."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from guideplug.cli.echo import echo
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json
from guideplug.cli.table import print_table
from guideplug.config import Reader, short
from guideplug.errors import UsageError
from guideplug.features import Features
from guideplug.files.image_sets import ImageSet, open_images
from guideplug.files.opening import is_there
from guideplug.metrics.gaussian import Gaussian
from guideplug.metrics.reference_statistics import ReferenceStatistics
from guideplug.registry.registry import Registry
from guideplug.run.console import Console
from guideplug.run.image_features import MOST_ROWS, ExtractedFeatures, FeatureReader
from guideplug.run.image_metrics import ASPECTS, BEST, RepeatedValue, image_metrics, without_bias

__all__ = ["evaluate_images"]

OF_TASKS: Final = ("task", "sampler", "figure")
SECONDS: Final = 10.0
"""Between two lines about progress."""


def evaluate_images(path: str, options: Mapping[str, Any]) -> None:
    """``guideplug evaluate --features``."""
    guard(options)
    _check(options)
    out = None if options["statistics"] is None else _new(Path(options["statistics"]))
    features: Features = Reader(Registry.installed(options["plugins"])).expression(options["features"], Features)
    sets = open_images(Path(path))
    if out is not None and len(sets) > 1:
        raise UsageError(f"{path} holds {len(sets)} sets of images, and --statistics is of one: give a file of one")
    device = None if options["device"] is None else torch.device(options["device"])
    reader = FeatureReader(features.loaded(device), _Progress())
    key = features.statistics_key or features.name
    if options["reference"] is None:
        reference, true = None, None
    else:
        reference, true = _reference(Path(options["reference"]), key, reader, options["seed"])
    training = None if options["train"] is None else _one(Path(options["train"]), "--train")

    record: dict[str, Any] = {"features": short(features), "images": {name: one.count for name, one in sets.items()}}
    arms: dict[str, dict[str, RepeatedValue]] = {}
    for name, images in sets.items():
        where = path if len(sets) == 1 else f"{path}, {name}"
        parts = reader.extract(images, where, repeats=options["repeats"], seed=options["seed"])
        if out is not None:
            whole = parts[0].moments
            for part in parts[1:]:
                whole = whole.merge(part.moments)
            ReferenceStatistics(Gaussian.of(whole), whole.count, features.identity).write(out, key)
        if reference is None:
            continue
        _check_fit(reference, parts[0], features, options["reference"])
        near = [] if training is None else [reader.nearest(training, options["train"], part.rows) for part in parts]
        arms[name] = image_metrics(parts, reference, true, near, options["seed"])
    if reference is not None:
        count = None if reference.count is None else reference.count
        record["reference"] = {"file": options["reference"], "images": count, "statistics_only": true is None}
        record["repeats"] = options["repeats"]
        record["arms"] = {name: {metric: _written(one) for metric, one in row.items()} for name, row in arms.items()}
        record["without_bias"] = {name: without_bias(row) for name, row in arms.items()}
    record["statistics"] = None if out is None else str(out)
    if options["as_json"]:
        print_json(record)
        return
    if reference is not None:
        _print(path, sets, features, arms, reference, options)
    if out is not None:
        echo(f"statistics: {out}")


def _check(options: Mapping[str, Any]) -> None:
    for name in OF_TASKS:
        if options[name] is not None:
            raise UsageError(f"--{name} is of a task's metrics, and --features of images': leave one of them out")
    if options["reference"] is None and options["statistics"] is None:
        raise UsageError(
            "--reference is missing: give statistics (.npz, .pkl) or images to measure against, or --statistics FILE "
            "to write those of these images"
        )
    if options["reference"] is None and options["train"] is not None:
        raise UsageError("--train is measured beside --reference: give both")


def _new(path: Path) -> Path:
    if path.suffix not in (".npz", ".pkl"):
        raise UsageError(f"--statistics {path}: give a name that ends in .npz or .pkl")
    if not path.parent.is_dir():
        raise UsageError(f"--statistics {path}: the folder {path.parent} does not exist")
    if is_there(path):
        raise UsageError(f"--statistics {path} is there already: give another name, or remove it")
    return path


def _one(path: Path, option: str) -> ImageSet:
    try:
        sets = open_images(path)
    except UsageError as error:
        raise UsageError(f"{option} {error}") from None
    if len(sets) > 1:
        raise UsageError(f"{option} {path} holds {len(sets)} sets of images, {', '.join(sets)}: give a file of one")
    return next(iter(sets.values()))


def _reference(
    path: Path, key: str, reader: FeatureReader, seed: int
) -> tuple[ReferenceStatistics, ExtractedFeatures | None]:
    """The statistics of a reference, and the features of its images where it is images."""
    if ReferenceStatistics.is_in(path):
        return ReferenceStatistics.read(path, key), None
    (true,) = reader.extract(_one(path, "--reference"), str(path), seed=seed)
    moments = true.moments
    return ReferenceStatistics(Gaussian.of(moments), moments.count, reader.function.features.identity), true


def _check_fit(reference: ReferenceStatistics, part: ExtractedFeatures, features: Features, file: str) -> None:
    """Refuse statistics of other features."""
    width, own = len(reference.gaussian.mean), part.rows.shape[1]
    if width != own:
        raise UsageError(
            f"statistics {file} are of {width} features, and {short(features)} has {own}: they are of others"
        )
    if reference.features and reference.features != features.identity:
        raise UsageError(
            f"statistics {file} are of features {reference.features}, and these are {features.identity}: they are of "
            "other weights or options"
        )


def _written(value: RepeatedValue) -> dict[str, Any]:
    return {"mean": value.mean, "deviation": value.deviation, "least": value.least, "values": list(value.values)}


def _print(
    path: str,
    sets: Mapping[str, ImageSet],
    features: Features,
    arms: Mapping[str, Mapping[str, RepeatedValue]],
    reference: ReferenceStatistics,
    options: Mapping[str, Any],
) -> None:
    repeats, count = options["repeats"], max(one.count for one in sets.values())
    per = f", {repeats} repeats of {count // repeats:,}" if repeats > 1 else ""
    names = list(dict.fromkeys(metric for row in arms.values() for metric in row))
    rows = [
        [f"{name} {BEST.get(name, '↑')}".rstrip(), ASPECTS[name], *(_cell(row[name], name) for row in arms.values())]
        for name in names
    ]
    print_table(Console(), f"{path}, {count:,} images{per}, {short(features)}", ["metric", "aspect", *arms], rows)
    of = "an unknown number of" if reference.count is None else f"{reference.count:,}"
    echo(f"reference: {options['reference']}, {of} images")
    for name, one in sets.items():
        if one.scale:
            echo(f"{name}: floats, read as images in {one.scale}")
    each = count // repeats
    for name, row in arms.items():
        echo(
            f"bias: the Fréchet distance of N images is too large by about c / N; by half of the {each:,}, "
            f"{name} would have {without_bias(row):.4g} without it: compare equal N"
        )
    if each <= len(reference.gaussian.mean):
        echo(f"note: {each:,} images are no more than {len(reference.gaussian.mean):,} features: much is bias")
    if each > MOST_ROWS and len(names) > 2:
        echo(f"note: distances between images are of {MOST_ROWS:,} of them")
    if len(names) == 2:
        echo("note: precision, coverage and kernel distance need the images of the reference, not its statistics")


def _cell(value: RepeatedValue, name: str) -> str:
    if value.deviation is None:
        return f"{value.mean:.4g}"
    least = f", least {value.least:.4g}" if BEST.get(name) == "↓" else ""
    return f"{value.mean:.4g} ± {value.deviation:.2g}{least}"


class _Progress:
    """A line to standard error every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + SECONDS

    def __call__(self, where: str, done: int, of: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS
            sys.stderr.write(f"{where}: {done:,} of {of:,} images\n")
