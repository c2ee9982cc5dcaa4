"""The tutorial of docs/writing-a-plugin.md, done as it says: started, edited, tested, built, installed, used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from guideplug.cli import main

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "writing-a-plugin.md"
TITLED = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
WHEEL = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"
USED = """
from guideplug.cli import main
main(["plugins", "show", "coarse"], standalone_mode=False)
main(["explain", "coarse(low=0.1)"], standalone_mode=False)
"""


def carried_out(folder: Path, *args: str, path: Path | None = None) -> str:
    """A program's output; it must end well."""
    found = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")]) if path else os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": found, "OMP_NUM_THREADS": "1", "GUIDEPLUG_STORE": str(folder / "store")}
    done = subprocess.run([sys.executable, *args], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{args} in {folder}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tutorial's plugin: what ``guideplug new`` writes, with the page's code in it."""
    folder = tmp_path_factory.mktemp("tutorial")
    done = CliRunner().invoke(main, ["new", "coarse", "--out", str(folder / "coarse")])
    assert done.exit_code == 0, done.output
    files = dict(TITLED.findall(PAGE.read_text(encoding="utf-8")))
    places = {"guideplug_coarse.py": "src/guideplug_coarse.py", "test_coarse.py": "tests/test_coarse.py"}
    assert files.keys() == {*places, "my_loop.py"}  # which is a plugin by itself
    for name, place in places.items():
        assert (folder / "coarse" / place).is_file(), f"guideplug new does not write {place}, which the page edits"
        (folder / "coarse" / place).write_text(files[name], encoding="utf-8")
    return folder / "coarse"


def test_the_page_lists_the_files_that_are_written(coarse: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    listed = re.search(r"^```text\ncoarse/\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert listed is not None
    files = {path.relative_to(coarse).as_posix() for path in coarse.rglob("*") if path.is_file()}
    assert {line.split()[0] for line in listed[1].splitlines()} == files


def test_its_tests_pass_before_it_is_installed(coarse: Path) -> None:
    said = carried_out(coarse.parent, "-m", "pytest", "-q", "-p", "no:cacheprovider", "./coarse", path=coarse / "src")
    assert "2 passed" in said


def test_its_wheel_is_installed_and_used(coarse: Path, tmp_path: Path) -> None:
    name = carried_out(coarse, "-W", "ignore", "-c", WHEEL, str(tmp_path)).splitlines()[-1]
    site = tmp_path / "site"
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(tmp_path / name))
    carried_out(tmp_path, *pip)
    assert sorted(path.name for path in site.glob("*.py")) == ["guideplug_coarse.py"]
    said = carried_out(tmp_path, "-c", USED, path=site)
    assert "guider coarse, from guideplug-coarse 0.1.0" in said
    assert "low (float, data units; default 0.05): highest level that is not guided" in said
    assert "D(x) = main(x) + [sigma > 0.1] (main(x) - weak(x))" in said
