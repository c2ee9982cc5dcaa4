"""A run that is stopped at any moment can be resumed, and ends with the bits of one that was not."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from tiers import few

from guideplug.cli.main import main
from guideplug.files.tensors import read_tensors

TOY = Path(__file__).parents[1] / "cli" / "toy.py"
ENDLESS = [
    "run", "--plugin", str(TOY), "--task", "toy", "--guider", "autoguidance", "--selector", "toy-half",
    "--set", "sampler.num_steps=40", "--set", "threads=1", "--device", "cpu",
    "--observer", "toy-interrupting",
]  # fmt: skip
ARGUMENTS = [*ENDLESS, "--duration", "160it"]
PROGRAM = "from guideplug.cli import main; main(prog_name='guideplug')"
OFTEN = f"import guideplug.run.making as w; w.SECONDS_BETWEEN_STATES = 0.1; {PROGRAM}"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder and a store of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    for name in ("TOY_PAUSE", "TOY_DIVERGE", "TOY_INTERRUPT", "TOY_OBSERVER"):
        monkeypatch.delenv(name, raising=False)


def invoke(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [*arguments], prog_name="guideplug")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def unnoted(text: str) -> str:
    """Printed lines without the note that the machine is busy."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("note: "))


def outcome(folder: Path) -> dict[str, Any]:
    """All that must be the same to the bit: samples, weights, metrics without their seconds."""
    metrics = json.loads((folder / "metrics.json").read_text())
    with np.load(folder / "samples.npz") as arrays:
        samples = {name: arrays[name].tobytes() for name in arrays.files}
    weights = {path.name: path.read_bytes() for path in (folder / "denoisers").glob("*.safetensors")}
    same = {key: value for key, value in metrics.items() if key not in ("seconds", "found")}
    return {"metrics": same, "samples": samples, "weights": weights, "config": (folder / "config.toml").read_text()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of the run that nobody stopped, with a store of its own."""
    root = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GUIDEPLUG_STORE", str(root / "store"))
        for name in ("TOY_PAUSE", "TOY_INTERRUPT", "TOY_OBSERVER"):
            patch.delenv(name, raising=False)
        invoke(*ARGUMENTS, "--out", str(root / "run"))
    return outcome(root / "run")


def events(folder: Path = Path("out")) -> list[dict[str, Any]]:
    """The events; each line must be whole."""
    text = (folder / "events.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def check_log() -> None:
    """The log of a resumed run reads as one run's: no step twice, none missing, in order."""
    found = events()
    for role, last in (("weak", 40), ("main", 160)):
        steps = [event["step"] for event in found if event["event"] == "step" and event["role"] == role]
        assert steps == [*range(32, last, 32), last]
        assert sum(event["event"] == "trained" and event["role"] == role for event in found) == 1
    assert [event["status"] for event in found if event["event"] == "end"] == ["finished"]
    assert sum(event["event"] == "sampled" for event in found) == 1


def check_resumable(status: str = "interrupted") -> None:
    folder = Path("out")
    assert json.loads((folder / "run.json").read_text())["status"] == status
    assert (folder / "config.toml").is_file()
    assert not (folder / "metrics.json").exists()
    assert not list(folder.rglob("*.tmp"))


# In process, at chosen events


@pytest.mark.slow
@pytest.mark.parametrize(
    "event",
    few(
        ["step 1", "trained 1", "train 2", "step 4", "sample 1", "sample 55", "sampled 1", "measure 2"],
        "step 4",
        "sampled 1",
    ),
)
def test_interrupted_at_an_event_and_resumed(
    event: str, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_INTERRUPT", event)
    result = invoke(*ARGUMENTS, "--out", "out", code=130)
    assert unnoted(result.stderr) == "interrupted; go on with: guideplug run --resume out\n"
    check_resumable()
    monkeypatch.delenv("TOY_INTERRUPT")
    invoke("run", "--resume", "out")
    assert outcome(Path("out")) == undisturbed
    check_log()
    assert "finished" in invoke("run", "--resume", "out", code=2).stderr


@pytest.mark.proof
def test_interrupted_again_and_again(undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_INTERRUPT", "step 1")
    invoke(*ARGUMENTS, "--out", "out", code=130)
    trainings = 1
    while CliRunner().invoke(main, ["run", "--resume", "out"], prog_name="guideplug").exit_code == 130:
        trainings += 1
        assert trainings < 20
    assert trainings == 7  # at 32 and 40 of the weak one, at 32, 64 ... 160 of the main one
    assert outcome(Path("out")) == undisturbed
    check_log()


def test_an_interrupted_run_trains_what_is_left_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_INTERRUPT", "step 4")
    invoke(*ARGUMENTS, "--out", "out", code=130)
    monkeypatch.delenv("TOY_INTERRUPT")
    said = invoke("run", "--resume", "out").stdout
    assert "found weak in the store" in said
    assert "training main from step 64: 160 it" in said


def test_a_time_limit_that_was_reached_stays_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_INTERRUPT", "sample 1")
    limits = ["--set", "models.weak.options.duration=0.1s", "--duration", "0.2s"]
    invoke(*ENDLESS, *limits, "--out", "out", code=130)
    steps = [event["step"] for event in events() if event["event"] == "trained"]
    monkeypatch.delenv("TOY_INTERRUPT")
    said = invoke("run", "--resume", "out").stdout
    assert "training main" not in said
    assert "training weak" not in said
    invoke("run", "out/config.toml", "--out", "again", "--fresh")
    assert [event["step"] for event in events(Path("again")) if event["event"] == "trained"] == steps
    assert outcome(Path("out")) == outcome(Path("again"))


def test_a_guides_time_limit_that_was_reached_stays_while_main_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_INTERRUPT", "train 2")
    limits = ["--set", "models.weak.options.duration=0.05s", "--set", "selector=jest(num_chunks=2)"]
    invoke(*ARGUMENTS, *limits, "--out", "out", code=130)
    monkeypatch.delenv("TOY_INTERRUPT")
    said = invoke("run", "--resume", "out").stdout
    assert "training weak" not in said
    assert "training main begins: 160 it" in said


@pytest.mark.slow
def test_a_sampled_run_can_be_interrupted_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    invoke(*ARGUMENTS, "--out", "first")
    again = ("sample", "first", "--guider", "autoguidance(weight=3)", "--observer", "toy-interrupting", "--out")
    invoke(*again, "plain")
    monkeypatch.setenv("TOY_INTERRUPT", "sample 9")
    invoke(*again, "out", code=130)
    monkeypatch.delenv("TOY_INTERRUPT")
    invoke("run", "--resume", "out")
    assert outcome(Path("out")) == outcome(Path("plain"))


def test_a_run_that_diverged_says_where_it_was_well_and_a_new_one_begins_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide that is like the main network does not begin from the main one's weights."""
    monkeypatch.setattr("guideplug.run.making.SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setenv("TOY_DIVERGE", "6")
    common = ["run", "--plugin", str(TOY), "--task", "toy", "--guider", "autoguidance", "--device", "cpu"]
    said = invoke(*common, "--duration", "9it", "--out", "out", code=1).stderr.splitlines()[-1]
    found = re.search(
        r"training 'main' diverged: the loss of step 6 is not finite.*; its last good weights are those after step 6: "
        r"begin a new run from them with --model '(main=train\(start=load\(path=\"(.*)\"\)\))'$",
        said,
    )
    assert found is not None, said
    good = read_tensors(Path(found[2]))[0]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in good.values())
    monkeypatch.delenv("TOY_DIVERGE")
    invoke(*common, "--duration", "2it", "--set", "train.lr=1e-12", "--model", found[1], "--out", "new")
    begun = read_tensors(Path("new/denoisers/main.safetensors"))[0]
    for name, tensor in good.items():
        torch.testing.assert_close(begun[name], tensor)
    weak = tomllib.loads(Path("new/config.toml").read_text())["models"]["weak"]
    assert weak["start"] == "none"
    invoke("run", "new/config.toml", "--out", "again")
    assert outcome(Path("again"))["weights"] == outcome(Path("new"))["weights"]


def test_a_start_of_another_architecture_is_refused_before_anything_is_run() -> None:
    invoke(*ENDLESS, "--duration", "2it", "--out", "first")
    model = 'main=train(start=load(path="first/denoisers/weak.safetensors"), denoiser=toy-net(width=5))'
    said = invoke(*ARGUMENTS, "--model", model, "--out", "out", code=2).stderr
    assert "error: --model main: " in said
    assert "has shape" in said
    assert not Path("out").exists()


@pytest.mark.slow
def test_two_runs_into_one_folder(running: Any) -> None:
    """The second is refused while the first works, and the first is not disturbed."""
    process = started()
    running.append(process)
    wait_until(process, logged('"event": "step"'))
    said = invoke("run", "--resume", "out", code=2).stderr
    assert (
        unnoted(said) == "error: out is in use: another process is at work in it; wait for it, or give another folder\n"
    )
    assert "out is not empty" in invoke(*ARGUMENTS, "--out", "out", code=2).stderr
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    check_resumable()


# From outside, with real signals


def started(program: str = PROGRAM) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TOY_PAUSE": "0.02", "PYTHONWARNINGS": "error"}
    return subprocess.Popen(
        [sys.executable, "-c", program, *ARGUMENTS, "--out", "out"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def running() -> "Iterator[list[subprocess.Popen[str]]]":
    """Processes to be ended with the test, whatever happens."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until(process: "subprocess.Popen[str]", there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def logged(pattern: str) -> Callable[[], bool]:
    path = Path("out/events.jsonl")
    return lambda: path.is_file() and re.search(pattern, path.read_text()) is not None


@pytest.mark.proof
@pytest.mark.parametrize(("number", "code"), few([(signal.SIGINT, 130), (signal.SIGTERM, 143)], (signal.SIGTERM, 143)))
@pytest.mark.parametrize("when", few(["training", "sampling"], "training"))
def test_a_signal_leaves_a_folder_that_can_be_resumed(
    number: signal.Signals, code: int, when: str, undisturbed: dict[str, Any], running: Any
) -> None:
    process = started()
    running.append(process)
    if when == "training":
        wait_until(process, logged('"event": "step".*"role": "main"'))
    else:
        wait_until(process, lambda: Path("out/denoisers/main.json").is_file())
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert unnoted(err) == "interrupted; go on with: guideplug run --resume out\n"
    assert "Traceback" not in out
    check_resumable()
    invoke("run", "--resume", "out")
    assert outcome(Path("out")) == undisturbed
    check_log()


@pytest.mark.slow
def test_killed_in_training_after_a_checkpoint(undisturbed: dict[str, Any], running: Any) -> None:
    process = started(OFTEN)
    running.append(process)
    wait_until(process, logged('"event": "checkpoint".*"role": "main"(.|\n)*"event": "step".*"role": "main"'))
    process.kill()
    process.communicate()
    check_resumable("running")
    with Path("out/events.jsonl").open("a") as file:
        file.write('{"event": "step", "role": "ma')  # a line that was being written
    said = invoke("run", "--resume", "out").stdout
    assert "training main from step " in said
    assert outcome(Path("out")) == undisturbed
    check_log()


@pytest.mark.proof
def test_killed_before_any_checkpoint(undisturbed: dict[str, Any], running: Any) -> None:
    process = started()
    running.append(process)
    wait_until(process, logged('"event": "step".*"role": "main"'))
    process.kill()
    process.communicate()
    said = invoke("run", "--resume", "out").stdout
    assert "training main begins" in said
    assert outcome(Path("out")) == undisturbed
    check_log()
