"""Whatever is written into an expression or a configuration: an answer in one line, or a strategy, within a second.

The suite takes a quick pass. A long one takes as many inputs as ``GUIDEPLUG_FUZZ`` says, in all:
``GUIDEPLUG_FUZZ=100000 pytest tests/config/test_fuzz.py``.
"""

import contextlib
import gc
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guideplug import Guider, Network, Registry, Sampler, Selector, Task, WeightSchedule
from guideplug.config import Duration, Reader, along_range, expand_ranges, format_value, without_ranges, write
from guideplug.errors import GuideplugError
from guideplug.experiments.comparison.config_file import OWN_KEYS, read_grid
from guideplug.features import Features
from guideplug.files.trust import guarded
from guideplug.objective import Objective
from guideplug.recipe import Recipe
from guideplug.reward import Reward
from guideplug.run.resolve import KEYS, Request, read_file, resolve, to_toml
from guideplug.study import Study

INPUTS = int(os.environ.get("GUIDEPLUG_FUZZ", "1000"))
SECONDS = 1.0
KINDS: list[Any] = [
    Guider, Selector, Sampler, Task, Network, Recipe, WeightSchedule, Reward, Objective, Features, Study,
]  # fmt: skip
REGISTRY = Registry.installed()
READER = Reader(REGISTRY)

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


def fuzzed(share: float) -> Callable[[Any], Any]:
    """So much of all inputs; hypothesis keeps no examples, since these are not to depend on earlier runs."""
    return settings(
        max_examples=max(int(INPUTS * share), 1), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


def answered(do: Callable[[], object]) -> object:
    """What came of it, or the refusal; anything else raises."""
    begin = time.process_time()
    found: object
    try:
        found = do()
    except GuideplugError as error:
        found = error
        assert "\n" not in str(error).strip() or "TOML" in str(error), str(error)
        assert str(error).strip()
    if time.process_time() - begin >= SECONDS:  # perhaps a collection of the test's own garbage fell into it
        gc.collect()
        begin = time.process_time()
        with contextlib.suppress(GuideplugError):
            do()
    taken = time.process_time() - begin
    assert taken < SECONDS, f"{taken:.1f} s"
    return found


# Texts

NAMES = sorted({name for kind in KINDS for name in REGISTRY.names(kind.kind)})
OPTIONS = ["weight", "low", "high", "guider", "guiders", "shares", "of", "duration", "num_steps", "selector", "task"]
VALID = [
    "cfg(weight=2)", "interval(autoguidance(weight=ramp(1, 4)), low=0.1, high=2)", "early-jest(filter_ratio=0.5)",
    "blend([cfg(weight=2), autoguidance], shares=[0.4, 0.6])", "heun(num_steps=18, churn=40, churn_max=1)",
    "train(duration=512it, seed=1)", "snapshot(of=main, ema=0.07, at=1kit)", "tree(classes=both, labels=true)",
    "synthetic(of=main, guider=cfg(weight=1:3:0.5), samples=100)", "points('a.csv', label=none)", "load(path='a.pt')",
    "python('no.such:thing')", "classifier('./no/file.py:f', weight=1e3)", "posterior(operator='a.npy', noise=.1)",
    "augmented(of=resampled(of=main), share=0.5)", "unbiased(topk(ratio=.25))", "weights(seeds=[0, 1, 2])",
    "zip(blend([cfg(weight=1:3:0.5), autoguidance(weight=1:3:0.5)]))",
    "blend([zip(cfg(weight=1:2:1)), sims(omega=0:1:1)])",
]  # fmt: skip
TOKENS = [
    *"()[],=:'\"\\ \n\t-+.~/_", "inf", "nan", "none", "true", "1e308", "1e400", "-1", "0", "0x10", "1_000", "9" * 400,
    "512it", "3.3Mex", "90s", "1e9999it", "1:3:0.5", "0:1e9:1", "a.b:c", "x.py:f", "\x00", "\x1b[2J", "\u2028",
    "\ud800", "\u202e", "é", "𝛔", "²", "٣", *NAMES, *(f"{name}=" for name in OPTIONS),
]  # fmt: skip


def mutated(originals: list[str]) -> st.SearchStrategy[str]:
    """A text with a few pieces of it replaced, repeated, or taken from another one."""

    def change(seed: int) -> str:
        draw = random.Random(seed)  # one number from hypothesis for a text: many draws would take most of the time
        text = draw.choice(originals)
        for _ in range(draw.randint(1, 4)):
            begin = draw.randint(0, len(text))
            end = min(begin + draw.randint(0, 12), len(text))
            other = draw.choice(originals)
            start = draw.randint(0, len(other))
            piece = draw.choice([draw.choice(TOKENS), text[begin:end] * 2, other[start : start + 20], ""])
            text = text[:begin] + piece + text[end:]
        return text

    return st.integers(0, 2**62).map(change)


def soup(seed: int) -> str:
    """Tokens in any order."""
    draw = random.Random(seed)
    return "".join(draw.choices(TOKENS, k=draw.randint(0, 25)))


SOUP = st.integers(0, 2**62).map(soup)
TEXTS = mutated(VALID) | SOUP | st.text(max_size=60)


@pytest.mark.slow
@fuzzed(0.6)
@given(TEXTS, st.sampled_from(KINDS))
def test_any_expression_is_answered(text: str, kind: Any) -> None:
    with guarded([]):
        found = answered(lambda: READER.expression(text, kind))
        if isinstance(found, kind):
            assert answered(lambda: READER.read(write(found), kind, kind.kind)) == found


@fuzzed(0.1)
@given(TEXTS)
def test_any_range_and_duration_is_answered(text: str) -> None:
    for reader in (expand_ranges, along_range, without_ranges):
        answered(lambda reader=reader: reader(text))  # type: ignore[misc]

    def duration() -> object:
        try:
            return Duration.of(text)
        except ValueError as error:  # what options make one line of
            return str(error)

    answered(duration)


# Configurations

WHOLE = st.integers(-(2**70), 2**70)
PLAIN = (
    st.booleans() | WHOLE | st.floats() | st.sampled_from(TOKENS) | st.sampled_from(VALID) | st.text(max_size=8)
    | st.dates() | st.times()
)  # fmt: skip
KEYS_INSIDE = st.sampled_from([*OPTIONS, "name", "weak", "main", "../x", "lr", "ema", "betas", "schedule"]) | st.text(
    max_size=4
)
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS_INSIDE, inner, max_size=4), max_leaves=8
)
TABLES = st.dictionaries(st.sampled_from([*KEYS, *OWN_KEYS, "nonsense"]), VALUES, max_size=4)


