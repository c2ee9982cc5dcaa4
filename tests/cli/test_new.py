"""`guideplug new`, as a third party uses it: write, install, list, test, run; and without installing."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiers import few

from guideplug.cli.scaffold import KINDS

TOY = Path(__file__).with_name("toy.py")
TINY = ("--duration", "6it", "--batch", "64", "--samples", "16", "--set", "threads=1", "--device", "cpu")
RUNS = {
    "guider": ("--plugin", TOY, "--task", "toy", "--guider", "my-guider(weight=1.5)"),
    "selector": ("--plugin", TOY, "--task", "toy", "--selector", "my-selector(filter_ratio=0.25)"),
    "sampler": ("--plugin", TOY, "--task", "toy", "--sampler", "my-sampler(num_steps=3)"),
    "denoiser": ("--plugin", TOY, "--task", "toy(labels=true)", "--denoiser", "my-denoiser(width=8)"),
    "recipe": ("--plugin", TOY, "--task", "toy", "--guider", "autoguidance", "--model", "weak=my-recipe(steps=4)"),
    "task": ("--task", "my-task", "--guider", "autoguidance", "--set", "sampler.num_steps=2"),
    "metric": ("--plugin", TOY, "--task", "toy"),
    "objective": ("--plugin", TOY, "--task", "toy", "--set", "train.objective=my-objective(scale=0.5)"),
}
"""A tiny run with each kind of plugin, under the name my-KIND."""


def names(kind: str) -> tuple[str, Path]:
    """The name of the plugin of a kind, and its module in the working folder."""
    return f"my-{kind}", Path(f"my-{kind}/src/guideplug_my_{kind}.py")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with a plugin of every kind, and the environment of a Python that has them installed."""
    folder = tmp_path_factory.mktemp("third-party")
    target = folder / "site"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GUIDEPLUG_STORE": str(folder / "store")}
    python(folder, environment, "; ".join(f"guideplug('new', 'my-{kind}', '--kind', '{kind}')" for kind in KINDS))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps",
         "--no-build-isolation", "--target", str(target), *(f"./my-{kind}" for kind in KINDS)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, {**environment, "PYTHONPATH": str(target)}


