"""Wrong plugins are answered in one line that names plugin, origin and contract; no run of one is finished.

An observer decides nothing: one that is wrong is left out with a line, and the run goes on; one that changed the run's
files fails it.
"""

from pathlib import Path

import pytest
import torch
from tiers import spread
from wrong_plugins import Case, asked, cases

from guideplug.cli.main import main

CASES = cases()
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the cases share: what a wrong plugin did cannot spoil what another finds there."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("case", spread(CASES, fast=11, slow=4), ids=str)
def test_a_wrong_plugin_is_answered(case: Case, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_STORE", str(kept))
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(tmp_path / "trusted"))
    answer = asked(case, tmp_path)
    assert answer.verdict == "right", f"{answer.verdict}: {answer.trace} {answer.lines}"


def test_the_table_is_of_a_hundred_and_more_of_every_kind() -> None:
    kinds = {case.kind for case in CASES}
    assert len(CASES) > 100
    assert kinds == {
        "sampler", "guider", "weight", "denoiser", "selector", "task", "metric", "observer", "recipe", "reward",
        "executor", "study",
    }  # fmt: skip
    assert len({str(case) for case in CASES}) == len(CASES)


def test_the_trace_is_printed_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    case = next(case for case in CASES if str(case) == "sampler raises-late")
    lines = CliRunner().invoke(main, ["--traceback", *case.command]).stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert any(line.startswith("Traceback") for line in lines)
    assert any('raise KeyError("no such' in line for line in lines)
    assert len(errors) == 1
    assert lines[-1] == errors[0]