def real() -> Iterator[str]:
    """Configurations as runs write them."""
    for values in ({}, {"guider": "autoguidance", "selector": "early-jest"}, {"task": "digits", "guider": "cfg"}):
        yield to_toml(resolve(Request(values={"device": "cpu", **values}), REGISTRY))
    yield 'guiders = ["none", "autoguidance(weight=1.5:3:0.5)"]\nselectors = ["none", "jest"]\nseeds = [0, 1]\n'
    yield '[models.weak]\nname = "train"\nduration = "64it"\n\n[train]\nlr = 0.01\nema = [0.05]\n'


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "config.toml"


def read(file: Path, content: bytes) -> None:
    """Read a configuration as a run's and as a comparison's."""
    file.write_bytes(content)
    with guarded([]):
        answered(lambda: resolve(Request(file=read_file(file)), REGISTRY))
        answered(lambda: read_grid(file))


def encoded(table: dict[str, Any]) -> bytes:
    """A table as TOML, whatever is in it."""
    try:
        return tomli_w.dumps(table).encode("utf-8", "replace")
    except (TypeError, ValueError):
        return b"task = 1"


@pytest.mark.slow
@fuzzed(0.1)
@given(table=TABLES)
def test_any_table_is_answered(table: dict[str, Any], file: Path) -> None:
    read(file, encoded(table))


@fuzzed(0.15)
@given(text=mutated(list(real())))
def test_any_damaged_configuration_is_answered(text: str, file: Path) -> None:
    read(file, text.encode("utf-8", "replace"))


@fuzzed(0.05)
@given(content=st.binary(max_size=80) | SOUP.map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_answered(content: bytes, file: Path) -> None:
    read(file, content)


def test_texts_that_are_valid_are_read() -> None:
    found = [answered(lambda text=text: READER.expression(text, Guider)) for text in VALID]  # type: ignore[misc]
    assert [format_value(write(one)) for one in found if isinstance(one, Guider)]
