"""Each command reads each configuration file once, loads its plugins once, and resolves and tries each run once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from tiers import few

from guideplug.files import reading
from guideplug.registry.registry import Registry
from guideplug.run import preflight, resolve, stored_text
from guideplug.run.next_commands import next_commands

TOY = Path(__file__).with_name("toy.py")
TOY_RUN = ("--plugin", TOY, "--task", "toy", "--device", "cpu", "--set", "threads=1")
FILE = f"""
task = "toy"
guider = "autoguidance"
samples = 16
device = "cpu"
threads = 1
plugins = ["{TOY}"]

[models]
weak = "degraded(noise=0.3)"
"""
GRID = f"""
task = "toy"
guiders = ["none", "autoguidance"]
seeds = [0, 1]
snapshots = 1
samples = 16
device = "cpu"
plugins = ["{TOY}"]
"""


@attrs.define
class Counts:
    """What was done how often: files read as configuration, registries filled, runs resolved and tried."""

    files: Counter[Path] = attrs.field(factory=Counter)
    registries: int = 0
    resolved: int = 0
    tried: int = 0


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    found = Counts()
    proposing: list[bool] = []

    def proposed(*args: Any, **options: Any) -> list[str]:
        """The next commands, each of which is resolved and tried for its own run."""
        proposing.append(True)
        try:
            return next_commands(*args, **options)
        finally:
            proposing.pop()

    monkeypatch.setattr(stored_text, "next_commands", proposed)

    def counted(place: object, name: str, count: Callable[..., None]) -> None:
        function: Any = getattr(place, name)

        def wrapper(*args: Any, **options: Any) -> Any:
            if not proposing:
                count(*args)
            return function(*args, **options)

        monkeypatch.setattr(place, name, wrapper)

    def of_file(path: Path, most: int, within: Path | None = None) -> None:
        if path.suffix == ".toml" or path.parent.name == "denoisers":  # configurations, and sheets beside networks
            found.files[path.resolve()] += 1

    def of(name: str) -> Callable[..., None]:
        return lambda *args: setattr(found, name, getattr(found, name) + 1)

    counted(reading, "read_text", of_file)
    counted(Registry, "__init__", of("registries"))
    counted(resolve, "Roles", of("resolved"))
    counted(preflight, "_preflight", of("tried"))
    return found


def interrupted(cli: Any, monkeypatch: pytest.MonkeyPatch, *args: object) -> None:
    monkeypatch.setenv("TOY_INTERRUPT", "sample 1")
    cli.toy("--out", "begun", "--observer", "toy-interrupting", *args, code=130)
    monkeypatch.delenv("TOY_INTERRUPT")


def of_run(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    return ["run", *TOY_RUN, "--guider", "autoguidance", "--samples", 16]


def of_run_of_a_file(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    Path("file.toml").write_text(FILE)
    return ["run", "file.toml", "--trust", "--guider", "autoguidance(weight=3)", "--plugin", TOY]


def of_run_resumed(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    interrupted(cli, monkeypatch, "--guider", "autoguidance", "--model", "weak=degraded(noise=0.3)")
    return ["run", "--resume", "begun", "--plugin", TOY]


def of_dry_run(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    return [*of_run_of_a_file(cli, monkeypatch), "--dry-run"]


def of_sample(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    cli.toy("--out", "whole", "--guider", "sims(count=32)")
    return ["sample", "whole", "--guider", "sims(count=64)", "--plugin", TOY]


def of_sample_again(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    cli.toy("--out", "whole", "--guider", "autoguidance")
    return ["sample", "whole", "--guider", "autoguidance(weight=3)", "--plugin", TOY]


def of_sample_of_a_model(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    cli.toy("--out", "whole")
    return ["sample", *TOY_RUN, "--model", "main=whole/denoisers/main.safetensors"]


def of_compare(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    Path("grid.toml").write_text(GRID)
    return ["compare", "grid.toml", "--trust"]


def of_compare_resumed(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    Path("grid.toml").write_text(GRID)
    cli("compare", "grid.toml", "--trust", "--out", "compared")
    return ["compare", "--resume", "compared", "--trust"]


def of_study(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    return ["study", "toy-widths", "--plugin", TOY, "--device", "cpu"]


def of_study_resumed(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    cli("study", "toy-widths", "--plugin", TOY, "--device", "cpu", "--out", "studied")
    return ["study", "--resume", "studied", "--trust"]


def of_explain(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    return ["explain", "autoguidance", "--task", "toy", "--plugin", TOY, "--steps", 3]


def of_evaluate(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    np.save("samples.npy", np.zeros((8, 2), dtype=np.float32))
    return ["evaluate", "samples.npy", "--task", "toy", "--plugin", TOY]


def of_check(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    cli.toy("--out", "whole")
    return ["check", "whole/denoisers/main.safetensors", "--task", "toy", "--plugin", TOY]


def of_cite(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    cli.toy("--out", "whole", "--guider", "autoguidance")
    return ["cite", "whole", "--trust"]


def of_report(cli: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    cli.toy("--out", "whole", "--guider", "autoguidance")
    Path("whole/words.json").unlink()  # what it says is worked out anew
    return ["report", "whole", "--plugin", TOY]


RUNS: list[tuple[Callable[..., list[object]], int, int]] = [
    (of_run, 1, 1),
    (of_run_of_a_file, 1, 1),
    (of_run_resumed, 1, 1),
    (of_dry_run, 1, 1),
    (of_sample, 1, 1),
    (of_sample_again, 1, 1),
    (of_sample_of_a_model, 1, 1),
    (of_compare, 4, 2),
    (of_compare_resumed, 4, 2),
    (of_study, 2, 2),
    (of_study_resumed, 2, 2),
    (of_explain, 1, 1),
    (of_evaluate, 1, 0),
    (of_check, 1, 0),
    (of_cite, 1, 0),
    (of_report, 1, 0),
]
"""What prepares a command and gives its line, how many runs it resolves, and how many of them it tries."""

FAST = (of_run, of_run_of_a_file, of_sample_of_a_model, of_compare, of_study, of_explain, of_evaluate)


@pytest.mark.parametrize(
    ("line", "resolved", "tried"),
    few(RUNS, *(case for case in RUNS if case[0] in FAST)),
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_file_is_read_once_and_each_run_resolved_once(
    line: Callable[..., list[object]],
    resolved: int,
    tried: int,
    cli: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = line(cli, monkeypatch)
    counts: Counts = request.getfixturevalue("counts")
    cli(*words, code=None if words[0] == "check" else 0)
    assert {path.name: count for path, count in counts.files.items() if count > 1} == {}
    assert (counts.registries, counts.resolved, counts.tried) == (1, resolved, tried)


def test_a_guider_that_means_other_networks_than_its_file_names_is_refused(cli: Any) -> None:
    """Guiders that ask for one network may change places; a device that the command line overrides is not used."""
    Path("file.toml").write_text(
        FILE.replace('guider = "autoguidance"', 'guider = "sims(count=32)"')
        .replace("weak =", "synthetic =")
        .replace('device = "cpu"', 'device = "cuda:99"')
    )
    line = ("run", "file.toml", "--plugin", TOY, "--device", "cpu", "--dry-run", "--guider")
    said = cli.error(*line, "sims(count=64)")
    assert "asks for another network in the role 'synthetic' than [models.synthetic] of file.toml" in said
    cli(*line, "sims(count=32, omega=2)")
    cli(*line, "sims(count=64)", "--model", "synthetic=degraded(noise=0.1)")
