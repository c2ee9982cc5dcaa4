"""Every block of code in the documentation says what it is by its info string, and what can be run is run.

    python         executed in order, a page in one process (tests/test_docs.py); with a title it is a file of the page
    pycon          executed, its answers compared
    bash           its commands, see below
    toml, json, csv  read; a run's configuration is resolved as well
    text, ebnf     output, formulas, a grammar: nothing to run

Commands that answer in seconds are executed. ``run``, ``compare`` and ``study`` are carried out with ``--dry-run``, but
for its estimate of time: configuration, networks and files are resolved, and guided networks are tried.
``sample``, which has no such option, stops at the same place. ``demo`` and programs that are not guideplug's are read
and no more: tests/cli/demo runs the demo, .ci the others. A line with the comment ``# refused`` must be refused.
"""

import doctest
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import attrs
import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from guideplug import Registry
from guideplug.cli.main import main
from guideplug.run.resolve import KEYS, Request, read_file, resolve
from guideplug.store import Store

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md")],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
FENCE = re.compile(r"^( *)```([\w-]*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
PROGRAMS = {
    "tensorboard",
    "wandb",
    "pip",
    "python",
    "python3",
    "pytest",
    "twine",
    "git",
    "mkdocs",
    "ruff",
    "mypy",
    ".",
    "source",
    "eval",
    "cd",
    ".ci/run",
}
"""What commands that are not guideplug's begin with."""
SILENT = {"text", "ebnf"}
DRY = {"run", "compare"}
GROUP = cast(click.Group, main)
MODES = ("executed", "dry run", "read", "not code")


@attrs.frozen
class Block:
    """A block of code: its language, title, text, and where it is."""

    page: Path
    language: str
    title: str | None
    text: str
    line: int

    def __str__(self) -> str:
        return f"{name_of(self.page)} at line {self.line}"


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        title = TITLE.search(match[3])
        line = text.count("\n", 0, match.start()) + 2
        found.append(Block(path, match[2], title[1] if title else None, match[4], line))
    return found


def commands(text: str) -> Iterator[tuple[list[str], bool]]:
    """The commands of a block, and whether each is to be refused."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        refused = "# refused" in line
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield words, refused
                words = []


@attrs.define
class World:
    """A folder in which the documentation's commands find what they name, and how each of them is carried out."""

    folder: Path
    plugins: list[Path] = attrs.field(factory=list)

    def carry_out(self, words: list[str], refused: bool, where: str) -> str:
        """Carry out one command, as far as its kind goes; returns which kind that is."""
        if words[0] not in ("guideplug", "$"):
            assert words[0] in PROGRAMS, f"{where}: {words[0]} is not a program that the documentation uses"
            return "read"
        args = [self._filled(word) for word in words[words[0] == "$" :][1:]]
        if ">" in args:
            args = args[: args.index(">")]
        name = args[0]
        if name == "demo":
            GROUP.commands[name].make_context(name, args[1:], parent=click.Context(GROUP, **GROUP.context_settings))
            return "read"
        dry = name in DRY or (name == "study" and any(not arg.startswith("-") for arg in args[1:]))
        if dry and "--dry-run" not in args:
            args.append("--dry-run")
        if takes_plugins(args) and "--plugin" not in args:
            args += [part for plugin in self.plugins for part in ("--plugin", str(plugin))]
        done = CliRunner().invoke(main, args, prog_name="guideplug", catch_exceptions=False)
        said = f"{where}: guideplug {shlex.join(args)} ended with {done.exit_code}: {done.output[-600:]}"
        # Networks whose weights stand for the reader's are drawn at random, which check finds wrong.
        assert done.exit_code in ((2,) if refused else (0, 1) if args[0] == "check" else (0,)), said
        if name == "new":
            self._started(Path(args[args.index("--out") + 1]) if "--out" in args else self.folder / args[1])
        return "dry run" if dry or name == "sample" else "executed"

    def _filled(self, word: str) -> str:
        """A word with what stands for the user's own replaced: a seed S or G, an identity, the home folder."""
        word = {"S": "0", "2dd79": self.identity()}.get(word, word)
        return re.sub(r"=G\b", "=1", word).replace("~/", f"{self.folder}/home/")

    def identity(self) -> str:
        return next(entry.identity for entry in Store.default().entries())[:8]  # type: ignore[union-attr]

    def _started(self, folder: Path) -> None:
        """A plugin that ``guideplug new`` wrote is there from now on, with the page's own code where it has some."""
        (module,) = (folder / "src").glob("guideplug_*.py")
        if (self.folder / module.name).is_file():
            shutil.copy(self.folder / module.name, module)
        self.plugins.append(module)


def takes_plugins(args: list[str]) -> bool:
    command: click.Command = GROUP
    for arg in args:
        if not isinstance(command, click.Group) or arg not in command.commands:
            break
        command = command.commands[arg]
    return any("--plugin" in parameter.opts for parameter in command.params)


STEERING = """

def log_p(x, sigma, condition):
    return -0.5 * x.flatten(1).square().sum(1) / (1 + sigma**2)
"""
SCORE = """
def score(x0, condition):
    return -x0.flatten(1).square().sum(1)
"""
TINY = "--duration 2it --batch 512 --samples 16 --set sampler.num_steps=3 --set threads=1 --device cpu"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the documentation's commands name, and a finished run, which is the README's first one shrunk."""
    folder = tmp_path_factory.mktemp("documentation")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GUIDEPLUG_STORE", str(folder / "store"))
        run = f"run --guider autoguidance --selector early-jest {TINY} --out runs/FOLDER"
        done = CliRunner().invoke(
            main, [*run.split(), "--set", "models.weak.options.duration=2it"], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        made = CliRunner().invoke(main, ["new", "mine", "--kind", "task", "--out", str(folder / "new")])
        assert made.exit_code == 0, made.output
    shutil.copy(folder / "new" / "src" / "guideplug_mine.py", folder / "mytask.py")
    interrupted(folder / "runs" / "FOLDER", folder / "runs" / "seed-73")
    for name in ("A", "B"):
        shutil.copytree(folder / "runs" / "FOLDER", folder / "runs" / name)
    (folder / "weights").mkdir()
    for name in ("weak.safetensors", "weights/a b.safetensors"):
        shutil.copy(folder / "runs/FOLDER/denoisers/weak.safetensors", folder / name)
    _, experiment = [b for b in blocks(ROOT / "docs/command-line.md") if b.language == "toml"]
    (folder / "experiment.toml").write_text(experiment.text, encoding="utf-8")
    (mine,) = [b for b in blocks(ROOT / "docs/adapters.md") if b.title == "mine.py"]
    for name in ("mine.py", "mypkg.py"):
        (folder / name).write_text(mine.text + STEERING, encoding="utf-8")
    (folder / "mycode.py").write_text(SCORE, encoding="utf-8")
    space: dict[str, object] = {"__file__": str(folder / "mine.py"), "__name__": "mine"}
    exec(compile(mine.text, "mine.py", "exec"), space)
    build: Callable[..., torch.nn.Module] = space["Net"]  # type: ignore[assignment]
    weights = build((1, 8, 8)).state_dict()
    save_file(weights, folder / "mine.safetensors")
    save_file({f"network.{name}": weight for name, weight in weights.items()}, folder / "whole.safetensors")
    torch.save({}, folder / "old.pt")
    (own,) = [b for b in blocks(ROOT / "docs/ten-minutes.md") if b.title == "mine.py"]
    exec(compile(own.text, "mine.py", "exec"), space)
    for name in ("early.pt", "last.pt"):
        torch.save({"model": space["Net"]().state_dict()}, folder / name)  # type: ignore[operator]
    table(folder / "flowers.csv")
    table(folder / "mine.csv")
    pictures(folder / "pictures")
    (data,) = [b for b in blocks(ROOT / "docs/your-images.md") if b.title == "data.py"]
    (folder / "data.py").write_text(data.text, encoding="utf-8")
    np.save(folder / "mine.npy", np.zeros((12, 1, 8, 8), np.float32))
    np.save(folder / "A.npy", np.ones((1, 2), np.float32))
    shutil.copytree(ROOT / "docs" / "examples", folder / "docs" / "examples")
    return folder


def interrupted(run: Path, copy: Path) -> None:
    """A run's folder as it was before it had finished."""
    shutil.copytree(run, copy)
    (copy / "checksums.sha256").unlink()  # what is changed here is changed on purpose
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
    config = (copy / "config.toml").read_text().replace("runs/FOLDER", "runs/seed-73")
    (copy / "config.toml").write_text(config)


def table(path: Path) -> None:
    """A table like the one that docs/tasks.md shows."""
    draws = np.random.default_rng(0).normal(size=(60, 2))
    rows = [
        f"{5 + a:.3f},{2 + b:.3f},{'versicolor' if number % 2 else 'setosa'}" for number, (a, b) in enumerate(draws)
    ]
    path.write_text("\n".join(["length,width,species", *rows]) + "\n", encoding="utf-8")


def pictures(folder: Path) -> None:
    """Images of two classes, larger than square, for docs/your-images.md."""
    random = np.random.default_rng(0)
    for number in range(40):
        place = folder / ("cats", "dogs")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (18, 24, 3)).astype(np.uint8)).save(place)


