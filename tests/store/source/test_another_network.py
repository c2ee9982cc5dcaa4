"""What makes another network, and what does not: the table of docs/durability.md, a test for each row."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from guideplug.store.source import core
from guideplug.store.source.core import core_digest

ROOT = Path(__file__).parents[3]
SAME, ANOTHER = "the same", "another"
CORE = Path(core.__file__).parents[2]


@attrs.frozen
class Row:
    """A row of the table.

    Args:
        change: what is changed, as the table says it.
        network: what the network is then.
        edits: for each file what is replaced by what; ``""`` appends.
        core: whether the files are guideplug's own.
    """

    change: str
    network: str
    edits: tuple[tuple[str, str, str], ...]
    core: bool = False


ROWS = [
    Row("comments, blank lines, line breaks", SAME, (
        ("ring.py", "  # bounded", "  # within\n\n\n"), ("layers.py", "", "\n\n# the end\n"),
        ("ring.py", "(self, x: Tensor)", "(\n        self, x: Tensor\n    )"),
    )),
    Row("docstrings of modules, classes, functions", SAME, (
        ("ring.py", '"""The task and its network."""\n', ""), ("ring.py", '"""The clean sample."""', '"""Cleaner."""'),
        ("layers.py", "    return _scaled", '    """A layer."""\n    return _scaled'),
    )),
    Row("annotations of arguments, of what is returned, of local variables", SAME, (
        ("ring.py", "def tail(width: int) -> int:", "def tail(width):"), ("ring.py", "left: int =", "left ="),
        ("layers.py", "(width: int) -> nn.Module", "(width: float)"),
    )),
    Row("imports for type checkers", SAME, (("ring.py", "import Path", "import PurePath"),)),
    Row("an annotation in the body of a class, such as an option's type", ANOTHER, (
        ("ring.py", "radius: float", "radius: int"),
    )),
    Row("the `help` or the `unit` of an option", SAME, (
        ("ring.py", 'help="units", unit="units"', 'help="how many units"'), ("ring.py", "data units", "units of data"),
    )),
    Row("the default of an option", ANOTHER, (("ring.py", "option(8", "option(9"),)),
    Row("the text of an exception that is raised", SAME, (("ring.py", 'f"width is {width}"', '"too narrow"'),)),
    Row("when it is raised", ANOTHER, (("ring.py", "width < 1", "width < 2"),)),
    Row("the order of functions and classes in a file", SAME, (
        ("ring.py", "def nobody_s() -> int:\n    return 3\n", ""),
        ("ring.py", "class Net(", "def nobody_s() -> int:\n    return 3\n\n\nclass Net("),
        ("layers.py", "def hidden_layer(width: int) -> nn.Module:\n    return _scaled(nn.Linear(2, width))\n", ""),
        ("layers.py", "", "\n\ndef hidden_layer(width: int) -> nn.Module:\n    return _scaled(nn.Linear(2, width))\n"),
    )),
    Row("`figure`, `animate`, `metrics`, `primary` or `truth` of a task, in the file of its network", SAME, (
        ("ring.py", "draw_ring(self._panel(arms), path)", "draw_ring(self._panel(arms[:2]), path)"),
        ("ring.py", "return False", "return True"), ("ring.py", "return METRICS", "return METRICS[:1]"),
        ("ring.py", '("roundness",)', "()"), ("ring.py", "return []", "return [None]"),
    )),
    Row("what a figure alone uses: constants, functions, private methods, files, imports", SAME, (
        ("ring.py", '"a ring"', '"the ring"'), ("ring.py", "return TITLE, len(arms)", "return TITLE, 2 * len(arms)"),
        ("picture.py", "str(panel)", "repr(panel)"), ("picture.py", '"Agg"', '"svg"'),
        ("ring.py", "import draw_ring", "import draw_ring as draw_ring"),
    )),
    Row("a metric, a study, an observer", SAME, (("measure.py", "return 1.0", "return 2.0"),)),
    Row("a function that nothing of the network uses", SAME, (("ring.py", "return 3", "return 4"),)),
    Row("a new file that nothing imports; the list of what a plugin offers", SAME, (
        ("new.py", "", "X = 1\n"), ("__init__.py", "return [Ring]", "return [Ring, Ring]"),
    )),
    Row("a number in a function that the network uses, however far", ANOTHER, (
        ("layers.py", "GAIN = 2.0", "GAIN = 3.0"),
    )),
    Row("the name of a local variable in it", ANOTHER, (
        ("ring.py", "left: int = width - 1\n    return left", "less: int = width - 1\n    return less"),
    )),
    Row("what a name in it stands for, by another import", ANOTHER, (
        ("ring.py", "import tanh as squash", "import sigmoid as squash"),
    )),
    Row("what a function imports when it is called", ANOTHER, (("late.py", '"clean"', '"noise"'),)),
    Row("how a task draws its examples or its starts", ANOTHER, (("ring.py", "/ count", "/ (count + 1)"),)),
    Row("a method that decides nothing, once one that decides calls it", ANOTHER, (
        ("ring.py", "return noised(self", "self.truth(1, None, 0)\n        return noised(self"),
    )),
    Row("a statement that is no definition, in a file that the network uses", ANOTHER, (
        ("layers.py", "", "\nprint(nn)\n"),
    )),
    Row("a definition moved to another file", ANOTHER, (
        ("layers.py", "GAIN = 2.0\n", ""), ("layers.py", "import nn\n", "import nn\nfrom rings.gain import GAIN\n"),
        ("gain.py", "", "GAIN = 2.0\n"),
    )),
    Row("code anywhere in a package where names do not say what runs (`eval`, a computed import, a star)", ANOTHER, (
        ("layers.py", "layer.weight.data *= GAIN", "layer.weight.data *= eval('GAIN')"),
    )),
    Row("guideplug: comments and docstrings; commands, pages, reports, metrics, errors, the store", SAME, (
        ("train/training.py", "", "# edited\n"),
        ("train/ema.py", '"""', '"""Edited. '), ("cli/main.py", "", "\nX = 1\n"),
        ("observe.py", "", "\nX = 1\n"), ("errors.py", "", "\nX = 1\n"), ("store/store.py", "", "\nX = 1\n"),
        ("report/pages.py", "", "\nX = 1\n"), ("task.py", "return None if of_weights", "return 1.0 if of_weights"),
        ("task.py", "return False", "return True"), ("run/measure.py", "", "\nX = 1\n"),
    ), core=True),
    Row("guideplug: training, averages, random streams, the algebra of denoisers", ANOTHER, (
        ("rng/streams.py", "", "\nX = 1\n"),
    ), core=True),
]  # fmt: skip


def edited(folder: Path, edits: tuple[tuple[str, str, str], ...]) -> None:
    for name, before, after in edits:
        path = folder / name
        text = path.read_text() if path.exists() else ""
        assert before in text, f"{name} has no {before!r}"
        path.write_text(text.replace(before, after, 1) if before else text + after)


@pytest.fixture(scope="module")
def unread() -> Callable[[Path], str]:
    """The core's hash, computed and not remembered."""
    return core_digest.__wrapped__


