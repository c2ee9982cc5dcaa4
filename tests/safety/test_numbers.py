"""Numeric options at extreme values: a right result, or one line that names option, value and what to give; no hang.

`try_numbers.py` tries all of them, through the commands; here are a few, and every constructor.
"""

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from extremes import VALUES, Case, cases, numeric_options, numeric_parameters, strategies

from guideplug import Registry, TrainOptions
from guideplug.cli.number import Number, Whole
from guideplug.errors import GuideplugError
from guideplug.testing.examples import examples_of

PYTHON = [
    0, -1, 1, math.inf, -math.inf, math.nan, 1e39, 10**18, 2**64, 1e-320, 10**5000, -(10**400), 1.5, True, (),
    (math.nan,),
]  # fmt: skip
"""Values as arguments of Python; texts are no numbers, which commands and files refuse by their type."""

TRY = [sys.executable, str(Path(__file__).with_name("try_numbers.py"))]


@pytest.mark.parametrize(
    "chosen", [["--quick", "24"], pytest.param(["--every", "40", "--from", "7"], marks=pytest.mark.slow)], ids=" ".join
)
def test_extreme_values_are_refused_in_one_line_or_right(chosen: list[str]) -> None:
    done = subprocess.run([*TRY, *chosen], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " cases: " in done.stdout


def test_every_numeric_option_is_among_the_cases(tmp_path: Path) -> None:
    every = list(cases(tmp_path))
    tried = {(case.place, case.option) for case in every}
    for kind, name, cls in strategies(Registry.installed()):
        assert {(f"{kind} {name}", field.alias) for field in numeric_options(cls)} <= tried
    assert {("--set", f"train.{field.name}") for field in numeric_options(TrainOptions)} <= tried
    assert {(path, str(parameter.name)) for path, parameter in numeric_parameters()} <= tried
    assert len(every) > 4000
    assert {case.typed for case in every} >= set(VALUES)


def test_numbers_of_commands_are_of_one_kind() -> None:
    for path, parameter in numeric_parameters():
        texts = parameter.metavar in ("LENGTH", "N,N,...")
        assert texts or isinstance(parameter.type, Whole | Number), f"{path} {parameter.opts[0]}"


def test_constructors_refuse_in_one_short_line_and_at_once(tmp_path: Path) -> None:
    registry, number, begin = Registry.installed(), 0, time.process_time()
    others = [TrainOptions(duration="8it", batch=8)]  # type: ignore[arg-type]
    for kind, name, cls in strategies(registry):
        options = numeric_options(cls)
        example = next(examples_of(cls, tmp_path)) if options and kind != "recipe" else None
        for field in options if example is not None else []:
            number += tries(f"{kind} {name}", field, example)
    for field in numeric_options(TrainOptions):
        number += tries("train", field, others[0])
    assert number > 2000
    assert time.process_time() - begin < 30


def tries(place: str, field: "attrs.Attribute[Any]", example: Any) -> int:
    """Try each value in an option of an instance; how many."""
    for value in PYTHON:
        try:
            attrs.evolve(example, **{field.alias: value})
        except (ValueError, TypeError, GuideplugError) as error:
            message = str(error)
            assert len(message) < 700, f"{place} {field.name}"
            assert "\n" not in message, f"{place} {field.name}: {message}"
        except Exception as error:
            raise AssertionError(f"{place} {field.name}: {type(error).__name__}: {error}") from error
    return len(PYTHON)


def test_the_name_of_a_case_is_short() -> None:
    assert Case("run", "seed", "9" * 5000, ()).name == "run seed='99999999... (5000)'"