@pytest.fixture
def world(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A copy of what is prepared, for one page."""
    folder = tmp_path / "page"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(folder / "store"))
    monkeypatch.setattr("guideplug.recipes.training_recipe.TrainingRecipe.estimate", lambda recipe: 1.0)
    monkeypatch.setattr("guideplug.cli.commands._go", lambda experiment, as_json: None)
    threads = torch.get_num_threads()
    yield World(folder)
    torch.set_num_threads(threads)


def with_language(*languages: str) -> list[Path]:
    return [path for path in PAGES if any(block.language in languages for block in blocks(path))]


FAST = {"README.md", "docs/first-run.md", "docs/comparing.md"}
"""Pages whose commands are carried out in the fast suite too."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=() if name_of(path) in FAST else pytest.mark.slow, id=name_of(path))
        for path in with_language("bash")
    ],
)
def test_commands(path: Path, world: World, record_property: Callable[[str, object], None]) -> None:
    for block in blocks(path):
        if block.language == "python" and block.title is not None:
            (world.folder / block.title).write_text(block.text + (STEERING if block.title == "mine.py" else ""))
    counts: Counter[str] = Counter()
    for block in blocks(path):
        if block.language == "bash":
            subprocess.run(["bash", "-n", "-c", block.text], check=True)
            modes = [world.carry_out(words, refused, str(block)) for words, refused in commands(block.text)]
            assert modes, f"{block} has no command"
            counts[max(modes, key=MODES.index)] += 1
    record_property("documentation", dict(counts))


