"""A whole run as one call: what the command does, to the bit; errors, signals and threads as in Python."""

import inspect
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiers import few

import guideplug
from guideplug import Denoiser, GuideplugError, Guider, Listener, option
from guideplug.cli.main import main
from guideplug.executors.interrupt import handle_signals, interruptible
from guideplug_autoguidance import Autoguidance
from guideplug_blend import Blend

TOY = Path(__file__).parents[1] / "cli" / "toy.py"
FEW: dict[str, Any] = {"task": "toy", "plugins": [TOY], "device": "cpu", "sets": {"threads": 1}}
"""A run of the toy task, which takes about a second."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder and a store of the test's own; torch has two threads, which no run may change for its caller."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    for name in ("TOY_PAUSE", "TOY_DIVERGE", "TOY_INTERRUPT"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def command(*words: str) -> None:
    done = CliRunner().invoke(main, [*words], prog_name="guideplug")
    assert done.exit_code == 0, done.output
    torch.set_num_threads(2)


def what_decides(folder: Path) -> dict[str, Any]:
    """All that must be the same to the bit."""
    metrics = json.loads((folder / "metrics.json").read_text())
    same = {key: value for key, value in metrics.items() if key not in ("seconds", "found")}
    with np.load(folder / "samples.npz") as arrays:
        samples = {name: arrays[name].tobytes() for name in arrays.files}
    return {"metrics": same, "samples": samples, "config": (folder / "config.toml").read_text()}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_call_has_the_bits_and_the_files_of_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    guider = "autoguidance(weight=2.0)"
    command(
        "run", "--task", "tree", "--guider", guider, "--duration", "24it", "--batch", "128", "--samples", "96",
        "--device", "cpu", "--set", "threads=1", "--set", "train.lr=0.002", "--out", "typed",
    )  # fmt: skip
    capfd.readouterr()
    result = guideplug.run(
        Autoguidance(weight=2.0), task="tree", duration="24it", batch=128, samples=96, device="cpu",
        sets={"threads": 1, "train.lr": 2e-3}, out="called", store="another",
    )  # fmt: skip
    assert capfd.readouterr() == ("", "")
    assert what_decides(Path("called")) == what_decides(Path("typed"))
    assert Path("called/samples.npz").read_bytes() == Path("typed/samples.npz").read_bytes()
    assert result.folder == Path("called").absolute()
    assert result.metrics == json.loads(Path("called/metrics.json").read_text())
    assert result.figure.is_file()
    assert files(Path("called")) == files(Path("typed")) - {"report.html"}
    assert len(list(Path("another").iterdir())) >= 2  # the store that was named has the networks
    shown = repr(result).splitlines()
    assert shown[0].endswith("96 samples, in called")
    assert {"unguided", "guided", "truth"} <= {*shown[1].split()}
    assert shown[-1] == "No selector was chosen: every example drawn was trained on."
    page = CliRunner().invoke(main, ["report", "called"])
    assert page.exit_code == 0, page.output


def test_the_arguments_are_the_options_of_the_command() -> None:
    options = {parameter.name for parameter in cast(click.Group, main).commands["run"].params}
    of_the_command_line = {"dry_run", "as_json", "trust"}
    of_python = {"store", "progress", "listeners"}
    assert {*inspect.signature(guideplug.run).parameters} == (options - of_the_command_line) | of_python


@pytest.mark.parametrize(
    ("given", "expression"),
    [
        (Autoguidance(weight=1.5), "autoguidance(weight=1.5)"),
        (Blend(guiders=(Autoguidance(weight=1.5), Autoguidance())), "blend([autoguidance(weight=1.5), autoguidance])"),
    ],
    ids=["autoguidance", "blend"],
)
def test_an_instance_is_its_expression(given: Guider, expression: str) -> None:
    one = guideplug.run(given, out="one", **FEW)
    other = guideplug.run(expression, out="other", **FEW)
    assert what_decides(one.folder) == what_decides(other.folder)
    assert one.config.guider == given


def test_every_argument_arrives(tmp_path: Path) -> None:
    Path("file.toml").write_text("seed = 5\nsamples = 24\n[train]\nbatch = 32\nlr = 0.5\n")
    weak = guideplug.run(out="first", **FEW).folder / "denoisers" / "main.safetensors"
    config = guideplug.run(
        "autoguidance", config="file.toml", task="toy(labels=false)", denoiser="toy-net(width=4)",
        selector="toy-half", sampler="toy-steps(num_steps=3)", batch=16, duration="8it", samples=20,
        models={"weak": weak}, sets={"train.lr": 0.25, "sample-seed": 3, "threads": 1}, device="cpu",
        observers=["toy-interrupting"], plugins=[TOY], out=tmp_path / "second", fresh=True,
    ).config  # fmt: skip
    main = cast(guideplug.Train, config.main)
    assert (main.seed, main.options.batch, main.options.lr, str(main.options.duration)) == (5, 16, 0.25, "8it")
    assert (config.samples, config.sample_seed, config.plugins) == (20, 3, (str(TOY),))
    assert [guideplug.short(one) for one in (main.denoiser, config.sampler)] == [
        "toy-net(width=4)",
        "toy-steps(num_steps=3)",
    ]
    assert config.selector is not None
    assert config.observers[0].name == "toy-interrupting"
    assert cast(guideplug.Load, config.models["weak"]).path == str(weak.resolve())


@attrs.frozen
class Nowhere(Guider):
    """A guider that no plugin offers."""

    name = "nowhere"

    def guide(self, base: Denoiser, models: Any) -> Denoiser:
        return base


@attrs.frozen
class OwnAutoguidance(Guider):
    """A guider by the name of another."""

    name = "autoguidance"
    weight: float = option(2.0, help="guidance weight")

    def guide(self, base: Denoiser, models: Any) -> Denoiser:
        return base


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guider": "autogidance"}, "no guider is called 'autogidance' .did you mean 'autoguidance'"),
        ({"guider": Nowhere()}, "no guider is called 'nowhere'"),
        ({"guider": OwnAutoguidance()}, "another of its name: give the expression as a text"),
        ({"guider": Blend(guiders=(OwnAutoguidance(),))}, "another of its name: give the expression as a text"),
        ({"sets": {"train.lr": object()}}, r"sets\['train.lr'\] is <object"),
        ({"sets": {"train.speed": 1}}, "train has no option 'speed'"),
        ({"seed": -1}, "seed is -1: it must be 0 or more"),
        ({"models": {"strong": "degraded(noise=0.3)"}}, "nothing in this run has a role 'strong'"),
        ({"config": "nowhere.toml"}, "configuration nowhere.toml does not exist"),
        ({"resume": "nowhere"}, "nowhere does not exist"),
        ({"resume": "nowhere", "out": "here"}, "give no out and no config"),
        ({"plugins": ["nowhere.py"]}, "no such file"),
        ({"denoiser": "toy-wrong-shape"}, "shape"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_errors_are_raised_and_nothing_is_written_or_printed(
    changes: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(GuideplugError, match=message):
        guideplug.run(**{**FEW, **changes})
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "runs").exists()


def test_a_failure_of_the_run_keeps_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_DIVERGE", "30")
    with pytest.raises(GuideplugError):
        guideplug.run(out="failed", **FEW)
    assert json.loads(Path("failed/run.json").read_text())["status"] == "failed"


# Interrupted


@pytest.mark.slow
@pytest.mark.parametrize("event", ["step 2", "sample 3", "measure 2"])
def test_ctrl_c_is_a_keyboard_interrupt_and_the_folder_is_resumed(
    event: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    few = {**FEW, "observers": ["toy-interrupting"]}
    undisturbed = guideplug.run("autoguidance", out="whole", store="other", **few)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("TOY_INTERRUPT", event)
    with pytest.raises(KeyboardInterrupt) as interrupt:
        guideplug.run("autoguidance", out="begun", **few)
    assert interrupt.value.__notes__ == ["go on with guideplug.run(resume='begun')"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert torch.get_num_threads() == 2
    assert json.loads(Path("begun/run.json").read_text())["status"] == "interrupted"
    monkeypatch.delenv("TOY_INTERRUPT")
    with pytest.raises(GuideplugError, match="samples was 32 and is 16 now"):
        guideplug.run(resume="begun", samples=16)
    result = guideplug.run(resume="begun")
    assert what_decides(result.folder) == what_decides(undisturbed.folder)
    with pytest.raises(GuideplugError, match="the run is finished"):
        guideplug.run(resume="begun")
    assert capfd.readouterr() == ("", "")


def test_a_signal_goes_to_the_handler_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))

    class Terminates(Listener):
        def on_event(self, event: str, data: dict[str, Any]) -> None:
            if event == "sampled":
                signal.raise_signal(signal.SIGTERM)

    try:
        with pytest.raises(KeyboardInterrupt):
            guideplug.run(out="begun", listeners=[Terminates()], **FEW)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    assert json.loads(Path("begun/run.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize(("block", "watched"), [(handle_signals, True), (interruptible, False)])
def test_only_a_command_ends_its_process_from_a_thread(block: Callable[[], Any], watched: bool) -> None:
    with block(), interruptible():
        assert ("signals" in {thread.name for thread in threading.enumerate()}) is watched


# Where it is called


def test_from_a_thread_and_twice() -> None:
    results: list[guideplug.RunResult] = []
    thread = threading.Thread(target=lambda: results.append(guideplug.run(out="threaded", **FEW)))
    thread.start()
    thread.join()
    again = guideplug.run(out="again", fresh=True, **FEW)
    assert what_decides(results[0].folder) == what_decides(again.folder)
    assert "main" not in again.metrics["found"]


def test_progress_where_it_is_wanted_and_listeners(capsys: pytest.CaptureFixture[str]) -> None:
    class Hears(Listener):
        events: list[str] = []  # noqa: RUF012 - one listener
        closed = 0

        def on_event(self, event: str, data: dict[str, Any]) -> None:
            self.events.append(event)

        def close(self) -> None:
            self.closed += 1

    listener = Hears()
    guideplug.run(out="shown", progress=True, listeners=[listener], **FEW)
    printed = capsys.readouterr().out
    assert "training main begins: 40 it" in printed
    assert "sampling unguided" in printed
    assert {"run", "train", "step", "sampled", "end"} <= {*listener.events}
    assert listener.closed == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "statements",
    few([
        "import guideplug; called = guideplug.run",
        "import guideplug.run.resolve; called = guideplug.run; guideplug.run.resolve.resolve",
        "import guideplug.run.call; called = guideplug.run; guideplug.run.call.run",
        "from guideplug import run as called",
        "from guideplug.run.call import run as called",
    ], "import guideplug; called = guideplug.run", "from guideplug.run.call import run as called"),
)  # fmt: skip
def test_one_name_is_a_package_and_a_call(statements: str) -> None:
    check = (
        f"{statements}\nimport inspect, sys\n"
        "from guideplug.errors import UsageError\n"
        "try: called(resume='here', out='there')\n"
        "except UsageError as error: print(error)\n"
        "assert 'guider' in inspect.signature(called).parameters\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "resume names the folder and its configuration: give no out and no config\n"


def test_every_argument_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "from-python.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = {name.strip(" `") for row in rows for name in row.split("|")[1].split(",")}
    assert named == {*inspect.signature(guideplug.run).parameters}
