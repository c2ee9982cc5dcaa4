"""The samples of a run at several weights, and that they change nothing else; the pages that commands write."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner

from guideplug import Guider, Registry
from guideplug.cli.main import main
from guideplug.config import Reader
from guideplug.run.resolve import Request, resolve
from guideplug.run.sweep import Strength, strength, too_costly

TOY = Path(__file__).parents[1] / "cli" / "toy.py"
TINY = (
    "--plugin", TOY, "--task", "toy", "--device", "cpu", "--set", "threads=1", "--duration", "4it", "--samples", "256",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    return tmp_path


def guideplug(*arguments: object, code: int = 0) -> Any:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="guideplug")
    assert done.exit_code == code, done.output
    return done


def arrays(path: Path | str) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def read(text: str) -> Guider:
    guider: Guider = Reader(Registry.installed()).expression(text, Guider)
    return guider


def test_the_one_weight_of_a_guider_is_found_wherever_it_is() -> None:
    found = strength(read("interval(autoguidance(weight=3.0), low=0.1, high=2)"))
    assert isinstance(found, Strength)
    assert (found.option, found.value) == ("weight", 3.0)
    assert found.at(1.5) == read("interval(autoguidance(weight=1.5), low=0.1, high=2)")
    assert found.values() == [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    omega = strength(read("sims(omega=0.8)"))
    assert isinstance(omega, Strength)
    assert (omega.option, omega.values()[0], omega.values()[-1]) == ("omega", 0.0, 1.6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("blend([cfg(weight=2), autoguidance(weight=3)], shares=[0.5, 0.5])", "several weights"),
        ("autoguidance(weight=constant(value=2))", "follows a schedule"),
        (None, "no guider"),
    ],
)
def test_where_there_is_no_one_weight_the_reason_is_said(text: str | None, reason: str) -> None:
    found = strength(None if text is None else read(text))
    assert isinstance(found, str)
    assert reason in found


def test_a_run_keeps_its_samples_at_other_weights_and_nothing_else_changes(folder: Path) -> None:
    said = guideplug("run", *TINY, "--guider", "autoguidance(weight=2.0)", "--out", "on").output
    assert "page: on/report.html" in said
    assert "slider of the page: " in said
    assert Path("on/report.html").is_file()
    found, samples = arrays("on/sweep.npz"), arrays("on/samples.npz")
    count = found["samples"].shape[1]
    assert found["weights"].tolist() == [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0]
    assert np.array_equal(found["samples"][4], samples["guided"][:count])
    assert np.allclose(found["samples"][0], samples["unguided"][:count], atol=1e-5)
    assert count >= 32
    guideplug("run", "on/config.toml", "--set", "report.weights=[]", "--out", "off")
    assert not Path("off/sweep.npz").exists()
    assert "asks for no weights" in Path("off/report.html").read_text()
    for name, values in arrays("off/samples.npz").items():
        assert np.array_equal(values, samples[name])
    on, off = (json.loads(Path(name, "metrics.json").read_text()) for name in ("on", "off"))
    assert (on["arms"], on["evaluations"]) == (off["arms"], off["evaluations"])
    records = [json.loads(Path(name, "run.json").read_text())["networks"] for name in ("on", "off")]
    assert records[0] == records[1]


def test_weights_are_chosen_in_the_configuration(folder: Path) -> None:
    guider = ("--guider", "autoguidance(weight=2.0)")
    guideplug("run", *TINY, *guider, "--set", "report.weights=[1.5, 4.0]", "--out", "run")
    assert arrays("run/sweep.npz")["weights"].tolist() == [1.5, 2.0, 4.0]
    assert tomllib.loads(Path("run/config.toml").read_text())["report"] == {"weights": [1.5, 4.0]}
    for wrong, why in (("report.weight=[1]", "unknown key"), ("report.weights=[inf]", "finite"), ("report=1", "name")):
        assert why in guideplug("run", *TINY, *guider, "--set", wrong, code=2).stderr


def test_a_resumed_run_has_the_page_of_an_undisturbed_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--guider", "autoguidance(weight=2.0)", "--observer", "toy-interrupting", "--out", "run")
    command = ("run", *("64it" if word == "4it" else word for word in TINY), *arguments)
    monkeypatch.delenv("TOY_INTERRUPT", raising=False)
    guideplug(*command)
    whole = Path("run/report.html").read_text()
    Path("run").rename("before")
    Path("store").rename("other")
    monkeypatch.setenv("TOY_INTERRUPT", "step 2")
    guideplug(*command, code=130)
    assert "was interrupted" in Path(guideplug("report", "run").output.split()[-1]).read_text()
    monkeypatch.delenv("TOY_INTERRUPT")
    guideplug("run", "--resume", "run")
    assert _steady(Path("run/report.html").read_text()) == _steady(whole)


def _steady(page: str) -> str:
    """A page without what clocks decide, and with the plugin as it was named."""
    page = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|, [\d.]+ s<", "", page)
    page = page.replace(str(Path("run/code/toy/toy.py").absolute()), str(TOY))  # the copy, which is resumed with
    return re.sub(r"<caption>Seconds by phase.*?</table>", "", page, flags=re.DOTALL)


def test_a_page_that_cannot_be_written_spoils_no_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("guideplug.cli.report.write_page", refuse)
    done = guideplug("run", *TINY, "--out", "run", code=3)
    assert json.loads(Path("run/run.json").read_text())["status"] == "incomplete"
    line, last = [line for line in done.stderr.splitlines() if "page" in line]
    assert last.endswith("guideplug run --resume run")
    assert line == "warning: page 'report.html' failed (OSError: the disk is full)"


def test_the_page_of_an_older_run_is_worked_out_with_what_is_installed(folder: Path) -> None:
    guideplug("run", *TINY, "--guider", "autoguidance", "--out", "run")
    page = Path("run/report.html").read_text()
    Path("run/words.json").unlink()
    guideplug("report", "run", "--plugin", TOY)
    assert _steady(Path("run/report.html").read_text()) == _steady(page)
    guideplug("report", "run", "--out", "without.html")
    assert "cannot be worked out with what is installed" in Path("without.html").read_text()


@pytest.mark.slow
def test_the_page_of_a_strangers_run_runs_none_of_its_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(folder / "trusted"))
    guideplug("run", "--task", "tree", "--duration", "1it", "--samples", "8", "--batch", "8", "--out", "run")
    Path("evil.py").write_text("open('ran', 'w')\ndef score(x, sigma, condition):\n    return x.sum(1)\n")
    for name in ("words.json", "checksums.sha256"):
        Path("run", name).unlink()
    config = Path("run/config.toml")
    config.write_text(config.read_text().replace('guider = "none"', "guider = \"classifier('./evil.py:score')\""))
    guideplug("report", "run")
    assert not Path("ran").exists()
    assert "is not judged" in Path("run/report.html").read_text()


def test_report_takes_several_runs_and_refuses_in_a_line(folder: Path) -> None:
    guideplug("run", *TINY, "--out", "one")
    guideplug("run", *TINY, "--seed", "1", "--out", "two")
    assert guideplug("report", "one", "two").output == "page: report.html\n"
    assert 'href="two/report.html"' in Path("report.html").read_text()
    assert "does not exist" in guideplug("report", "three", code=2).stderr


def test_a_slider_of_images_that_costs_more_than_half_of_the_samples_is_off_unless_weights_are_named(
    folder: Path,
) -> None:
    config = resolve(Request(values={"task": "digits", "guider": "autoguidance", "samples": 255}), Registry.installed())
    assert "--set report.weights='[1, 2]'" in too_costly(config)
    assert not too_costly(attrs.evolve(config, samples=256))
    assert not too_costly(attrs.evolve(config, weights=(1.0, 2.0)))
    points = resolve(Request(values={"task": "tree", "guider": "autoguidance", "samples": 16}), Registry.installed())
    assert not too_costly(points)