def python(folder: Path, environment: dict[str, str], code: str) -> str:
    """What a fresh interpreter prints, in which ``guideplug`` is the command line."""
    given = (
        "from guideplug.cli.main import main\n"
        "def guideplug(*args): main(args, prog_name='guideplug', standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", given + code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_installed_plugin_of_each_kind_is_listed_and_runs(installed: tuple[Path, dict[str, str]]) -> None:
    folder, environment = installed
    commands = [["run", *map(str, args), *TINY, "--out", f"runs/{kind}"] for kind, args in RUNS.items()]
    said = python(folder, environment, f"for args in [['plugins', 'list'], *{commands!r}]: guideplug(*args)")
    assert "BROKEN" not in said
    for kind in KINDS:
        (line,) = [line for line in said.splitlines() if line.startswith(f"my-{kind} ")]
        assert f"guideplug-my-{kind} 0.1.0: " in line
        assert f"{kind} my-{kind}" in line
        record = json.loads((folder / f"runs/{kind}/run.json").read_text())
        assert record["status"] == "finished"
        assert f"my-{kind}" in {plugin["name"] for plugin in record["plugins"]}


@pytest.mark.slow
def test_the_tests_that_come_with_it_pass(installed: tuple[Path, dict[str, str]]) -> None:
    folder, environment = installed
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *(f"./my-{k}" for k in KINDS)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.proof
def test_its_tests_pass_before_it_is_installed(cli: Any) -> None:
    cli("new", "mine")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "mine"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", few(KINDS, "guider", "task", "objective"))
def test_the_same_file_works_without_installing(kind: str, cli: Any) -> None:
    name, module = names(kind)
    cli("new", name, "--kind", kind)
    shown = cli.json("plugins", "show", name, "--plugin", module)
    assert (kind, name) in {(found["kind"], found["name"]) for found in shown["strategies"]}
    cli("run", *RUNS[kind], *TINY, "--plugin", module, "--out", "out")
    assert json.loads(Path("out/run.json").read_text())["status"] == "finished"


def test_a_new_guider_is_explained_and_composes(cli: Any) -> None:
    cli("new", "mine")
    local = ("--plugin", "mine/src/guideplug_mine.py")
    assert "D(x) = 2 main(x) - weak(x)" in cli("explain", "mine", *local).stdout
    assert "D(x) = " in cli("explain", "interval(mine, low=0.1, high=1)", *local).stdout


def test_a_new_metric_is_measured_in_every_run(cli: Any) -> None:
    cli("new", "mine", "--kind", "metric")
    cli("run", *RUNS["metric"], *TINY, "--plugin", "mine/src/guideplug_mine.py", "--out", "out")
    arms = json.loads(Path("out/metrics.json").read_text())["arms"]
    assert all(values["mine"] > 0 for values in arms.values())


@pytest.mark.parametrize(("like", "guider"), [("points", "autoguidance"), ("digits", "cfg")])
def test_a_task_like_another_runs_without_installing(like: str, guider: str, cli: Any) -> None:
    said = cli("new", "mine", "--kind", "task", "--like", like).stdout
    assert "guideplug run --task mine --guider autoguidance" in said
    local = ("--plugin", "mine/src/guideplug_mine.py", "--set", "sampler.num_steps=2")
    cli("run", "--task", "mine", "--guider", guider, *local, *TINY, "--out", "out")
    assert json.loads(Path("out/run.json").read_text())["status"] == "finished"


# What it says


def test_it_prints_what_was_written_and_what_to_do_next(cli: Any) -> None:
    assert cli("new", "my_guide").stdout.splitlines() == [
        "the guider my-guide, as a plugin that works:",
        "  my_guide/src/guideplug_my_guide.py",
        "  my_guide/tests/test_my_guide.py",
        "  my_guide/pyproject.toml",
        "  my_guide/README.md",
        "  my_guide/.gitignore",
        "next:",
        "  pip install -e ./my_guide",
        "  pytest ./my_guide",
        "  guideplug plugins check my-guide",
        "  guideplug run --guider my-guide",
        "or, without installing it:",
        "  guideplug run --guider my-guide --plugin ./my_guide/src/guideplug_my_guide.py",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_commands_fit_the_kind_and_the_place(kind: str, cli: Any) -> None:
    place = cli.cwd / "some where"
    lines = cli("new", "mine", "--kind", kind, "--out", place).stdout.splitlines()
    assert f"  pip install -e '{place}'" in lines
    assert f"  pytest '{place}'" in lines
    (run, local) = [line for line in lines if line.startswith("  guideplug run")]
    chosen = {
        "task": " --task mine --guider autoguidance",
        "recipe": " --model main=mine",
        "metric": "",
        "objective": " --set train.objective=mine",
    }
    assert run == f"  guideplug run{chosen.get(kind, f' --{kind} mine')}"
    assert sorted(shlex.split(local)) == sorted([*run.split(), "--plugin", f"{place}/src/guideplug_mine.py"])
    cli(*shlex.split(local)[1:], "--dry-run")  # as it is printed


# Refusals


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("2d",), "NAME '2d' cannot name a plugin: give a lower-case letter first"),
        (("",), "NAME '' cannot name a plugin"),
        (("../x",), "NAME '../x' cannot name a plugin"),
        (("class",), "NAME 'class' is a keyword of Python: give another name, as in my-class"),
        (("cfg",), "a plugin 'cfg' is installed, guideplug-cfg 0.1.0: give another name, as in my-cfg"),
        (("core",), "a plugin 'core' is installed, guideplug 0.1.0: give another name"),
        (("heun", "--kind", "sampler"), "the sampler 'heun' is installed, from guideplug-edm 0.1.0: give another name"),
        (("early_jest", "--kind", "selector"), "the selector 'early-jest' is installed, from guideplug-jest 0.1.0"),
        (("default", "--kind", "task"), "the task 'default' is installed, from guideplug-tree 0.1.0"),
        (("mine", "--kind", "study"), "Invalid value for '--kind': 'study' is not one of 'guider', 'selector'"),
        (
            ("mine", "--like", "points"),
            "--like points: a guider is started from one template alone; there is --kind task",
        ),
        (("mine", "--kind", "task", "--like", "text"), "Invalid value for '--like': 'text' is not one of 'digits', 'p"),
        (("mine", "--in-tree"), "cwd is in no checkout of guideplug: go into one, or leave out --in-tree"),
        (("mine", "--in-tree", "--out", "x"), "--out x: --in-tree says where it is written: leave out one of them"),
        (("mine", "--out", "full"), "full is there already and not empty: give another place with --out FOLDER"),
        (("mine", "--out", "full/file"), "full/file is a file: give another place with --out FOLDER"),
        (("mine", "--out", "full/file/mine"), "full/file/mine cannot be written ("),
        ((), "Missing argument 'NAME'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_in_one_line(args: tuple[str, ...], said: str, cli: Any) -> None:
    Path("full").mkdir()
    Path("full/file").write_text("mine")
    assert said in cli.error("new", *args)
    assert cli.files() == {str(cli.cwd / "full/file")}


def test_a_name_is_free_for_another_kind(cli: Any) -> None:
    cli("new", "heun", "--kind", "guider")
    assert Path("heun/src/guideplug_heun.py").is_file()


def test_a_tasks_network_must_be_free_too(cli: Any) -> None:
    from guideplug.cli.new import _refuse_taken
    from guideplug.errors import UsageError
    from guideplug.registry.registry import Offer, Plugin, Registry

    registry = Registry()
    plugin = Plugin("nets", "guideplug-nets", "2.0", "guideplug_nets")
    plugin.offers = [Offer("denoiser", "mine-mlp", "nets", "train")]
    registry._add(plugin)
    _refuse_taken("mine", "guider", registry)
    with pytest.raises(UsageError, match=r"the denoiser 'mine-mlp' is installed, from guideplug-nets 2.0"):
        _refuse_taken("mine", "task", registry)


def test_a_second_time_nothing_is_overwritten(cli: Any) -> None:
    cli("new", "mine")
    Path("mine/src/guideplug_mine.py").write_text("# my equation\n")
    before = cli.files()
    assert "mine is there already and not empty" in cli.error("new", "mine")
    assert cli.files() == before
    assert Path("mine/src/guideplug_mine.py").read_text() == "# my equation\n"