@pytest.fixture(autouse=True)
def own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_file", lambda: tmp_path / "memory" / "core.txt")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.change)
def test_a_row(row: Row, tmp_path: Path, unread: Callable[[Path], str], rings: ModuleType) -> None:
    if row.core:
        package = tmp_path / "guideplug"
        shutil.copytree(CORE, package, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        package = rings.write(tmp_path)
    hashed = unread if row.core else rings.digest
    plain = hashed(package)
    edited(package, row.edits)
    assert (hashed(package) == plain) is (row.network == SAME)


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "train/training.py", "train/ema.py", "rng/streams.py", "denoise/algebra.py", "run/builder.py", "run/making.py",
    "config/duration.py",
])  # fmt: skip
def test_a_room_that_decides_counts(name: str, tmp_path: Path, unread: Callable[[Path], str]) -> None:
    package = tmp_path / "guideplug"
    shutil.copytree(CORE, package, ignore=shutil.ignore_patterns("__pycache__"))
    plain = unread(package)
    edited(package, ((name, "", "\n\ndef added():\n    return 1\n"),))
    assert unread(package) != plain


def test_each_edit_of_a_row_does_it_alone() -> None:
    """A row with several edits that make another network would not show which."""
    for row in ROWS:
        if row.network == ANOTHER and not row.core and row.change != "a definition moved to another file":
            assert len(row.edits) == 1, row.change


def test_the_documentation_has_the_rows() -> None:
    text = (ROOT / "docs" / "durability.md").read_text()
    _, _, section = text.partition("## What is another network, and what is not\n")
    rows = re.findall(r"^\| (.+?) \| (the same|another) \|$", section.partition("\n## ")[0], re.MULTILINE)
    assert rows == [(row.change, row.network) for row in ROWS]


@pytest.mark.slow
def test_the_core_is_remembered_under_the_bytes_that_it_is_of(tmp_path: Path, unread: Callable[[Path], str]) -> None:
    package = tmp_path / "guideplug"
    shutil.copytree(CORE, package, ignore=shutil.ignore_patterns("__pycache__"))
    plain = unread(package)
    kept = tmp_path / "memory" / "core.txt"
    assert kept.read_text().endswith(f" {plain}")
    kept.write_text(kept.read_text()[:-16] + "0" * 16)
    assert unread(package) == "0" * 16, "it was not remembered"
    edited(package, (("train/ema.py", "", "\nX = 1\n"),))
    assert unread(package) not in (plain, "0" * 16)
    kept.write_text("damaged")
    edited(package, (("train/ema.py", "\nX = 1\n", ""),))
    assert unread(package) == plain
