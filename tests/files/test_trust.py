"""Code that a file names: what was typed runs and is remembered, a stranger's asks, what has changed asks again."""

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from guideplug.cli.main import main
from guideplug.errors import TrustError
from guideplug.files.trust import guarded, module_file
from guideplug.recipes.python_ref import PythonRef

TOY = Path(__file__).parents[1] / "cli" / "toy.py"
Call = Callable[..., str]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line in a folder of the test's own; gives what it said, or the one line of its refusal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(tmp_path / "list" / "trusted"))

    def call(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, list(arguments), prog_name="guideplug")
        assert done.exit_code == code, done.output
        if code:
            return str(done.stderr.splitlines()[-1])
        return done.stderr + done.stdout

    return call


def test_ones_own_run_is_sampled_as_before_until_its_code_changes(call: Call, tmp_path: Path) -> None:
    plugin = Path(shutil.copy(TOY, tmp_path / "toy_copy.py"))
    small = ("--task", "toy", "--batch", "8", "--duration", "4it", "--samples", "8", "--device", "cpu")
    call("run", "--plugin", "toy_copy.py", *small, "--out", "run")
    assert "trusted: " not in call("sample", "run", "--out", "again")
    listed = tmp_path / "list" / "trusted"
    assert len(listed.read_text().splitlines()) == 1

    listed.unlink()
    copy = tmp_path / "run" / "code" / "toy_copy" / "toy_copy.py"
    said = call("sample", "run", "--out", "stranger", code=2)
    assert f"{copy}, which this command line does not name" in said
    assert not Path("stranger").exists()
    assert f"trusted: {copy} runs as code" in call("sample", "run", "--trust", "--out", "trusting")
    assert listed.read_text() == f"{sha256(copy.read_bytes()).hexdigest()} {copy}\n"

    plugin.write_text(plugin.read_text().replace("0.05 * torch.randn(", "0.06 * torch.randn("))
    assert "trusted: " not in call("sample", "run", "--out", "old")  # with its copy
    before = Path("run/config.toml").read_text()
    call("sample", "run", "--plugin", "toy_copy.py", "--out", "changed")
    assert Path("changed/code/toy_copy/toy_copy.py").read_bytes() == plugin.read_bytes() != copy.read_bytes()
    assert Path("run/config.toml").read_text() == before
    copy.write_bytes(plugin.read_bytes())
    assert "toy_copy.py is damaged: it is not what was written" in call("sample", "run", "--out", "no", code=1)


def test_a_configuration_may_name_what_was_typed_before(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(x, sigma, condition):\n    return -x.square().sum(1)\n")
    Path("c.toml").write_text('task = "tree"\nguider = "classifier(\'./mine.py:score\')"\n')
    assert "mine.py, which this command line does not name" in call("run", "c.toml", "--out", "no", code=2)
    call("explain", "interval(classifier('./mine.py:score'), low=0.1, high=1)")
    with guarded([]):
        PythonRef("mine.py:score").load()


def test_the_line_names_files_by_any_path_and_modules_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(tmp_path / "trusted"))
    (tmp_path / "inner").mkdir()
    for name in ("one.py", "two.py", "inner/__init__.py", "inner/three.py"):
        (tmp_path / name).write_text(f"name = {name!r}\nf = g = print\n")
    Path("link.py").symlink_to("one.py")
    with guarded(["python('./inner/../one.py:f')", "x.builder", "inner.three:g"], ["two.py"]):
        for place in ("one.py", str(tmp_path / "one.py"), "link.py", "two", "inner/three.py", "inner.three"):
            PythonRef(f"{place}:f", "this").load()
        (tmp_path / "inner" / "__init__.py").write_text("f = print")
        for place in ("inner", "os", "builtins"):
            with pytest.raises(TrustError, match="this runs code from"):
                PythonRef(f"{place}:f", "this").load()
    Path("trusted").unlink()
    with guarded([]), pytest.raises(TrustError):
        PythonRef("one.py:f", "this").load()
    PythonRef("one.py:f", "this").load()  # no command: who calls is code


def test_where_a_module_lies_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    for name in ("__init__.py", "inner.py"):
        (tmp_path / "package" / name).write_text("raise SystemExit('imported')")
    assert module_file("package.inner") == tmp_path / "package" / "inner.py"
    assert module_file("package") == tmp_path / "package" / "__init__.py"
    assert module_file("package.nothing") is None
    assert module_file("json.decoder") is not None
    assert module_file("sys") is None
