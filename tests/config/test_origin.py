"""Where a strategy comes from, and what a plugin raises as one line."""

import errno

import pytest
import torch
from attrs import frozen

from guideplug import ContractError, GuideplugError, Registry, Selector, named
from guideplug.config import breach, described, plugin_errors, refused_beforehand
from guideplug.config.origin import origin_of
from guideplug.config.strategy import Strategy
from guideplug.errors import ConfigError, Interrupted
from guideplug.registry.registry import KINDS


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_every_offered_class_has_the_origin_of_its_plugin(kind: type[Strategy]) -> None:
    registry = Registry.installed()
    for plugin in registry.plugins:
        for offer in plugin.offers:
            if offer.kind == kind.kind and isinstance(offer.what, type):
                assert origin_of(offer.what.__module__) == str(plugin)


@frozen
class Mine(Selector):
    """Of a test."""

    name = "mine"

    def plan(self, batch, state):
        raise AssertionError

    def select(self, losses, state, generator):
        raise AssertionError


def test_a_broken_contract_names_strategy_and_file() -> None:
    message = str(breach(Mine(), "returned None: return a Selection"))
    assert message.startswith(f"selector 'mine' of the local file {__file__} returned None")
    assert named(Mine()) in message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        (2.5, "2.5"),
        (True, "True"),
        (10**400, "an int"),
        ("text", "a str"),
        (torch.zeros(2, 3), "a Tensor of shape (2, 3) and type float32"),
    ],
)
def test_answers_in_words(value: object, words: str) -> None:
    assert described(value) == words


PLUGIN = """
from guideplug.errors import Interrupted

class Cancelled(BaseException):
    pass

def fails(how):
    raise {"key": KeyError("no\\nkey"), "exit": SystemExit(0), "base": Cancelled(), "disk": OSError(28, "full"),
           "file": FileNotFoundError(2, "none", "x.csv"), "memory": MemoryError("much"),
           "interrupt": KeyboardInterrupt(), "stop": Interrupted(130)}[how]
"""


@pytest.fixture
def fails(tmp_path):
    """A function of a local plugin that raises what its argument says."""
    path = tmp_path / "raising.py"
    path.write_text(PLUGIN + "\nimport guideplug\n\n@guideplug.hook\ndef guideplug_presets():\n    "
                    "return {'guider': {'x': 'cfg'}}\n")  # fmt: skip
    Registry().load_file(path)
    import sys

    return sys.modules["guideplug_local_raising"].fails


@pytest.mark.parametrize(
    ("how", "word"), [("key", "KeyError"), ("exit", "SystemExit"), ("base", "Cancelled"), ("file", "x.csv")]
)
def test_what_a_plugin_raises_is_one_line_with_its_place(fails, how: str, word: str) -> None:
    with pytest.raises(ContractError) as caught, plugin_errors():
        fails(how)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("raising.py", word, "line "):
        assert part in message
    assert caught.value.__cause__ is not None


MACHINE = {"disk": OSError, "memory": MemoryError, "interrupt": KeyboardInterrupt, "stop": Interrupted}


@pytest.mark.parametrize(("how", "kind"), MACHINE.items())
def test_errors_of_the_machine_pass(fails, how: str, kind: type[BaseException]) -> None:
    with pytest.raises(kind), plugin_errors():
        fails(how)
    assert errno.ENOSPC == 28


def test_a_bug_outside_of_plugins_keeps_its_trace() -> None:
    with pytest.raises(ZeroDivisionError), plugin_errors():
        1 / 0  # noqa: B018
    with pytest.raises(GuideplugError, match="mine"), plugin_errors():
        raise GuideplugError("mine")


def test_before_any_work_it_is_an_error_of_the_configuration(fails) -> None:
    with pytest.raises(ConfigError), refused_beforehand():
        fails("key")
