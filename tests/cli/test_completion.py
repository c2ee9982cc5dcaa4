"""Completion: of names through click's own testing, and in a real bash, zsh and fish where there is one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from guideplug.cli.main import main

NAMES = {
    "core": {"recipe": ["train", "snapshot", "load"], "denoiser": ["python"]},
    "cfg": {"guider": ["cfg"]},
    "blend": {"guider": ["blend"]},
    "ramps": {"weight": ["ramp"]},
    "jest": {"selector": ["early-jest", "jest"]},
    "tensorboard": {"observer": ["tensorboard"]},
    "edm": {"sampler": ["euler", "heun"]},
    "tree": {"task": ["default", "tree"], "denoiser": ["tree-mlp"]},
    "studies": {"study": ["figure1", "budget"]},
}
BASH = shutil.which("bash")


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guideplug.cli.completion.known", lambda: NAMES)


def completed(*line: str) -> list[str]:
    """What comes for the last word of a line."""
    found = ShellComplete(main, {}, "guideplug", "_GUIDEPLUG_COMPLETE").get_completions(list(line[:-1]), line[-1])
    return [item.value for item in found if item.type == "plain"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (("run", "--guider", ""), ["none", "blend", "cfg"]),
        (("run", "--guider", "c"), ["cfg"]),
        (("run", "--guider", "blend([c"), ["blend([cfg"]),
        (("run", "--guider", "cfg(weight=r"), ["cfg(weight=ramp"]),
        (("run", "--guider", "r"), []),
        (("run", "--selector", "early"), ["early-jest"]),
        (("run", "--observer", ""), ["none", "tensorboard"]),
        (("run", "--guider", "blend([n"), []),
        (("run", "--sampler", ""), ["euler", "heun"]),
        (("run", "--task", "t"), ["tree"]),
        (("run", "--denoiser", "tree_"), ["tree-mlp"]),
        (("compare", "--guider", ""), ["none", "blend", "cfg"]),
        (("compare", "--selector", "n"), ["none"]),
        (("sample", "somewhere", "--guider", "cf"), ["cfg"]),
        (("explain", "bl"), ["blend"]),
        (("check", "lo"), ["load"]),
        (("check", "x", "--task", "t"), ["tree"]),
        (("study", ""), ["budget", "figure1"]),
        (("plugins", "show", "ear"), ["early-jest"]),
        (("plugins", "check", "je"), ["jest"]),
        (("run", "--model", "w"), ["weak=", "weights="]),
        (("run", "--model", "weak=s"), ["weak=synthetic", "weak=snapshot"]),
        (("run", "--model", "weak=snapshot(of=m"), ["weak=snapshot(of=main"]),
        (("plugins", "c"), ["check"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
    ],
)
def test_names_come_where_they_may_stand(line: tuple[str, ...], found: list[str]) -> None:
    assert completed(*line) == found


def test_a_model_may_be_a_file() -> None:
    shell = ShellComplete(main, {}, "guideplug", "_GUIDEPLUG_COMPLETE")
    assert [item.type for item in shell.get_completions(["run", "--model"], "weak=./x")] == ["file"]


def test_nothing_comes_where_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guideplug.cli.completion.known", dict)
    assert completed("run", "--sampler", "") == []
    assert completed("run", "--guider", "") == ["none"]


def test_a_script_comes_for_each_shell(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = cli("completion", shell).stdout
        assert "_GUIDEPLUG_COMPLETE" in script
        if shutil.which(shell):
            done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
        monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
        assert cli("completion").stdout == script
    monkeypatch.setenv("SHELL", "/bin/csh")
    assert "the shell 'csh' is none that can be completed in" in cli.error("completion")


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_in_a_real_bash(tmp_path: Path) -> None:
    """TAB, as bash does it: words are cut at '=', and what is in quotes is one."""
    program = tmp_path / "bin" / "guideplug"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m guideplug "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)}
    remembered = (
        "from guideplug.registry import names; "
        f"names.remember({{name: found for name, found in {NAMES!r}.items() if name != 'ramps'}}, names.stamps())"
    )
    subprocess.run([sys.executable, "-c", remembered], env=environment, check=True)
    script = tmp_path / "tab.sh"
    script.write_text(
        'eval "$(guideplug completion bash)"\n'
        "function=$(complete -p guideplug | sed 's/.*-F \\([^ ]*\\) .*/\\1/')\n"
        "while IFS= read -r COMP_LINE; do\n"
        '  COMP_POINT=${#COMP_LINE}; "$function" guideplug; echo "${COMPREPLY[*]}"\ndone\n'
    )
    lines = {
        "guideplug run --guider c": "cfg",
        "guideplug run --guider 'blend([c": "blend([cfg",
        "guideplug run --model weak=sn": "snapshot",
        "guideplug run --sampler ": "euler heun",
        "guideplug stu": "study",
    }
    assert BASH is not None
    done = subprocess.run(
        [BASH, "--norc", str(script)], input="\n".join(lines) + "\n", env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == list(lines.values()), done.stderr


def test_no_torch_is_imported_for_a_tab() -> None:
    program = (
        "import os, sys\n"
        "os.environ.update(_GUIDEPLUG_COMPLETE='bash_complete', COMP_LINE_TO_POINT='guideplug run --guider c')\n"
        "from guideplug.cli import main\n"
        "try:\n    main(prog_name='guideplug')\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pluggy', 'rich'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
