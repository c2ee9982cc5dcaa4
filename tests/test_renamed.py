"""Old spellings of public names: each still resolves in this release, with one warning that names the new one."""

import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import attrs
import pytest

import guideplug
from guideplug import Listener, VESchedule, option
from guideplug.observe import Observers

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")])


@pytest.mark.parametrize(("old", "new"), guideplug._RENAMED.items())
def test_an_old_name_is_the_new_thing_and_warns_once(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"guideplug\.{old} is called guideplug\.{new}:") as caught:
        assert getattr(guideplug, old) is getattr(guideplug, new)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(("old", "new"), guideplug._RENAMED.items())
def test_an_old_name_is_not_public(old: str, new: str) -> None:
    assert old not in guideplug.__all__
    assert old not in dir(guideplug)
    assert new in guideplug.__all__


@pytest.mark.slow
def test_a_module_that_imports_an_old_name_is_told_where(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("from guideplug import Selector\nfrom guideplug import Draw\n")
    command = [sys.executable, "-W", "default::DeprecationWarning", "-c", "import theirs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert re.findall(r"theirs\.py:(\d+): DeprecationWarning", done.stderr) == ["2"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_use_new_names(page: Path) -> None:
    text = page.read_text()
    imported = re.findall(r"from guideplug import (\([^)]*\)|.*)", text)
    names = {name for names in imported for name in re.findall(r"\w+", names)}
    names |= set(re.findall(r"\bguideplug\.(\w+)", text))
    assert not names & guideplug._RENAMED.keys()
    assert not re.search(r"def notice\(|VESchedule\(told=|option\([^)]*\bdecides=", text)


def test_a_listener_with_notice_is_told_of_events() -> None:
    events: list[str] = []
    with pytest.warns(DeprecationWarning, match=r"Old\.notice is called on_event") as caught:

        class Old(Listener):
            def notice(self, event: str, data: dict[str, Any]) -> None:
                events.append(event)

    assert caught[0].filename == __file__
    Observers([Old()])("run")  # type: ignore[abstract]
    assert events == ["run"]


def test_a_listener_that_has_both_hears_by_the_new_one() -> None:
    heard: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Both(Listener):
            def notice(self, event: str, data: dict[str, Any]) -> None:
                heard.append("old")

            def on_event(self, event: str, data: dict[str, Any]) -> None:
                heard.append("new")

    Observers([Both()])("run")
    assert heard == ["new"]


def test_a_schedule_takes_the_old_keyword() -> None:
    with pytest.warns(DeprecationWarning, match=r"VESchedule\(told=\) is called VESchedule\(noise_input=\)"):
        old = VESchedule(told="log_sigma", sigma_max=40.0)
    assert old == VESchedule("log_sigma", sigma_max=40.0)
    assert attrs.evolve(old, time_scale=2.0) == VESchedule(noise_input="log_sigma", time_scale=2.0, sigma_max=40.0)
    with pytest.raises(ValueError, match="noise_input is 'time': give 'sigma' or 'log_sigma'"):
        VESchedule(noise_input="time")  # type: ignore[arg-type]


def test_an_option_takes_the_old_keyword() -> None:
    with pytest.warns(DeprecationWarning, match=r"option\(decides=\) is called option\(identity=\)"):
        old = option(0, help="how many", decides=False)
    assert old.metadata == option(0, help="how many", identity=False).metadata
    assert old.metadata["identity"] is False