@pytest.mark.parametrize("path", with_language("toml", "json", "csv", "pycon"), ids=name_of)
def test_data_and_sessions(path: Path, world: World, record_property: Callable[[str, object], None]) -> None:
    counts: Counter[str] = Counter()
    for block in blocks(path):
        match block.language:
            case "toml":
                values = tomllib.loads(block.text)
                if values.keys() <= {*KEYS}:
                    Path("block.toml").write_text(block.text)
                    resolve(Request(file=read_file(Path("block.toml"))), Registry.installed())
                    counts["executed"] += 1
                else:
                    counts["read"] += 1
            case "json":
                json.loads(block.text)
                counts["read"] += 1
            case "csv":
                assert len({line.count(",") for line in block.text.splitlines()}) == 1
                counts["read"] += 1
            case "pycon":
                test = doctest.DocTestParser().get_doctest(block.text, {}, str(block), None, block.line)
                assert doctest.DocTestRunner().run(test).failed == 0
                counts["executed"] += 1
    record_property("documentation", dict(counts))


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_block_says_what_it_is(path: Path, record_property: Callable[[str, object], None]) -> None:
    known = {"python", "pycon", "bash", "toml", "json", "csv", *SILENT}
    for block in blocks(path):
        assert block.language in known, f"{block}: say what it is, one of {', '.join(sorted(known))}"
    text = path.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(blocks(path)), f"{name_of(path)}: a block is not closed, or closed elsewhere"
    record_property("documentation", {"not code": sum(block.language in SILENT for block in blocks(path))})


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_no_block_is_indented(path: Path) -> None:
    """What is only indented has no info string, so nobody knows what it is."""
    lines = FENCE.sub("", path.read_text(encoding="utf-8")).splitlines()
    inside_a_list = False
    for number, line in enumerate(lines):
        if line and not line.startswith(" "):
            inside_a_list = re.match(r"([-*]|\d+\.) ", line) is not None
        if line.startswith("    ") and number and not lines[number - 1].strip():
            assert inside_a_list, f"{name_of(path)}: {line.strip()!r} is an indented block; fence it"


def test_lines_are_split_into_commands() -> None:
    lines = (
        "guideplug new a --kind task && pytest  # both",
        "guideplug run \\",
        "    --guider 'cfg(weight=2)'",
        "guideplug x  # refused",
    )
    assert list(commands("\n".join(lines))) == [
        (["guideplug", "new", "a", "--kind", "task"], False),
        (["pytest"], False),
        (["guideplug", "run", "--guider", "cfg(weight=2)"], False),
        (["guideplug", "x"], True),
    ]
