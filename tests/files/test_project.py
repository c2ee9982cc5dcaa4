"""The plugins that a project names: where its file is searched, and what is refused in it."""

from pathlib import Path

import pytest

from guideplug.errors import ConfigError
from guideplug.files.project import project_plugins


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "mine.py").write_text("")
    (folder / "guideplug.toml").write_text('plugins = ["mine.py", "./mine.py"]\n')
    monkeypatch.chdir(folder / "deep" / "er")
    return folder


def test_the_file_is_searched_upwards_and_paths_are_its_own(project: Path) -> None:
    first, _ = project_plugins()
    assert Path(first) == project / "mine.py"
    assert first.project == project / "guideplug.toml"


@pytest.mark.parametrize("place", ["deep", "deep/er"])
@pytest.mark.parametrize("stop", [".git", "home"])
def test_the_search_ends_at_the_repository_and_at_the_home_folder(
    place: str, stop: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stop == "home":
        monkeypatch.setenv("HOME", str(project / place))
    else:
        (project / place / ".git").mkdir()
    assert not project_plugins()
    (project / place / "guideplug.toml").write_text("")
    assert project_plugins() == ()


def test_without_a_project_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_plugins() == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('plugin = ["mine.py"]', r"unknown key 'plugin' \(did you mean 'plugins'\?\); known: plugins"),
        ('plugins = "mine.py"', "plugins is 'mine.py': give paths in square brackets"),
        ("plugins = [1]", "give paths in square brackets"),
        ('plugins = ["absent.py"]', r"names the plugin .*absent\.py, which is not there"),
        ('plugins = ["a\\u0000b"]', "which is not there"),
        ("plugins = [", "cannot be used"),
        (f"plugins = [{'[' * 200}", "cannot be used"),
    ],
)
def test_what_the_file_may_not_say_is_refused(text: str, message: str, project: Path) -> None:
    (project / "guideplug.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        project_plugins()
